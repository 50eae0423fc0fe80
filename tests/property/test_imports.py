"""Whatever a source imports, writes and deletes meanwhile, its target comes to be equal.

By the real reader and appliers, on doubles in memory; what files have follows the times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from msgspec import structs

from cdc_actors.changes import physical_seconds
from cdc_actors.pipeline import import_watch, sources
from cdc_actors.pipeline.messages import ImportsWritten
from cdc_actors.source.catalog.client import ImportMeta
from cdc_actors.tasks import CollectionState, snapshots
from tests.fakes.fake_files import FakeFiles
from tests.fakes.fake_source import A
from tests.fakes.pipeline import Pipeline
from tests.fakes.snapshot_task import SnapshotTask
from tests.support.changes import insert

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.changes import Insert
    from cdc_actors.source.storage.listing import Segment

KEYS = st.integers(0, 5)
ROUNDS = 10


@dataclass(frozen=True)
class Row:
    """A row of the source, and when it was written."""

    key: int
    time: int


class TimedFiles(FakeFiles):
    """Files that have what was written until they were flushed, and not every delete."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.segments = {1: (1,)}
        self.rows: list[Row] = []
        self.deletes: list[Row] = []
        self.unwritten: set[Row] = set()

    def living(self, until: int, *, known_alone: bool) -> list[Row]:
        """Return the rows of a moment, by all deletes or by those that are known."""
        logged = {
            Row(key, time)
            for found in self._logged.values()
            for key, time in zip(*found, strict=True)
        }
        gone = {*self.deletes} - self.unwritten if known_alone else {*self.deletes}
        gone |= logged if known_alone else set()
        return [
            row
            for row in self.rows
            if row.time <= until
            and not any(
                row.key == each.key and row.time < each.time <= until for each in gone
            )
        ]

    def inserts(self, segment: Segment, until: int, since: int = 0) -> Iterator[Insert]:
        """Give out the rows of the only segment."""
        living = self.living(min(until, self._until), known_alone=True)
        if keys := [row.key for row in living if row.time >= since]:
            yield structs.replace(
                insert(until, keys, collection=self.meta.id), shard=segment.shard
            )


class Imports(RuleBasedStateMachine, SnapshotTask):
    """A source into which rows are imported while others are written.

    An import that is under way has rows that nobody sees, with the time of its beginning.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pipeline = Pipeline()
        self.source = self.pipeline.source
        self.meta = self.source.create("c", A)
        self.files = TimedFiles(self.source, self.meta)
        self.patches = (
            mock.patch.object(import_watch, "LOOK_SECONDS", 0.0),
            mock.patch.object(sources, "_files", return_value=self.files),
        )
        for each in self.patches:
            each.start()
        self.hidden: list[Row] = []
        self.number = 0

    @initialize(version=st.sampled_from([(2, 3, 5), (2, 5, 0)]))
    def begin(self, version: tuple[int, int, int]) -> None:
        """Begin to replicate a source of some version."""
        self.source.catalog.source_version = version
        self.files.flush()
        self.pipeline.start()

    def teardown(self) -> None:
        """Bring the target to what the source has."""
        try:
            if self.pipeline.run is not None:
                self.end()
        finally:
            with self.pipeline:
                for each in self.patches:
                    each.stop()

    @property
    def alive(self) -> set[int]:
        """The keys of the source, those of an import under way included."""
        living = self.files.living(self.source.now, known_alone=False)
        return {row.key for row in (*living, *self.hidden)}

    @rule(key=KEYS)
    def write(self, key: int) -> None:
        """Insert a row, if there is none of its key."""
        if key not in self.alive:
            self.files.rows.append(Row(key, self.source.insert(self.meta, (key,))))

    @rule(key=KEYS, is_written=st.booleans())
    def delete(self, key: int, *, is_written: bool) -> None:
        """Delete a key; 2.3 may count as written what is in no file."""
        deleted = Row(key, self.source.delete(self.meta, (key,)))
        self.files.deletes.append(deleted)
        if not is_written and self.source.catalog.source_version < (2, 4):
            self.files.unwritten.add(deleted)

    @precondition(lambda self: not self.hidden)
    @rule(keys=st.sets(KEYS, min_size=1))
    def begin_import(self, keys: set[int]) -> None:
        """Begin to import rows of keys that are not there."""
        began = self.source.next()
        self.hidden = [Row(key, began) for key in sorted(keys - self.alive)]
        self.files.is_importing = bool(self.hidden)

    @precondition(lambda self: self.hidden)
    @rule()
    def end_import(self) -> None:
        """Have everybody see what was imported."""
        began, rows = self.hidden[0].time, len(self.hidden)
        self.files.rows += self.hidden
        self.hidden, self.files.is_importing = [], False
        self.number += 1
        created = int(physical_seconds(began))
        found = ImportMeta(self.number, self.meta.id, created, rows)
        self.source.next()
        self.source.catalog.complete_import(found)
        self.source.catalog.tell()

    @rule()
    def tick(self) -> None:
        """Let the log be applied so far, or a part of it."""
        self.source.tick()

    @rule()
    def settle(self) -> None:
        """Let the log be applied so far."""
        self.source.tick()
        self.pipeline.settle()

    @rule()
    def flush(self) -> None:
        """Have all in files that came so far."""
        self.files.flush()

    @rule()
    def kill(self) -> None:
        """End the run, and lose what was not written down."""
        self.pipeline.kill()
        self.pipeline.start()

    @rule(is_lost=st.booleans())
    def act(self, *, is_lost: bool) -> None:
        """Do what the run has told the task, as its actor does."""
        told = self.pipeline.task.told
        written = next((e for e in told if isinstance(e, ImportsWritten)), None)
        if self.taken():
            self.complete()
        elif written and self.entry.state is CollectionState.LIVE:
            (self.pipeline.kill if is_lost else self.pipeline.stop)()
            snapshots.bring_imports(self.pipeline.task.task, written.collections)
            self.pipeline.start()

    @property
    def entry(self):
        """The collection as the task knows it."""
        return self.pipeline.task.entries["c"]

    def end(self) -> None:
        """Go on until nothing is missing, and compare."""
        if self.hidden:
            self.end_import()
        self.settle()
        self.pipeline.wait_until(lambda: "c" in self.pipeline.task.entries)
        self.pipeline.wait_until(
            lambda: len(self.entry.imports) == self.number or self.taken()
        )
        for _ in range(ROUNDS):
            self.flush()
            self.settle()
            if self.entry.state is CollectionState.SNAPSHOT:
                self.pipeline.wait_until(self.taken)
            elif self.entry.missing_imports:
                self.pipeline.wait_until(self.is_told)
            else:
                break
            self.act(is_lost=False)
        assert self.entry.missing_imports == []
        assert self.pipeline.target.rows("c") == dict.fromkeys(self.alive, 1)

    def is_told(self) -> bool:
        """Tell whether the run has told of imports that files have."""
        told = self.pipeline.task.told
        return any(isinstance(each, ImportsWritten) for each in told)


Imports.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
test_imports = Imports.TestCase
