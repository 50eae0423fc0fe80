"""How long the log keeps what a task reads next: looked at beside everything else."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cdc_actors.changes import Checkpoint, to_hybrid_ts
from cdc_actors.config import SourceConfig
from cdc_actors.errors import TransientError
from cdc_actors.pipeline.messages import RunProgressed
from cdc_actors.pipeline.work import NO_ROWS
from cdc_actors.service import retention as module
from cdc_actors.service.retention import Retention, RetentionWatch, retention
from cdc_actors.service.snapshot import TaskSnapshot
from cdc_actors.tasks import CollectionEntry, CollectionState
from tests.fakes.memory_log import MemoryLog, MemoryReader
from tests.support.tasks import new_task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.tasks import Task

CHANNEL = "by-dev-rootcoord-dml_0"
OTHER = "by-dev-rootcoord-dml_1"
DAY = 24 * 3600.0


def checkpoint(channel: str, seconds: float) -> dict[str, Checkpoint]:
    """Return where a channel is, by its name."""
    position = MemoryLog().append(channel, b"")
    return {channel: Checkpoint(position, False, to_hybrid_ts(seconds))}


def task_with(*states: CollectionState) -> Task:
    """Return a task with a collection in each state, on the channels in turn."""
    task = new_task()
    task.collections = {
        number: CollectionEntry(
            collection_id=number,
            database="default",
            name=f"c{number}",
            schema=b"schema",
            shards=(f"{channel}_{number}v0",),
            state=state,
        )
        for number, (channel, state) in enumerate(
            zip((CHANNEL, OTHER), states, strict=False)
        )
    }
    return task


class Stage:
    """A queue, a supervisor with one task, its stored checkpoints, and the watch."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.log.kept_seconds = DAY
        self.saved: dict[str, Checkpoint] = {}
        self.snapshot = TaskSnapshot(task=task_with(CollectionState.LIVE))
        self._watch = RetentionWatch(SourceConfig(), self, self)

    def ask(self, _message: object, timeout: float) -> list[Any]:
        """Answer as the supervisor."""
        return [SimpleNamespace(snapshot=self.snapshot)]

    def load(self, _task_id: str) -> dict[str, Checkpoint]:
        """Answer as the store."""
        return self.saved

    def look(self) -> Retention | None:
        """Look once; return what is known of the task."""
        try:
            self._watch._look()
        finally:
            self._watch.end()
        return self.known

    @property
    def known(self) -> Retention | None:
        """What is known of the task."""
        return self._watch.by_task.get(self.snapshot.task.task_id)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Yield a stage."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 600)
    stage = Stage()
    monkeypatch.setattr(module, "open_wal", lambda _: MemoryReader(stage.log))
    yield stage
    stage._watch.end()


def test_a_paused_task_is_known_by_its_saved_checkpoints(stage: Stage) -> None:
    """What was written after its tick is kept as long as the queue keeps records."""
    stage.saved = checkpoint(CHANNEL, 1000.0)
    assert stage.look() == Retention(until=1000.0 + DAY, kept=DAY)


def test_a_running_task_is_known_by_what_its_run_has_confirmed(stage: Stage) -> None:
    """That is newer than what is saved."""
    stage.saved = checkpoint(CHANNEL, 1000.0)
    now = checkpoint(CHANNEL, 2000.0)
    progress = RunProgressed(1, now, None, NO_ROWS, behind=False, waits={})
    stage.snapshot = TaskSnapshot(task=stage.snapshot.task, progress=progress)
    assert stage.look() == Retention(until=2000.0 + DAY, kept=DAY)


@pytest.mark.parametrize(
    "state", [CollectionState.DROPPED, CollectionState.SET_ASIDE], ids=str
)
def test_channels_of_nothing_that_goes_on_do_not_count(
    stage: Stage, state: CollectionState
) -> None:
    """Their ticks may have ended; what is set aside is said elsewhere."""
    task = task_with(CollectionState.LIVE, state)
    stage.snapshot = TaskSnapshot(task=task)
    stage.saved = checkpoint(CHANNEL, 1000.0) | checkpoint(OTHER, 1.0)
    assert stage.look() == Retention(until=1000.0 + DAY, kept=DAY)


def test_a_collection_from_files_needs_the_log_from_where_they_end(
    stage: Stage,
) -> None:
    """Its channel may be further, for others, or not be read yet."""
    task = task_with(CollectionState.LIVE, CollectionState.SNAPSHOT)
    files = replace(task.collections[1], snapshot=to_hybrid_ts(500.0))
    task.collections[1] = files
    stage.snapshot = TaskSnapshot(task=task)
    stage.saved = checkpoint(CHANNEL, 1000.0)
    assert stage.look() == Retention(until=500.0 + DAY, kept=DAY)
    task.collections[1] = replace(files, shards=task.collections[0].shards)
    stage.snapshot = TaskSnapshot(task=task)
    assert stage.look() == Retention(until=500.0 + DAY, kept=DAY)


def test_unknown_is_left_out(stage: Stage) -> None:
    """Where the queue cannot tell, and of a task that has not begun."""
    assert stage.look() is None
    stage.saved = checkpoint(CHANNEL, 1000.0)
    stage.snapshot = TaskSnapshot(task=stage.snapshot.task)
    stage.log.kept_seconds = None
    assert stage.look() is None


def test_a_queue_that_is_away_does_not_stop_the_clock(stage: Stage) -> None:
    """What it said before counts on, with the checkpoints of now."""
    stage.saved = checkpoint(CHANNEL, 1000.0)
    stage.look()
    stage.log.stop()
    stage.saved = checkpoint(CHANNEL, 1500.0)
    stage.snapshot = TaskSnapshot(task=stage.snapshot.task)
    stage._watch._asked_at = float("-inf")
    with pytest.raises(TransientError):
        stage.look()
    assert stage.known == Retention(until=1500.0 + DAY, kept=DAY)
    assert stage.look() == stage.known, "it is not asked again for a while"


def test_a_queue_is_asked_seldom(stage: Stage) -> None:
    """Once about each channel, and again after a minute; a paused task is read once."""
    stage.saved = checkpoint(CHANNEL, 1000.0)
    stage.look()
    stage.saved = checkpoint(CHANNEL, 2000.0)
    stage.log.kept_seconds = 2 * DAY
    assert stage.look() == Retention(until=1000.0 + DAY, kept=DAY)
    stage._watch._asked_at = float("-inf")
    assert stage.look() == Retention(until=1000.0 + 2 * DAY, kept=2 * DAY)


def test_the_channel_that_is_lost_first_counts() -> None:
    """Each may be kept for another time."""
    ticks = {CHANNEL: to_hybrid_ts(100.0), OTHER: to_hybrid_ts(200.0)}
    assert retention(ticks, {CHANNEL: 500.0, OTHER: 50.0}) == Retention(250.0, 50.0)
    assert retention(ticks, {CHANNEL: 50.0, OTHER: None}) == Retention(150.0, 50.0)
