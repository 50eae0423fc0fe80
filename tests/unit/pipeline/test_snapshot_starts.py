"""Where the log goes on after files, whatever stands there out of order."""

from __future__ import annotations

import pytest

from cdc_actors.changes import Checkpoint, physical_seconds, to_hybrid_ts
from cdc_actors.pipeline.snapshot_starts import LATE_SECONDS, SnapshotStarts
from cdc_actors.source.wal.natsmq.positions import sequence_of
from tests.fakes.fake_files import FakeFiles
from tests.fakes.fake_source import A, FakeSource
from tests.fakes.memory_log import MemoryReader


class Old:
    """A source of 2.3 with one collection, whose log has lost its beginning."""

    def __init__(self) -> None:
        self.source = FakeSource(is_timed=True)
        self.meta = self.source.create("c", A)
        self.files = FakeFiles(self.source, self.meta)
        self.source.catalog.source_version = (2, 3, 5)

    def pass_seconds(self, seconds: float) -> int:
        """Let time pass, and a tick come; return its time."""
        self.source.now += to_hybrid_ts(seconds)
        return self.source.tick()

    def forget(self) -> None:
        """Have the log lose what stands there so far."""
        self.source.log.truncate(A, self.source.log_end(A))

    def start(self) -> Checkpoint:
        """Return where the log goes on."""
        stored = self.files.find(self.source.catalog, self.meta.id)
        log = MemoryReader(self.source.log)
        starts = SnapshotStarts(log, self.files.open_log, self.source.catalog)
        return starts.find(stored)[A]


@pytest.fixture
def old() -> Old:
    """Return it."""
    return Old()


def test_what_stands_before_its_tick_is_not_passed_over(old: Old) -> None:
    """A row that is newer than the next tick comes from the log, not from files alone."""
    old.forget()
    row = old.source.now + to_hybrid_ts(1)
    position = old.source.log_end(A)
    old.source.insert(old.meta, [1], timestamp=row)
    old.source.tick()
    tick = old.pass_seconds(LATE_SECONDS + 1)
    old.pass_seconds(1)
    old.files.flush()
    start = old.start()
    assert (start.position, start.inclusive, start.tick) == (position, True, tick)
    assert row <= start.tick


def test_what_the_log_has_lost_is_older_than_where_it_goes_on(old: Old) -> None:
    """A row that stood before, and is newer than the next tick, comes from files."""
    row = old.source.now + to_hybrid_ts(LATE_SECONDS / 2)
    old.source.insert(old.meta, [1], timestamp=row)
    old.forget()
    old.source.tick()
    old.pass_seconds(LATE_SECONDS + 1)
    old.pass_seconds(1)
    old.files.flush()
    assert old.start().tick >= row


def test_a_short_log_goes_on_where_files_end(old: Old) -> None:
    """Nothing earlier is known to be whole."""
    old.forget()
    old.source.tick()
    old.pass_seconds(LATE_SECONDS / 2)
    old.files.flush()
    old.pass_seconds(2 * LATE_SECONDS)
    stored = old.files.find(old.source.catalog, old.meta.id)
    written = stored.listing.checkpoints[old.meta.shards[0]].timestamp
    assert old.start().tick == written


def test_the_last_twenty_minutes_come_from_the_log(old: Old) -> None:
    """A delete may take so long to be in a file; all but a minute before is in files."""
    for _ in range(40):
        old.pass_seconds(60)
    deleted = old.source.log_end(A)
    old.source.delete(old.meta, [1])
    old.pass_seconds(1199)
    old.files.flush()
    end, start = physical_seconds(old.source.now), sequence_of(old.start().position)
    assert old.source.log.written_since(A, end - 1260) <= start <= sequence_of(deleted)
