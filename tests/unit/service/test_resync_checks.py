"""Whether collections may be brought anew is looked at where their source is."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from cdc_actors.changes import Checkpoint
from cdc_actors.config import SourceConfig, Storage
from cdc_actors.errors import (
    FailureClass,
    TaskConflictError,
    UnavailableError,
)
from cdc_actors.pipeline.definitions import entry_of
from cdc_actors.service import resync_checks
from cdc_actors.service.resync_checks import refuse_resync
from cdc_actors.tasks import Operation
from tests.fakes.fake_source import REQUESTS, A, B, FakeSource
from tests.fakes.memory_log import MemoryReader
from tests.support.tasks import SUPERVISOR, new_task

if TYPE_CHECKING:
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.tasks import Task

SAYS: Any = {"who": SUPERVISOR, "why": "test"}
FILES = SourceConfig(
    storage=Storage(type="local", path="/milvus"), replicate_chan=REQUESTS
)
BARE = SourceConfig(replicate_chan=REQUESTS)
C = (("default", "c"),)


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> FakeSource:
    """Return the source that the configuration names."""
    source = FakeSource()
    monkeypatch.setattr(
        resync_checks, "open_catalog", lambda *_: nullcontext(source.catalog)
    )
    monkeypatch.setattr(resync_checks, "closing", lambda opened: opened)
    monkeypatch.setattr(resync_checks, "open_wal", lambda *_: MemoryReader(source.log))
    return source


def task_of(*created: CollectionMeta, lost: bool = False) -> Task:
    """Return a task of collections; it may have paused as its position was lost."""
    task = new_task()
    for meta in created:
        done = Operation.create_collection(entry_of(meta))
        task.apply_operation(done, **SAYS)
    if lost:
        task.fail("gone", FailureClass.POSITION_LOST, next_try=None, **SAYS)
        task.pause("gone", [], **SAYS)
    return task


def lose(source: FakeSource, *channels: str) -> list[Checkpoint]:
    """Return checkpoints of all channels, and have the log lose some."""
    checkpoints = [Checkpoint(source.log_end(each), True, 1) for each in (A, B)]
    source.tick()
    source.tick()
    for channel in channels:
        source.log.truncate(channel, source.log_end(channel))
    return checkpoints


def test_unknown_collection(source: FakeSource) -> None:
    """The answer names it."""
    task = task_of(source.create("c", A))
    refuse_resync(task, C, [], FILES)
    with pytest.raises(TaskConflictError, match=r"the task has no collection db\.c"):
        refuse_resync(task, [("db", "c")], [], FILES)


def test_dropped_collection(source: FakeSource) -> None:
    """There is nothing to bring."""
    meta = source.create("c", A)
    task = task_of(meta)
    drop = Operation.drop_collection(entry_of(meta), source.next())
    task.apply_operation(drop, **SAYS)
    with pytest.raises(TaskConflictError, match=r"the source has dropped default\.c"):
        refuse_resync(task, C, [], FILES)


def test_without_files(source: FakeSource) -> None:
    """It is refused, and the setting named, unless the log holds the beginning."""
    task = task_of(source.create("c", A))
    refuse_resync(task, C, [], BARE)
    lose(source, A)
    with pytest.raises(TaskConflictError, match=r"give sourceConfig\.storage"):
        refuse_resync(task, C, [], BARE)
    refuse_resync(task, C, [], FILES)


def test_without_files_of_what_the_source_has_dropped_since(source: FakeSource) -> None:
    """The run will see, and end it."""
    meta = source.create("c", A)
    lose(source, A)
    source.catalog.remove(meta.id)
    refuse_resync(task_of(meta), C, [], BARE)


def test_lost_positions(source: FakeSource) -> None:
    """All collections that have lost something are to be named, and no others."""
    task = task_of(
        source.create("c", A), source.create("d", A), source.create("e", B), lost=True
    )
    checkpoints = lose(source, A)
    with pytest.raises(TaskConflictError, match=r"lost rows of \[default\.d\], too"):
        refuse_resync(task, C, checkpoints, FILES)
    refuse_resync(task, [*C, ("default", "d")], checkpoints, FILES)
    refuse_resync(task, [("*", "*")], checkpoints, FILES)


def test_lost_requests(source: FakeSource) -> None:
    """What clients asked of any collection may be lost."""
    task = task_of(source.create("c", A), source.create("e", B), lost=True)
    source.load("c")
    requests = Checkpoint(source.log_end(REQUESTS), True, 1)
    source.load("c")
    source.load("c")
    source.log.truncate(REQUESTS, source.log_end(REQUESTS))
    checkpoints = [*lose(source), requests]
    with pytest.raises(TaskConflictError, match=r"lost rows of \[default\.e\], too"):
        refuse_resync(task, C, checkpoints, FILES)
    refuse_resync(task, [("default", "*")], checkpoints, FILES)


def test_source_that_does_not_answer(source: FakeSource) -> None:
    """The run asks again; only a lost position has to be looked at before."""
    meta = source.create("c", A)
    source.log.stop()
    refuse_resync(task_of(meta), C, [], BARE)
    with pytest.raises(UnavailableError, match="what the log has lost cannot be told"):
        refuse_resync(task_of(meta, lost=True), C, [], FILES)
