"""How long the log still has what comes next for a task, looked at in the background.

A record that was written at a time T is removed when T is as long ago as the queue keeps
records. What comes next for a task was written after its checkpoint's tick, so the log has
it at least until that tick is as old.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pykka
import structlog

from cdc_actors.changes import physical_seconds
from cdc_actors.errors import CdcError
from cdc_actors.pipeline.definitions import channels_of
from cdc_actors.service.messages import ListTasks
from cdc_actors.source.wal_choice import open_wal
from cdc_actors.tasks import CollectionState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cdc_actors.changes import Checkpoint
    from cdc_actors.config import SourceConfig
    from cdc_actors.service.snapshot import TaskSnapshot
    from cdc_actors.store.checkpoints import Checkpoints
    from cdc_actors.tasks import Task

LOOK_SECONDS = 5.0
"""How often to look how far the tasks are."""

ASK_SECONDS = 60.0
"""How often the queue is asked what it keeps; at once about a channel that is new."""

ANSWER_SECONDS = 5.0

_STAYING = (CollectionState.DROPPED, CollectionState.SET_ASIDE)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Retention:
    """What the log keeps for a task, of the channel of which it is lost first.

    ``kept`` is for how long the queue keeps a record, in seconds. ``until`` is up to when
    it has what comes next for the task, in seconds since 1970 by the source's clock.
    """

    until: float
    kept: float


class RetentionWatch:
    """Looks again and again, by a thread of its own. Any thread may use it."""

    def __init__(
        self,
        source: SourceConfig,
        checkpoints: Checkpoints,
        supervisor: pykka.ActorRef[Any],
    ) -> None:
        self.by_task: Mapping[str, Retention] = {}
        """What is known, by task id; a task of which nothing is has none."""
        self._source = source
        self._checkpoints = checkpoints
        self._supervisor = supervisor
        self._kept: dict[str, float | None] = {}
        self._asked: set[str] = set()
        self._asked_at = float("-inf")
        self._stopped: dict[str, tuple[TaskSnapshot, dict[str, int]]] = {}
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="retention", daemon=True).start()

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            try:
                self._look()
            except (CdcError, pykka.Timeout, pykka.ActorDeadError) as error:
                _log.debug("retention_unknown", error=str(error))
            except Exception:  # noqa: BLE001 - one odd answer must not end the looking
                _log.warning("retention_unknown", exc_info=True)

    def _look(self) -> None:
        """Keep what the queue has said before, where it does not answer."""
        seen: Any = self._supervisor.ask(ListTasks(), timeout=ANSWER_SECONDS)
        snapshots: list[TaskSnapshot] = [each.snapshot for each in seen]
        ticks = {each.task.task_id: self._ticks(each) for each in snapshots}
        self._stopped = {i: each for i, each in self._stopped.items() if i in ticks}
        try:
            self._ask({channel for each in ticks.values() for channel in each})
        finally:
            found = {i: retention(each, self._kept) for i, each in ticks.items()}
            self.by_task = {i: each for i, each in found.items() if each}

    def _ticks(self, snapshot: TaskSnapshot) -> dict[str, int]:
        """Return up to which tick the channels of a task's collections are applied."""
        if snapshot.progress:
            return _ticks(snapshot.task, snapshot.progress.checkpoints)
        task_id = snapshot.task.task_id
        former, ticks = self._stopped.get(task_id, (None, {}))
        if former is not snapshot:
            ticks = _ticks(snapshot.task, self._checkpoints.load(task_id))
            self._stopped[task_id] = snapshot, ticks
        return ticks

    def _ask(self, channels: set[str]) -> None:
        due = time.monotonic() - self._asked_at > ASK_SECONDS
        if not channels or not (due or channels - self._asked):
            return
        self._asked, self._asked_at = channels, time.monotonic()
        with open_wal(self._source) as reader:
            self._kept = {each: reader.kept_seconds(each) for each in channels}


def retention(
    ticks: Mapping[str, int], kept: Mapping[str, float | None]
) -> Retention | None:
    """Return what the log keeps for a task, None if nothing is known of its channels.

    Both are by channel: up to where a task has come, a hybrid timestamp, and for how many
    seconds records are kept.
    """
    known = (
        Retention(physical_seconds(tick) + seconds, seconds)
        for channel, tick in ticks.items()
        if (seconds := kept.get(channel)) is not None
    )
    return min(known, key=lambda each: each.until, default=None)


def _ticks(task: Task, checkpoints: Mapping[str, Checkpoint]) -> dict[str, int]:
    """Return from which tick on each channel is needed, of those in which ticks go on.

    That is so where there is a collection; one that is set aside stays where it is. One
    that comes from files needs the log from where these end.
    """
    ticks: dict[str, int] = {}
    for entry in task.collections.values():
        if entry.state in _STAYING:
            continue
        snapshot = entry.snapshot if entry.state is CollectionState.SNAPSHOT else 0
        for channel in channels_of(entry.shards):
            at = checkpoints.get(channel)
            known = (ticks.get(channel, 0), at.tick if at else 0, snapshot)
            if tick := min(filter(None, known), default=0):
                ticks[channel] = tick
    return ticks
