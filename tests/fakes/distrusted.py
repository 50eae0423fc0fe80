"""A task on doubles whose target has something else of a collection than the source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from cdc_actors.changes import physical_seconds
from cdc_actors.errors import AccessRefusedError
from cdc_actors.pipeline import segments_sent, sources
from cdc_actors.source.catalog.client import ImportMeta
from tests.fakes.fake_files import FakeFiles
from tests.fakes.fake_source import A
from tests.fakes.snapshot_task import SnapshotTask

if TYPE_CHECKING:
    import pytest

    from cdc_actors.tasks import CollectionState
    from tests.fakes.pipeline import Pipeline

RIGHT = dict.fromkeys((1, 2, 3, 4, 5, 7), 1)
"""What the source has in the end, as the target has it: each key once."""


class Distrusted(SnapshotTask):
    """A task whose target has something else of a collection. One thread uses it."""

    def __init__(self, pipeline: Pipeline, files: FakeFiles | None = None) -> None:
        self.pipeline, self.files = pipeline, files

    @property
    def state(self) -> CollectionState:
        """Where the collection stands."""
        return self.pipeline.task.entries["c"].state

    @property
    def there(self) -> dict[int, int] | None:
        """The keys of the target, and how often each is there."""
        return self.pipeline.target.rows("c")

    def wait_for(self, state: CollectionState) -> None:
        """Wait until the collection stands there."""
        self.pipeline.wait_until(lambda: self.state is state)

    def stop_at(self, segment: int, last: int) -> None:
        """Be killed as the rows of a segment are read, if it is the ``last`` one."""
        if segment == last:
            raise AccessRefusedError("killed")

    @property
    def missing_imports(self) -> list[int]:
        """The bulk imports of which the target lacks rows."""
        return self.pipeline.task.entries["c"].missing_imports

    def complete_import(self, number: int) -> None:
        """Have a bulk import done at the source, and wait until it is known."""
        source = self.pipeline.source
        created = int(physical_seconds(source.next()))
        found = ImportMeta(number, self.files.meta.id, created, rows=1)
        source.catalog.complete_import(found)
        source.catalog.tell()
        self.pipeline.wait_until(
            lambda: number in self.pipeline.task.entries["c"].imports
        )

    def kill_at(self, kind: type, *, written: bool, **method: bool) -> None:
        """Begin a resync, and kill it as it writes something down, which is done or not."""
        task = self.pipeline.task
        record = task._record

        def die(message: object) -> None:
            if written or not isinstance(message, kind):
                record(message)
            if isinstance(message, kind):
                raise AccessRefusedError("killed")

        task._record = die
        self.pipeline.resync("c", **method)
        self.pipeline.wait_for_crash()
        task._record = record

    @classmethod
    def running(cls, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Self:
        """Return one; the target lacks a row, doubles one, and has two more."""
        meta = pipeline.source.create("c", A)
        pipeline.source.insert(meta, range(1, 7))
        files = FakeFiles(pipeline.source, meta)
        files.segments = {1: (1, 2), 2: (3, 4), 3: (5, 6)}
        pipeline.source.tick()
        pipeline.start()
        pipeline.settle()
        pipeline.source.catalog.source_version = (2, 5, 0)
        files.flush()
        pipeline.source.insert(meta, (7,))
        pipeline.source.delete(meta, (6,))
        pipeline.source.tick()
        pipeline.settle()
        monkeypatch.setattr(sources, "_files", lambda *_: files)
        monkeypatch.setattr(segments_sent, "RECORD_SECONDS", 0.0)
        pipeline.target.is_loaded = True
        rows = pipeline.target.collections["default", "c"].partitions
        del rows["_default"][2]
        rows["_default"].update({3: 1, 50: 1, 60: 3})
        return cls(pipeline, files)
