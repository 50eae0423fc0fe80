"""Collections that are brought anew, on doubles: what is in the way, and every crash."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cdc_actors.errors import (
    PositionLostError,
    RowsLostError,
    TaskConflictError,
)
from cdc_actors.pipeline.messages import (
    RecordCollectionSetAside,
    RecordSegmentsDone,
    RecordSegmentsForgotten,
    RecordSnapshotStarted,
    RecordStarts,
)
from cdc_actors.tasks import CollectionState
from tests.fakes.distrusted import RIGHT, Distrusted
from tests.fakes.fake_source import A, B
from tests.fakes.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """Yield a task, its source and its target."""
    with Pipeline() as pipeline:
        yield pipeline


@pytest.fixture
def distrusted(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Distrusted:
    """Return a running task; the target lacks a row, doubles one, and has two more."""
    return Distrusted.running(pipeline, monkeypatch)


@pytest.mark.parametrize("drop_target", [False, True])
def test_equal_in_the_end(distrusted, drop_target):
    """What was missing, doubled or too much at the target is right in the end."""
    distrusted.pipeline.resync("c", drop_target=drop_target)
    distrusted.complete()
    assert distrusted.there == RIGHT
    assert distrusted.state is CollectionState.LIVE
    dropped = "drop c" in distrusted.pipeline.target.asked
    assert dropped == drop_target


@pytest.mark.parametrize("drop_target", [False, True])
@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize(
    "kind",
    [RecordSegmentsForgotten, RecordSnapshotStarted, RecordSegmentsDone, RecordStarts],
)
def test_killed_as_something_is_written_down(distrusted, kind, written, drop_target):
    """The next run goes on, and the rows are right in the end."""
    distrusted.kill_at(kind, written=written, drop_target=drop_target)
    distrusted.pipeline.start()
    distrusted.complete()
    assert distrusted.there == RIGHT


@pytest.mark.parametrize(
    ("method", "drop_target"),
    [
        *[(each, False) for each in ("Insert", "Delete", "Query")],
        *[(each, True) for each in ("DropCollection", "CreateCollection", "Insert")],
    ],
)
@pytest.mark.parametrize("is_done", [False, True])
def test_target_that_goes_away(distrusted, method, is_done, drop_target):
    """Whatever request gets no answer, the next run goes on, and the rows are right."""
    pipeline = distrusted.pipeline
    pipeline.target.fail(method, is_done=is_done)
    pipeline.resync("c", drop_target=drop_target)
    pipeline.wait_for_crash()
    pipeline.start()
    distrusted.complete()
    assert distrusted.there == RIGHT


def test_killed_after_the_drop(distrusted):
    """What is made anew is not dropped once more, nor is what was sent sent again."""
    distrusted.files.before = lambda segment: distrusted.stop_at(segment, 3)
    distrusted.pipeline.resync("c", drop_target=True)
    distrusted.pipeline.wait_for_crash()
    distrusted.files.before = lambda _segment: None
    distrusted.pipeline.start()
    distrusted.complete()
    assert distrusted.there == RIGHT
    assert distrusted.files.read == [1, 2, 3]
    assert distrusted.pipeline.target.asked.count("drop c") == 1


def test_killed_before_the_surplus_is_deleted(distrusted):
    """Segments that are done stay done, and what is too much goes all the same."""
    distrusted.pipeline.target.fail("Query", is_done=False)
    distrusted.pipeline.resync("c")
    distrusted.pipeline.wait_for_crash()
    distrusted.pipeline.start()
    distrusted.complete()
    assert distrusted.there == RIGHT
    assert distrusted.files.read == [1, 2, 3]


@pytest.mark.parametrize("drop_target", [False, True])
def test_target_collection_that_was_dropped_by_hand(distrusted, drop_target):
    """It is made anew, whatever is loaded, and nothing is looked for there."""
    distrusted.pipeline.target.collections.clear()
    distrusted.pipeline.target.is_loaded = False
    distrusted.files.before = lambda segment: distrusted.stop_at(segment, 2)
    distrusted.pipeline.resync("c", drop_target=drop_target)
    distrusted.pipeline.wait_for_crash()
    distrusted.files.before = lambda _segment: None
    distrusted.pipeline.start()
    distrusted.complete()
    assert distrusted.there == RIGHT


def test_target_collection_that_is_not_loaded(distrusted):
    """Nothing is sent into it; loaded, and taken up again, it comes to be right."""
    distrusted.pipeline.target.is_loaded = False
    before = distrusted.there
    distrusted.pipeline.resync("c")
    distrusted.wait_for(CollectionState.SET_ASIDE)
    assert "not loaded at the target" in distrusted.pipeline.task.entries["c"].reason
    assert distrusted.there == before
    distrusted.pipeline.target.is_loaded = True
    distrusted.pipeline.retry("c")
    distrusted.complete()
    assert distrusted.there == RIGHT


def test_collection_of_somebody_else_is_not_dropped(distrusted):
    """One without the task's mark, and not made by it, stays until somebody drops it."""
    distrusted.pipeline.target.give_ids()
    distrusted.pipeline.target.make_anew("c")
    distrusted.pipeline.resync("c", drop_target=True)
    distrusted.wait_for(CollectionState.SET_ASIDE)
    assert "has no mark" in distrusted.pipeline.task.entries["c"].reason
    assert "drop c" not in distrusted.pipeline.target.asked
    distrusted.pipeline.target.collections.clear()
    distrusted.pipeline.retry("c")
    distrusted.complete()
    assert distrusted.there == RIGHT


