"""Rows of bulk imports, which come past the log, on doubles: brought from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from cdc_actors.changes import physical_seconds
from cdc_actors.errors import AccessRefusedError, CollectionError
from cdc_actors.pipeline import import_watch, sources
from cdc_actors.pipeline.import_watch import NEVER, NO_FILES, NOT_WRITTEN, UNDER_WAY
from cdc_actors.pipeline.messages import (
    ImportsWritten,
    RecordSegmentsDone,
    RecordSegmentsForgotten,
    RecordSnapshotStarted,
    RecordStarts,
    RunProgressed,
)
from cdc_actors.source.catalog.client import ImportMeta
from cdc_actors.tasks import CollectionState, snapshots
from tests.fakes.fake_files import FakeFiles
from tests.fakes.fake_source import A
from tests.fakes.pipeline import Pipeline
from tests.fakes.snapshot_task import SnapshotTask
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IMPORTED = 9
"""The segment of the import."""

RIGHT = dict.fromkeys((1, 2, 3, 4, 101, 102), 1)
"""What the source has in the end: 5 was deleted before, 103 after the import."""


class Importing(SnapshotTask):
    """A task into whose collection rows are imported. One thread uses it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.meta = pipeline.source.create("c", A)
        pipeline.source.insert(self.meta, (1, 2, 3, 4, 5))
        pipeline.source.delete(self.meta, (5,))
        pipeline.source.tick()
        self.files = FakeFiles(pipeline.source, self.meta)
        self.files.segments = {1: (1, 2), 2: (3, 4)}
        self.files.flush()

    @property
    def missing(self) -> list[int]:
        """The imports of which the target lacks rows."""
        return self.pipeline.task.entries["c"].missing_imports

    @property
    def there(self) -> dict[int, int] | None:
        """The keys of the target, and how often each is there."""
        return self.pipeline.target.rows("c")

    def import_rows(self, number: int = 7) -> None:
        """Have three rows imported, which files have, but not up to this moment."""
        source = self.pipeline.source
        self.files.times[IMPORTED] = source.next()
        self.files.segments[IMPORTED] = (101, 102, 103)
        created = int(physical_seconds(source.now))
        source.next()
        source.catalog.complete_import(ImportMeta(number, self.meta.id, created, 3))
        source.catalog.tell()

    def wait_known(self, *numbers: int) -> None:
        """Wait until imports are known to be missing."""
        wait = self.pipeline.wait_until
        wait(lambda: self.missing == list(numbers))

    def flush(self) -> None:
        """Have all that came so far in files; the log alone says what comes then."""
        self.files.flush()
        self.pipeline.source.delete(self.meta, (103,))
        self.pipeline.source.tick()

    @property
    def written(self) -> ImportsWritten | None:
        """What the run has told of imports that files have."""
        told = self.pipeline.task.told
        return next((e for e in told if isinstance(e, ImportsWritten)), None)

    def bring(self, *, end: Callable[[], None] | None = None) -> None:
        """Have imports brought that files have, as the task's actor does; no more."""
        self.pipeline.wait_until(lambda: self.written)
        written = self.written
        (end or self.pipeline.stop)()
        snapshots.bring_imports(self.pipeline.task.task, written.collections)
        self.pipeline.begin()

    def complete_all(self) -> None:
        """Go on until nothing is missing."""
        self.complete()
        while self.missing:
            self.bring()
            self.complete()

    def wait_for_reason(self, reason: str) -> None:
        """Wait until the run says why imports are not brought yet."""

        def said() -> bool:
            told = [e for e in self.pipeline.task.told if isinstance(e, RunProgressed)]
            return bool(told) and reason in told[-1].imports.get(self.meta.id, "")

        self.pipeline.wait_until(said)

    def kill_at(self, kind: type, *, written: bool) -> None:
        """Bring imports, and be killed as something is written down, which is or not."""
        task = self.pipeline.task
        record = task._record

        def die(message: object) -> None:
            if written or not isinstance(message, kind):
                record(message)
            if isinstance(message, kind):
                raise AccessRefusedError("killed")

        self.pipeline.wait_until(lambda: self.written)
        found = self.written
        self.pipeline.stop()
        snapshots.bring_imports(task.task, found.collections)
        task._record = die
        self.pipeline.begin()
        self.pipeline.wait_for_crash()
        task._record = record


