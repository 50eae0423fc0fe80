"""What the service asks the supervisor, and what tasks tell it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cdc_actors.service.views import TaskView
    from cdc_actors.tasks import TaskSpec, Who


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Start every task that the event log knows."""


@dataclass(frozen=True, slots=True)
class RebuildSome:
    """To the supervisor, from itself: start these tasks, a few of them now."""

    task_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CreateTask:
    """Create a task, or find the one of this id; answered with its id."""

    task_id: str | None
    spec: TaskSpec
    who: Who


@dataclass(frozen=True, slots=True)
class ListTasks:
    """Answered with a list of TaskView, oldest task first."""


@dataclass(frozen=True, slots=True)
class GetTask:
    """Answered with the TaskView."""

    task_id: str


@dataclass(frozen=True, slots=True)
class PauseTask:
    """Answered with a future that is set once nothing more reaches the target."""

    task_id: str
    who: Who


@dataclass(frozen=True, slots=True)
class ResumeTask:
    """Answered with a future that is set once the task runs."""

    task_id: str
    who: Who


@dataclass(frozen=True, slots=True)
class DeleteTask:
    """Answered with a future that is set once the task is gone."""

    task_id: str
    who: Who


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Stop all work and keep the checkpoints; answered when that is done."""


@dataclass(frozen=True, slots=True)
class CheckTasks:
    """To the supervisor, from its timer: bring back task actors that died."""


@dataclass(frozen=True, slots=True)
class ViewChanged:
    """From a task: what it looks like now. ``confirmed`` is in seconds since 1970."""

    view: TaskView
    confirmed: float | None


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """From a task: it is deleted."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Launch:
    """To a task: begin, if it is meant to run."""


@dataclass(frozen=True, slots=True)
class RetryRun:
    """To a task, from its timer: begin again after the failure of a stream."""

    run_number: int
