"""Whenever a source merges files that are read, and whenever the run is killed meanwhile.

By the real reader and appliers, on doubles in memory. A merge leaves out what was deleted
since, as the source does; where a merged file was being read, some of its rows were sent.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from cdc_actors.pipeline import segments_sent, sources
from cdc_actors.source.storage.files import FileGoneError
from tests.fakes.fake_files import FakeFiles
from tests.fakes.fake_source import A
from tests.fakes.pipeline import WAIT_SECONDS, Pipeline
from tests.fakes.snapshot_task import SnapshotTask
from tests.support.changes import insert

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cdc_actors.changes import Insert
    from cdc_actors.source.storage.listing import Segment

MOST_ROWS = 12
NEW = 100


@dataclass(frozen=True)
class Event:
    """What happens before some row is read: a kill, or a merge of those segments."""

    merged: frozenset[int] | None


class VanishingFiles(FakeFiles):
    """Files that are gone once they were merged, a row of which is read at a time.

    One that is being read then is read to its end, as in a folder, or it ``ends_at_once``.
    """

    def __init__(
        self, pipeline: Pipeline, events: dict[int, Event], *, ends_at_once: bool
    ) -> None:
        super().__init__(pipeline.source, pipeline.source.create("c", A))
        self.events = events
        self.ends_at_once = ends_at_once
        self.deleted: Sequence[int] = ()
        self.reads = 0
        self.is_to_be_killed, self.is_killed = threading.Event(), threading.Event()

    def inserts(self, segment: Segment, until: int, since: int = 0) -> Iterator[Insert]:
        """Give out a segment's rows, one after the other."""
        del since
        for key in self._living(segment, until):
            if event := self.events.get(self.reads):
                self._happen(event)
            self.reads += 1
            if self.ends_at_once:
                self._living(segment, until)
            row = insert(until, (key,), collection=self.meta.id)
            yield structs.replace(row, shard=segment.shard)

    def _living(self, segment: Segment, until: int) -> list[int]:
        if segment.id not in self.segments:
            raise FileGoneError(f"{segment.id} is not there any more")
        return super()._living(segment, until)

    def _happen(self, event: Event) -> None:
        if event.merged is None:
            self.is_killed.clear()
            self.is_to_be_killed.set()
            assert self.is_killed.wait(WAIT_SECONDS)
            return
        numbers = sorted(self.segments)
        chosen = [n for place, n in enumerate(numbers) if place in event.merged]
        keys = [key for n in chosen for key in self.segments.pop(n)]
        left = [key for key in keys if key not in self.deleted]
        self.segments[max(numbers) + 1] = left


class Vanishing(SnapshotTask):
    """A task whose collection comes from such files. One thread uses it."""

    def __init__(self, pipeline: Pipeline, files: VanishingFiles) -> None:
        self.pipeline, self.files = pipeline, files

    def bring(self) -> None:
        """Have all of it brought, and kill the run when it is to be killed."""
        asked = self.files.is_to_be_killed
        self.pipeline.start()
        while True:
            self.pipeline.wait_until(lambda: asked.is_set() or self.taken())
            if not asked.is_set():
                return self.complete()
            asked.clear()
            self.pipeline.run._context.stop()
            self.files.is_killed.set()
            self.pipeline.kill()
            self.pipeline.start()


EVENTS = st.builds(
    Event, st.none() | st.frozensets(st.integers(0, 5), min_size=1, max_size=4)
)


@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=5),
    st.dictionaries(st.integers(0, 2 * MOST_ROWS), EVENTS, max_size=6),
    st.sets(st.integers(0, 3 * MOST_ROWS), max_size=6),
    st.booleans(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_each_row_comes_once(
    sizes: list[int],
    events: dict[int, Event],
    deleted: set[int],
    ends_at_once: bool,  # noqa: FBT001
) -> None:
    """Rows of files and of the log are there once, but for those deleted since."""
    with Pipeline() as pipeline:
        files = VanishingFiles(pipeline, events, ends_at_once=ends_at_once)
        keys = iter(range(sum(sizes)))
        files.segments = {
            number: [next(keys) for _ in range(size)]
            for number, size in enumerate(sizes, 1)
        }
        files.forget_log()
        pipeline.source.insert(files.meta, (NEW,))
        pipeline.source.delete(files.meta, deleted)
        files.deleted = sorted(deleted)
        pipeline.source.tick()
        with (
            mock.patch.object(sources, "_files", return_value=files),
            mock.patch.object(segments_sent, "RECORD_SECONDS", 0.0),
        ):
            Vanishing(pipeline, files).bring()
            expected = {NEW, *range(sum(sizes))} - deleted
            assert pipeline.target.rows("c") == dict.fromkeys(expected, 1)