@pytest.fixture(params=[(2, 3, 5), (2, 6, 20)], ids=["2.3", "2.6"])
def importing(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Importing]:
    """Yield a task that has come to the log's end; its target has a row of its own."""
    monkeypatch.setattr(import_watch, "LOOK_SECONDS", 0.0)
    with Pipeline() as pipeline:
        pipeline.source.catalog.source_version = request.param
        importing = Importing(pipeline)
        monkeypatch.setattr(sources, "_files", lambda *_: importing.files)
        pipeline.start()
        pipeline.settle()
        pipeline.target.is_loaded = False
        yield importing


def test_rows_arrive(importing):
    """Each is there once, though nothing is loaded; nothing else is sent or deleted."""
    target = importing.pipeline.target
    target.collections["default", "c"].partitions["_default"][50] = 1
    importing.files.times[1] = 1
    importing.import_rows()
    importing.wait_known(7)
    importing.flush()
    importing.bring()
    importing.complete()
    assert importing.there == RIGHT | {50: 1}
    assert importing.missing == []
    entry = importing.pipeline.task.entries["c"]
    assert entry.state is CollectionState.LIVE


def test_old_rows_are_not_sent_again(importing):
    """Of 2.3; from 2.4 on the rows of a backup that is imported may be as old."""
    importing.files.times |= {1: 1, 2: 1}
    importing.import_rows()
    importing.wait_known(7)
    importing.flush()
    importing.bring()
    importing.pipeline.wait_until(importing.taken)
    is_newer = importing.pipeline.source.catalog.source_version >= (2, 4)
    assert importing.taken().rows == (7 if is_newer else 3)


def test_not_before_files_have_everything_up_to_it(importing):
    """What was written down before the import was complete may lack some of its rows."""
    importing.import_rows()
    importing.wait_known(7)
    importing.wait_for_reason(NOT_WRITTEN)
    assert importing.written is None
    importing.flush()
    importing.bring()
    importing.complete()
    assert importing.there == RIGHT


def test_not_before_the_target_has_come_so_far(importing):
    """What the log says before that moment, and is not there yet, is not passed over."""
    pipeline = importing.pipeline
    pipeline.target.silence("Insert")
    pipeline.source.insert(importing.meta, (6,))
    importing.files.segments[3] = (6,)
    importing.files.times[3] = 1
    importing.import_rows()
    importing.wait_known(7)
    importing.flush()
    pipeline.wait_until(lambda: pipeline.target.waiting)
    importing.wait_for_reason(NOT_WRITTEN)
    assert importing.written is None
    pipeline.target.speak()
    importing.bring()
    importing.complete()
    assert importing.there == RIGHT | {6: 1}


def test_checkpoints_that_were_not_written_down(importing):
    """The moment is where the target is known to be; the rows come the next time."""
    importing.pipeline.stop()
    importing.pipeline.start()
    importing.import_rows()
    importing.wait_known(7)
    importing.flush()
    importing.pipeline.source.insert(importing.meta, (6,))
    importing.pipeline.source.tick()
    importing.pipeline.settle()
    importing.bring(end=importing.pipeline.kill)
    importing.complete()
    assert importing.missing == [7]
    importing.bring()
    importing.complete_all()
    assert importing.there == RIGHT | {6: 1}


