"""What a task looks like from outside: its state, and beside it whether it moves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cdc_actors.actors.views import CollectionView, Health, TaskView
from cdc_actors.tasks import TaskState

if TYPE_CHECKING:
    from cdc_actors.actors.views import HealthStatus
    from cdc_actors.actors.work import StreamProgressed
    from cdc_actors.tasks import Task
    from cdc_actors.tasks.state import Failure

STALL_SECONDS = 20.0
"""How long a task that has work may stand still before it is called stalled."""

BEHIND_SECONDS = 10.0
"""From which lag on a task that moves is called catching up."""

_MOVING = frozenset({"ok", "starting", "catching_up"})


def view_of(
    task: Task,
    *,
    progress: StreamProgressed | None,
    rows: int,
    unrecorded: Failure | None,
) -> TaskView:
    """Return the view of a task. ``unrecorded`` is a failure that the log did not take."""
    return TaskView(
        task_id=task.task_id,
        spec=task.spec,
        state=task.state.value,
        reason=task.reason,
        created_at=task.created_at,
        health=_health(task, progress, unrecorded),
        lag_seconds=None,
        rows_applied=rows,
        collections=tuple(
            CollectionView(
                database=entry.database,
                name=entry.name,
                collection_id=entry.collection_id,
                state=entry.state.value,
                reason=entry.reason,
            )
            for entry in task.collections.values()
            if entry.state != "dropped"
        ),
    )


@dataclass(slots=True)
class Movement:
    """When a task was last heard of, and when it last came on. Seconds since 1970."""

    heard: float
    came_on: float
    mark: object = None

    def see(self, mark: object, now: float) -> None:
        """Take note of a task's word, with what changes whenever it comes on."""
        self.heard = now
        if mark != self.mark:
            self.mark, self.came_on = mark, now


def as_of(
    view: TaskView, confirmed: float | None, movement: Movement, now: float
) -> TaskView:
    """Return the view with the lag and the health of a moment; all in seconds since 1970.

    Whatever hangs, what the target has confirmed no longer grows: the source's ticks move
    it even when nobody writes. Only a task without any collection has nothing to confirm.
    """
    if view.state != TaskState.RUNNING:
        return view
    lag = None if confirmed is None else max(0.0, round(now - confirmed, 3))
    health = view.health
    still = now - movement.came_on
    idle = health.status == "ok" and confirmed is None
    if health.status in _MOVING and still > STALL_SECONDS and not idle:
        since = datetime.fromtimestamp(movement.came_on, UTC)
        error = _what_hangs(now - movement.heard, still)
        health = replace(health, status="stalled", since=since, error=error)
    elif health.status == "ok" and lag is not None and lag > BEHIND_SECONDS:
        health = replace(health, status="catching_up")
    return replace(view, lag_seconds=lag, health=health)


def _what_hangs(silent: float, still: float) -> str:
    if silent > STALL_SECONDS / 2:
        return (
            f"the reader has not been heard of for {silent:.0f} seconds: the source or "
            "the event log does not answer it"
        )
    return (
        f"nothing new has been confirmed for {still:.0f} seconds: the target does not "
        "answer, or the source's log stands still"
    )


def _health(
    task: Task, progress: StreamProgressed | None, unrecorded: Failure | None
) -> Health:
    failure = unrecorded or task.failure
    return Health(
        status=_status(task, progress, unrecorded),
        since=failure.since if failure else task.modified_on,
        error=failure.error if failure else None,
        failure_class=failure.failure_class.value if failure else None,
        attempt=failure.attempt if failure else 0,
        next_try=failure.next_try if failure else None,
    )


def _status(
    task: Task, progress: StreamProgressed | None, unrecorded: Failure | None
) -> HealthStatus:
    if task.state is TaskState.PAUSED:
        gave_up = task.failure is not None and task.failure.next_try is None
        return "failed" if gave_up else "paused"
    if task.failure or unrecorded:
        return "retrying"
    if progress is None:
        return "starting"
    return "catching_up" if progress.behind else "ok"