def test_equal_collection_of_somebody_else_is_taken_over_in_place(distrusted):
    """What was made by hand in the place of the task's comes to have the right rows."""
    distrusted.pipeline.target.give_ids()
    distrusted.pipeline.target.make_anew("c")
    distrusted.pipeline.resync("c")
    distrusted.complete()
    assert distrusted.there == RIGHT


@pytest.mark.parametrize("drop_target", [False, True])
def test_dropped_at_the_source_before_it_began(distrusted, drop_target):
    """Nothing of it stays at the target, and it is dropped."""
    pipeline = distrusted.pipeline
    pipeline.stop()
    pipeline.source.drop(distrusted.files.meta)
    pipeline.source.tick()
    pipeline.resync("c", drop_target=drop_target)
    distrusted.wait_for(CollectionState.DROPPED)
    assert distrusted.there is None


def test_dropped_at_the_source_meanwhile(distrusted):
    """Nothing of it stays at the target, and it is dropped."""
    distrusted.files.before = lambda segment: distrusted.stop_at(segment, 2)
    distrusted.pipeline.resync("c", drop_target=True)
    distrusted.pipeline.wait_for_crash()
    distrusted.pipeline.source.drop(distrusted.files.meta)
    distrusted.pipeline.source.tick()
    distrusted.pipeline.start()
    distrusted.wait_for(CollectionState.DROPPED)
    assert distrusted.there is None


@pytest.mark.parametrize("drop_target", [False, True])
def test_renamed_at_the_source_meanwhile(distrusted, drop_target):
    """It has its new name at the target in the end, and the right rows."""
    pipeline = distrusted.pipeline
    distrusted.files.before = lambda segment: distrusted.stop_at(segment, 2)
    pipeline.resync("c", drop_target=drop_target)
    pipeline.wait_for_crash()
    distrusted.files.before = lambda _segment: None
    pipeline.source.rename(distrusted.files.meta, "d")
    pipeline.source.tick()
    pipeline.start()
    distrusted.complete()
    pipeline.wait_until(lambda: pipeline.target.rows("d") == RIGHT)
    assert distrusted.there is None


def test_asked_for_twice(distrusted):
    """The second is refused while the first is on its way, and done afterwards."""
    distrusted.files.before = lambda segment: distrusted.stop_at(segment, 2)
    distrusted.pipeline.resync("c")
    distrusted.pipeline.wait_for_crash()
    with pytest.raises(TaskConflictError, match="is being brought already"):
        distrusted.pipeline.resync("c", drop_target=True)
    distrusted.files.before = lambda _segment: None
    distrusted.pipeline.start()
    distrusted.complete()
    distrusted.pipeline.resync("c", drop_target=True)
    distrusted.complete()
    assert distrusted.there == RIGHT


@pytest.mark.parametrize("drop_target", [False, True])
def test_without_files_from_the_log(pipeline, drop_target):
    """Where the log still holds the beginning it brings everything."""
    meta = pipeline.source.create("c", A)
    pipeline.source.insert(meta, range(1, 7))
    pipeline.source.delete(meta, (6,))
    pipeline.source.insert(meta, (7,))
    pipeline.source.tick()
    pipeline.start()
    pipeline.settle()
    pipeline.target.is_loaded = True
    rows = pipeline.target.collections["default", "c"].partitions["_default"]
    rows.update({3: 1, 50: 2})
    pipeline.resync("c", drop_target=drop_target)
    Distrusted(pipeline).complete()
    assert pipeline.target.rows("c") == RIGHT