def test_changed_at_the_source_before_and_after(importing):
    """Rows of the import, and others, end as the log has them."""
    source, meta = importing.pipeline.source, importing.meta
    importing.import_rows()
    importing.wait_known(7)
    source.delete(meta, (101,))
    source.insert(meta, (101, 5))
    source.tick()
    importing.pipeline.settle()
    importing.files.segments |= {IMPORTED: (102, 103), 3: (101, 5)}
    importing.flush()
    source.delete(meta, (2, 102))
    source.insert(meta, (102, 6))
    source.tick()
    importing.pipeline.settle()
    importing.bring()
    importing.complete()
    assert importing.there == dict.fromkeys((1, 3, 4, 5, 6, 101, 102), 1)


def test_deletes_that_no_file_has_yet(importing):
    """Milvus 2.3 counts them as written: the log has them."""
    if importing.pipeline.source.catalog.source_version >= (2, 4):
        importing.files.segments |= {2: (3,)}
    importing.import_rows()
    importing.wait_known(7)
    importing.files.times[2] = 2
    importing.pipeline.source.delete(importing.meta, (4,))
    if importing.pipeline.source.catalog.source_version >= (2, 4):
        importing.files.segments[IMPORTED] = (101, 103)
    importing.pipeline.source.delete(importing.meta, (102,))
    importing.pipeline.source.tick()
    importing.pipeline.settle()
    importing.flush()
    importing.bring()
    importing.complete()
    assert importing.there == dict.fromkeys((1, 2, 3, 101), 1)


def test_completed_while_the_service_was_away(importing):
    """The next run finds out."""
    importing.pipeline.stop()
    importing.import_rows()
    importing.files.flush()
    importing.pipeline.start()
    importing.wait_known(7)
    importing.flush()
    importing.bring()
    importing.complete()
    assert importing.there == RIGHT


def test_several_at_once(importing):
    """All that files have are brought in one go, and none is told of again."""
    importing.import_rows()
    importing.import_rows(8)
    importing.wait_known(7, 8)
    importing.flush()
    importing.bring()
    importing.complete()
    assert importing.missing == []
    importing.pipeline.stop()
    importing.pipeline.start()
    importing.pipeline.settle()
    assert importing.written is None
    assert importing.there == RIGHT


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize(
    "kind",
    [RecordSegmentsForgotten, RecordSnapshotStarted, RecordSegmentsDone, RecordStarts],
)
def test_killed_as_something_is_written_down(importing, kind, written):
    """The next run goes on, and the rows are right in the end."""
    importing.import_rows()
    importing.wait_known(7)
    importing.flush()
    importing.kill_at(kind, written=written)
    importing.pipeline.start()
    importing.complete_all()
    assert importing.there == RIGHT


@pytest.mark.parametrize("method", ["Insert", "Delete"])
@pytest.mark.parametrize("is_done", [False, True])
def test_target_that_goes_away(importing, method, is_done):
    """Whatever request gets no answer, the next run goes on, and the rows are right."""
    pipeline = importing.pipeline
    importing.import_rows()
    importing.wait_known(7)
    importing.flush()
    pipeline.settle()
    pipeline.wait_until(lambda: importing.written)
    pipeline.stop()
    pipeline.target.fail(method, is_done=is_done)
    snapshots.bring_imports(pipeline.task.task, {importing.meta.id})
    pipeline.begin()
    pipeline.wait_for_crash()
    pipeline.start()
    importing.complete_all()
    assert importing.there == RIGHT


def test_target_collection_that_was_dropped_by_hand(importing):
    """It is made anew, and gets all rows."""
    importing.import_rows()
    importing.wait_known(7)
    importing.flush()
    importing.pipeline.wait_until(lambda: importing.written)
    importing.files.times |= {1: 1, 2: 1}
    importing.pipeline.target.collections.clear()
    importing.bring()
    importing.complete()
    assert importing.there == RIGHT


def test_import_under_way(importing):
    """Its rows are in files already, and seen by nobody: it is waited for."""
    importing.files.is_importing = True
    importing.import_rows()
    importing.wait_known(7)
    importing.flush()
    importing.wait_for_reason(UNDER_WAY)
    assert importing.written is None


