"""What a task looks like from outside: its state, and beside it whether it moves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cdc_actors.changes import physical_seconds
from cdc_actors.service.views import (
    CollectionView,
    DatabaseView,
    Health,
    Refusal,
    TaskView,
)
from cdc_actors.tasks import ANY, TaskState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_actors.pipeline.messages import RunProgressed
    from cdc_actors.service.views import HealthStatus
    from cdc_actors.tasks import CollectionEntry, Operation, Task
    from cdc_actors.tasks.state import Failure


def view_of(
    task: Task,
    *,
    progress: RunProgressed | None,
    rows: int,
    unpersisted_failure: Failure | None,
) -> TaskView:
    """Return the view of a task, with the failure that the log did not take, if any."""
    waits = progress.waits if progress else {}
    return TaskView(
        task_id=task.task_id,
        spec=task.spec,
        state=task.state.value,
        reason=task.reason,
        created_at=task.created_at,
        health=_health(task, progress, unpersisted_failure),
        lag_seconds=None,
        rows_applied=rows,
        databases=_databases(task),
        collections=tuple(_collection(task, entry, waits) for entry in _present(task)),
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
    task: Task, entry: CollectionEntry, waits: Mapping[int, str]
) -> CollectionView:
    return CollectionView(
        database=entry.database,
        name=entry.name,
        target=task.spec.target_name(entry.database, entry.name),
        collection_id=entry.collection_id,
        state=entry.state.value,
        reason=entry.reason or waits.get(entry.collection_id),
        resync_needed=_resync_needed(entry),
    )


def _resync_needed(entry: CollectionEntry) -> str | None:
    if not entry.imports:
        return None
    count = len(entry.imports)
    imports = "a bulk import" if count == 1 else f"{count} bulk imports"
    return f"rows of {imports} are missing at the target: they came past the log"


def _refusal(operation: Operation) -> Refusal:
    return Refusal(
        kind=operation.kind,
        database=operation.database,
        name=operation.name,
        at=datetime.fromtimestamp(physical_seconds(operation.timestamp), UTC),
        reason=operation.refused or "",
    )


def past_view_of(task: Task) -> TaskView:
    """Return the view of a task as it once was: what the log does not hold is unknown."""
    view = view_of(task, progress=None, rows=0, unpersisted_failure=None)
    if view.health.status == "starting":
        view = replace(view, health=replace(view.health, status="unknown"))
    return replace(view, rows_applied=None, as_of=task.version)


def _health(
    task: Task, progress: RunProgressed | None, unpersisted_failure: Failure | None
) -> Health:
    failure = unpersisted_failure or task.failure
    return Health(
        status=_status(task, progress, unpersisted_failure),
        since=failure.since if failure else task.modified_on,
        error=failure.error if failure else None,
        failure_class=failure.failure_class.value if failure else None,
        attempt=failure.attempt if failure else 0,
        next_try=failure.next_try if failure else None,
    )


def _status(
    task: Task, progress: RunProgressed | None, unpersisted_failure: Failure | None
) -> HealthStatus:
    if task.state is TaskState.PAUSED:
        gave_up = task.failure is not None and task.failure.next_try is None
        return "failed" if gave_up else "paused"
    if task.failure or unpersisted_failure:
        return "retrying"
    if progress is None:
        return "starting"
    return "catching_up" if progress.behind else "ok"
