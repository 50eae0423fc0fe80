"""Rows of segments on their way to a writer that takes down what is asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdc_actors.pipeline import segments_sent
from cdc_actors.pipeline.segments_sent import SegmentsSent
from tests.support.changes import insert

if TYPE_CHECKING:
    import pytest


class Sent:
    """What was sent, awaited and written down, in order."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.segments = SegmentsSent(
            self,  # type: ignore[arg-type]
            lambda inserts: self.seen.append([each.rows for each in inserts]),
            lambda ended: self.seen.append(("done", *ended)),
        )

    def drain(self) -> None:
        """Stand for the writer."""
        self.seen.append("answered")


def test_small_segments_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are one request, one wait and one line that they are done."""
    monkeypatch.setattr(segments_sent, "RECORD_SECONDS", 1e9)
    sent = Sent()
    for number in (1, 2, 3):
        sent.segments.add(insert(1, range(number)))
        sent.segments.end(number)
    assert sent.seen == []
    sent.segments.finish()
    assert sent.seen == [[1, 2, 3], "answered", ("done", 1, 2, 3)]


def test_large_ones_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is enough for a request is sent; a segment is done once all of it is there."""
    monkeypatch.setattr(segments_sent, "RECORD_SECONDS", 0.0)
    monkeypatch.setattr(segments_sent, "BATCH_BYTES", 1)
    sent = Sent()
    sent.segments.add(insert(1, range(2)))
    sent.segments.add(insert(1, range(3)))
    assert sent.seen == [[2], [3]]
    sent.segments.end(7)
    assert sent.seen[2:] == ["answered", ("done", 7)]
    sent.segments.finish()
    assert sent.seen[4:] == ["answered"]
