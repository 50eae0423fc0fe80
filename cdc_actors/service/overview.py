"""The tasks at a glance: little enough to be asked for each second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.service.health import health_at, lag_at
from cdc_actors.service.projection import states_of
from cdc_actors.service.views import TaskSummary

if TYPE_CHECKING:
    from cdc_actors.service.snapshot import Observation
    from cdc_actors.service.source_clock import Moment
    from cdc_actors.tasks import Task


def summary_at(observation: Observation, now: Moment, node: str = "") -> TaskSummary:
    """Return a task as it is at a moment, without what there is of each collection."""
    snapshot = observation.snapshot
    task = snapshot.task
    return TaskSummary(
        task_id=client_id(task),
        uri=task.spec.target.uri,
        state=snapshot.state.value,
        reason=snapshot.unreadable or task.reason,
        created_at=task.created_at,
        last_event=task.version,
        health=health_at(observation, now),
        lag_seconds=lag_at(observation, now),
        rows_applied=snapshot.applied.count,
        collections=states_of(snapshot),
        operations_refused=task.refused,
        node=node,
    )


def client_id(task: Task) -> str:
    """Return the id of a task as clients know it."""
    return task.spec.task_name or task.task_id
