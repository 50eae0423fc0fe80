"""What a task looks like from outside: its state, and beside it whether it moves."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from cdc_actors.errors import FailureClass
from cdc_actors.pipeline.messages import SnapshotProgress
from cdc_actors.service.problems import (
    operation_time,
    problems_of,
    resync_needed,
    retry_reason,
)
from cdc_actors.service.snapshot import TaskSnapshot
from cdc_actors.service.state_changes import RETRYING
from cdc_actors.service.views import (
    CollectionView,
    DatabaseView,
    Health,
    Refusal,
    TaskView,
)
from cdc_actors.tasks import ANY, CollectionState, TaskState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_actors.pipeline.messages import Retried, RunProgressed
    from cdc_actors.service.views import HealthStatus
    from cdc_actors.tasks import CollectionEntry, Operation, Task


def view_of(snapshot: TaskSnapshot) -> TaskView:
    """Return the view of a task, without what depends on the moment: see ``with_health``.

    Takes 2 microseconds for each collection, so that it is made only when somebody asks.
    """
    task = snapshot.task
    return TaskView(
        task_id=task.task_id,
        spec=task.spec,
        state=snapshot.state.value,
        reason=snapshot.unreadable or task.reason,
        created_at=task.created_at,
        health=health_of(snapshot),
        lag_seconds=None,
        rows_applied=snapshot.applied.count,
        databases=_databases(task),
        collections=tuple(
            _collection(task, entry, snapshot) for entry in _present(task)
        ),
        refused=task.refused,
        refusals=tuple(map(_refusal, task.refusals)),
    )


def _present(task: Task) -> list[CollectionEntry]:
    entries = task.collections.values()
    return [entry for entry in entries if entry.state != "dropped"]


def _databases(task: Task) -> tuple[DatabaseView, ...]:
    """Return the databases of the selection, then others that collections are in."""
    selected = [database for database, _ in task.spec.selectors if database != ANY]
    found = dict.fromkeys([*selected, *(entry.database for entry in _present(task))])
    return tuple(
        DatabaseView(
            name=database,
            target=task.spec.target_database(database),
            whole=task.spec.selects_database(database),
        )
        for database in found
    )


def _collection(
    task: Task,
    entry: CollectionEntry,
    snapshot: TaskSnapshot,
) -> CollectionView:
    again = _retried(entry, snapshot.retried)
    reason = retry_reason(again) if again else entry.reason or _of_shadow(task, entry)
    waits = snapshot.progress.waits if snapshot.progress else {}
    return CollectionView(
        database=entry.database,
        name=entry.name,
        target=task.spec.target_name(entry.database, entry.name),
        collection_id=entry.collection_id,
        state=RETRYING if again else entry.shown_state.value,
        reason=reason or waits.get(entry.collection_id),
        snapshot=_snapshot(entry, snapshot.progress),
        resync_needed=resync_needed(entry, snapshot.imports),
        skipped_fields=entry.skipped,
    )


def noted_collections(snapshot: TaskSnapshot) -> list[CollectionView]:
    """Return those collections of a task that are not simply live, as its view has them."""
    task, retried = snapshot.task, snapshot.retried
    return [
        _collection(task, entry, snapshot)
        for entry in _present(task)
        if entry.shown_state is not CollectionState.LIVE
        or entry.missing_imports
        or entry.collection_id in retried
    ]


def states_of(snapshot: TaskSnapshot) -> dict[str, int]:
    """Return how many collections of a task are in which state, as its view has them."""
    return Counter(
        RETRYING if _retried(entry, snapshot.retried) else entry.shown_state.value
        for entry in _present(snapshot.task)
    )


def _retried(entry: CollectionEntry, retried: Mapping[int, Retried]) -> Retried | None:
    return retried.get(entry.collection_id) if entry.reason is None else None


def _of_shadow(task: Task, entry: CollectionEntry) -> str | None:
    if not entry.shadow:
        return None
    there = ".".join(task.spec.written_name(entry))
    return f"its rows go into {there}, which takes its place once it has all of them"


def _snapshot(
    entry: CollectionEntry, progress: RunProgressed | None
) -> SnapshotProgress | None:
    if entry.state is not CollectionState.SNAPSHOT:
        return None
    known = progress.snapshots.get(entry.collection_id) if progress else None
    return known or SnapshotProgress(0, 0)


def _refusal(operation: Operation) -> Refusal:
    return Refusal(
        kind=operation.kind,
        database=operation.database,
        name=operation.name,
        at=operation_time(operation),
        reason=operation.refused or "",
    )


def past_view_of(task: Task) -> TaskView:
    """Return the view of a task as it once was: what the log does not hold is unknown."""
    view = view_of(TaskSnapshot(task=task))
    health = view.health
    if health.status == "starting":
        status: HealthStatus = "degraded" if health.problems.count else "unknown"
        health = replace(health, status=status, error=health.problems.summary or None)
    return replace(view, health=health, rows_applied=None, as_of=task.version)


def health_of(snapshot: TaskSnapshot) -> Health:
    """Return how well a task is, as it reported itself; see ``health_at``."""
    task = snapshot.task
    failure = snapshot.unpersisted_failure or task.failure
    if snapshot.unreadable:
        return Health(
            status="failed",
            since=task.modified_on,
            error=snapshot.unreadable,
            failure_class=FailureClass.OPERATOR.value,
        )
    return Health(
        status=status_of(snapshot),
        since=failure.since if failure else task.state_since,
        error=failure.error if failure else None,
        failure_class=failure.failure_class.value if failure else None,
        attempt=failure.attempt if failure else 0,
        next_try=failure.next_try if failure else None,
        problems=problems_of(task, snapshot.retried, snapshot.imports),
    )


def status_of(snapshot: TaskSnapshot) -> HealthStatus:
    """Return whether a task works, as it reported itself."""
    task, progress = snapshot.task, snapshot.progress
    if task.state is TaskState.PAUSED:
        gave_up = task.failure is not None and task.failure.next_try is None
        return "failed" if gave_up else "paused"
    if task.failure or snapshot.unpersisted_failure:
        return "retrying"
    if progress is None:
        return "starting"
    states = (entry.shown_state for entry in task.collections.values())
    comes = progress.behind or CollectionState.SNAPSHOT in states
    return "catching_up" if comes else "ok"