def test_without_files_from_a_log_that_lacks_the_beginning(pipeline):
    """It is set aside, the reason names the setting, and the target stays as it is."""
    meta = pipeline.source.create("c", A)
    pipeline.source.insert(meta, (1, 2))
    pipeline.source.tick()
    pipeline.start()
    pipeline.settle()
    pipeline.source.log.truncate(A, pipeline.source.log_end(A))
    pipeline.source.tick()
    pipeline.resync("c", drop_target=True)
    Distrusted(pipeline).wait_for(CollectionState.SET_ASIDE)
    assert "sourceConfig.storage" in pipeline.task.entries["c"].reason
    assert pipeline.target.rows("c") == {1: 1, 2: 1}


@pytest.mark.parametrize("drop_target", [False, True])
def test_lost_position(distrusted, drop_target):
    """What was written while the task stood, and is in files alone, comes by a resync."""
    pipeline, files = distrusted.pipeline, distrusted.files
    pipeline.stop()
    pipeline.source.insert(files.meta, (8, 9))
    files.segments[4] = (7, 8, 9)
    files.segments[3] = (5,)
    files.forget_log()
    pipeline.begin()
    assert isinstance(pipeline.wait_for_failure(), PositionLostError)
    pipeline.resync("c", drop_target=drop_target)
    distrusted.complete()
    assert distrusted.there == RIGHT | dict.fromkeys((8, 9), 1)


def test_lost_position_and_a_collection_of_another_channel(distrusted):
    """The other goes on from where it stood."""
    pipeline, files = distrusted.pipeline, distrusted.files
    pipeline.stop()
    other = pipeline.source.create("other", B)
    pipeline.source.insert(other, (1,), B)
    pipeline.source.tick()
    pipeline.start()
    pipeline.settle()
    assert pipeline.target.rows("other") == {1: 1}
    pipeline.stop()
    pipeline.source.insert(other, (2,), B)
    files.segments = {9: tuple(RIGHT)}
    files.forget_log()
    pipeline.resync("c")
    distrusted.complete()
    assert distrusted.there == RIGHT
    assert pipeline.target.rows("other") == {1: 1, 2: 1}


def test_lost_position_that_another_collection_needs(distrusted):
    """The run fails as before: nothing of the other is skipped."""
    pipeline, files = distrusted.pipeline, distrusted.files
    other = pipeline.source.create("other", A)
    pipeline.source.tick()
    pipeline.wait_until(lambda: pipeline.target.rows("other") == {})
    pipeline.stop()
    pipeline.source.insert(other, (1,))
    files.forget_log()
    pipeline.resync("c")
    assert isinstance(pipeline.wait_for_failure(), PositionLostError)


def test_set_aside_before_anything_came(distrusted):
    """A collection that never was at the target comes, too."""
    pipeline = distrusted.pipeline
    pipeline.target.collections.clear()
    task = pipeline.task.task
    entry = task.collections.pop(distrusted.files.meta.id)
    bare = replace(entry, schema=b"", shards=())
    error = RowsLostError("its beginning is gone")
    pipeline.task.ask(RecordCollectionSetAside(1, bare, error, {}), block=False)
    pipeline.resync("c")
    distrusted.complete()
    assert distrusted.there == RIGHT


@pytest.mark.parametrize("drop_target", [False, True])
def test_import_that_the_files_have(distrusted, drop_target):
    """After a resync it is missing no more, nor is it told of by the next runs."""
    distrusted.complete_import(7)
    assert distrusted.missing_imports == [7]
    distrusted.files.segments |= {3: (5,), 4: (7, 8)}
    distrusted.files.flush()
    distrusted.pipeline.resync("c", drop_target=drop_target)
    distrusted.complete()
    assert distrusted.there == RIGHT | {8: 1}
    assert distrusted.missing_imports == []
    distrusted.pipeline.stop()
    distrusted.pipeline.start()
    distrusted.pipeline.settle()
    assert distrusted.pipeline.task.entries["c"].imports.keys() == {7}
    assert distrusted.missing_imports == []


def test_import_that_came_after_the_moment_of_the_files(distrusted):
    """It stays missing, whenever it comes: before the resync is asked for, or after."""
    distrusted.complete_import(7)
    distrusted.files.before = lambda segment: distrusted.stop_at(segment, 2)
    distrusted.pipeline.resync("c")
    distrusted.pipeline.wait_for_crash()
    distrusted.files.before = lambda _segment: None
    distrusted.pipeline.start()
    distrusted.complete_import(8)
    distrusted.complete()
    assert distrusted.there == RIGHT
    assert distrusted.missing_imports == [7, 8]