def test_files_that_cannot_be_read(importing):
    """The reason is told, and the collection goes on with what the log says."""
    importing.files.unreadable = CollectionError("another format")
    importing.import_rows()
    importing.wait_known(7)
    importing.flush()
    importing.wait_for_reason("cannot bring them: another format")
    importing.pipeline.source.insert(importing.meta, (6,))
    importing.pipeline.source.tick()
    importing.pipeline.settle()
    assert importing.there == dict.fromkeys((1, 2, 3, 4, 6), 1)


def test_log_that_does_not_go_on_where_files_end(importing):
    """The reason is told, and the collection is not set aside for it."""
    source = importing.pipeline.source
    importing.files.is_importing = True
    importing.import_rows()
    importing.wait_known(7)
    importing.flush()
    importing.pipeline.settle()
    importing.wait_for_reason(UNDER_WAY)
    source.log.truncate(A, source.log_end(A))
    importing.files.is_importing = False
    importing.wait_for_reason("no longer goes on where the files")
    assert importing.written is None
    source.insert(importing.meta, (6,))
    source.tick()
    importing.pipeline.settle()
    assert importing.there == dict.fromkeys((1, 2, 3, 4, 6), 1)


def test_log_that_has_lost_where_the_target_is(importing):
    """All of the collection is brought then, in place."""
    pipeline, source = importing.pipeline, importing.pipeline.source
    pipeline.target.is_loaded = True
    importing.import_rows()
    importing.wait_known(7)
    importing.flush()
    pipeline.wait_until(lambda: importing.written)
    pipeline.stop()
    snapshots.bring_imports(pipeline.task.task, {importing.meta.id})
    source.delete(importing.meta, (1,))
    source.insert(importing.meta, (6,))
    importing.files.segments |= {1: (2,), 3: (6,), IMPORTED: (101, 102)}
    importing.files.times |= dict.fromkeys((1, 2, 3), 1)
    importing.files.forget_log()
    pipeline.begin()
    importing.complete()
    assert importing.there == dict.fromkeys((2, 3, 4, 6, 101, 102), 1)


def test_set_aside_before_it_has_begun(importing):
    """It goes on from where it stood, and what was deleted meanwhile is gone."""
    pipeline = importing.pipeline
    importing.files.times |= {1: 1, 2: 1}
    importing.import_rows()
    importing.wait_known(7)
    importing.flush()
    pipeline.wait_until(lambda: importing.written)
    importing.files.unreadable = CollectionError("another format")
    importing.bring()
    pipeline.wait_until(
        lambda: pipeline.task.entries["c"].state is CollectionState.SET_ASIDE
    )
    pipeline.source.delete(importing.meta, (1,))
    pipeline.source.tick()
    pipeline.settle()
    importing.files.segments |= {1: (2,), IMPORTED: (101, 102)}
    importing.files.flush()
    importing.files.unreadable = None
    pipeline.retry("c")
    importing.bring()
    importing.complete()
    assert importing.there == dict.fromkeys((2, 3, 4, 101, 102), 1)
    assert importing.missing == []


@pytest.mark.parametrize("snapshot", ["auto", "never"])
def test_without_files(monkeypatch, snapshot):
    """What to do is said."""
    monkeypatch.setattr(import_watch, "LOOK_SECONDS", 0.0)
    spec = SPEC if snapshot == "auto" else replace(SPEC, snapshot=snapshot)
    with Pipeline(spec) as pipeline:
        importing = Importing(pipeline)
        if snapshot == "never":
            monkeypatch.setattr(sources, "_files", lambda *_: importing.files)
        pipeline.start()
        pipeline.settle()
        importing.import_rows()
        importing.flush()
        importing.wait_for_reason(NO_FILES if snapshot == "auto" else NEVER)
        assert importing.written is None
