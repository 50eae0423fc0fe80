"""Collections that the log of a 2.6 tells of before the catalog has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from cdc_actors.changes import to_hybrid_ts
from cdc_actors.errors import TransientError
from cdc_actors.pipeline import creations
from cdc_actors.pipeline.creations import written_down
from tests.fakes.fake_source import FakeSource

if TYPE_CHECKING:
    from cdc_actors.source.catalog.client import CollectionMeta

TOLD = to_hybrid_ts(1_800_000_000)


class Catalog:
    """Has a collection once it was asked a few times; ``now`` is the source's time."""

    def __init__(self, answers: list[CollectionMeta | None], now: int = TOLD) -> None:
        self.answers = answers
        self.now = now

    def collection(self, _collection_id: int) -> CollectionMeta | None:
        """Answer."""
        return self.answers.pop(0) if self.answers else None

    def time(self) -> int:
        """Tell the time."""
        return self.now


@dataclass
class Log:
    """A log of a kind."""

    is_streamed: bool


class Running:
    """A run that goes on, until it was asked so often."""

    def __init__(self, times: int = 100_000) -> None:
        self.times = times

    def check_running(self) -> None:
        """Fail once it is to stop."""
        self.times -= 1
        if not self.times:
            raise TransientError("the run is to stop")


def ask(catalog: Catalog, run: Running | None = None) -> CollectionMeta | None:
    """Ask for a collection."""
    return written_down(catalog, 1, TOLD, Log(is_streamed=True), run or Running())  # type: ignore[arg-type]


def test_one_that_is_written_down_a_moment_later() -> None:
    """It is waited for."""
    meta = FakeSource().create("books")
    assert ask(Catalog([None, None, meta])) is meta


def test_one_that_is_gone_for_long() -> None:
    """It is not waited for."""
    later = TOLD + to_hybrid_ts(creations.WRITTEN_SECONDS) + 1
    catalog = Catalog([None, FakeSource().create("books")], later)
    assert ask(catalog) is None


def test_one_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was dropped at once: the reader does not wait for ever."""
    monkeypatch.setattr(creations, "WRITTEN_SECONDS", 0.05)
    assert ask(Catalog([])) is None


def test_one_of_an_older_log() -> None:
    """Its ticks wait for the catalog: what is missing was dropped."""
    meta = FakeSource().create("books")
    catalog, log = Catalog([None, meta]), Log(is_streamed=False)
    assert written_down(catalog, 1, TOLD, log, Running()) is None  # type: ignore[arg-type]


def test_a_run_that_is_to_stop() -> None:
    """It waits no more."""
    with pytest.raises(TransientError, match="is to stop"):
        ask(Catalog([]), Running(3))
