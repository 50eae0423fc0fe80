"""What the service asks the supervisor, and what tasks tell it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from queue import SimpleQueue

    from cdc_actors.changes import FullName
    from cdc_actors.pipeline.owner_start import OwnerStart
    from cdc_actors.service.neighbours import Beside
    from cdc_actors.service.snapshot import TaskSnapshot
    from cdc_actors.tasks import ComparisonResult, ResyncMethod, TaskSpec, Who


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Start every task that the event log knows."""


@dataclass(frozen=True, slots=True)
class TaskLoaded:
    """To the supervisor: a task of the event log that it is to have from now on.

    What an earlier owner sent for it, it has sent before ``owner_start``.
    """

    snapshot: TaskSnapshot
    owner_start: OwnerStart


@dataclass(frozen=True, slots=True)
class RebuildEnded:
    """To the supervisor, as it rebuilds: there are no more tasks for now."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """To the supervisor: have these tasks no more, as another service is to have them.

    Answered with those that are just not being changed, by id, and their actors, None for
    one that needs none. What has an actor is put into ``left`` once its run has ended, with
    whether all that it sent has come to its end.
    """

    task_ids: Collection[str]
    left: SimpleQueue[tuple[str, bool]]


@dataclass(frozen=True, slots=True)
class Leave:
    """To a task, from the supervisor: end here; see ``HandOver``."""

    left: SimpleQueue[tuple[str, bool]]


@dataclass(frozen=True, slots=True)
class CreateTask:
    """Create a task, or find the one of this id and body.

    ``beside`` is what other tasks of the target are, where the supervisor has not all.
    Answered with a future that is set to its id once it is in the event log.
    """

    task_id: str | None
    spec: TaskSpec
    who: Who
    beside: Beside | None = None


@dataclass(frozen=True, slots=True)
class ListTasks:
    """Answered with a list of ``Observation``, oldest task first."""


@dataclass(frozen=True, slots=True)
class GetStatistics:
    """Answered with the ``Statistics``."""


@dataclass(frozen=True, slots=True)
class GetTask:
    """Answered with the ``Observation``."""

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
class RetryCollections:
    """Take collections that were set aside up again; see ``Task.retry``.

    Answered with a future that is set once that is written down.
    """

    task_id: str
    collections: tuple[FullName, ...]
    who: Who
    why: str


@dataclass(frozen=True, slots=True)
class ResyncCollections:
    """Have collections brought anew; see ``snapshots.resync``.

    One that paused as its log had lost a position goes on. Answered with a future that is
    set once that is written down.
    """

    task_id: str
    collections: tuple[FullName, ...]
    method: ResyncMethod
    who: Who


@dataclass(frozen=True, slots=True)
class AcknowledgeOperations:
    """Accept that operations of some kinds, or of all, were refused.

    Answered with a future that is set once that is written down.
    """

    task_id: str
    kinds: tuple[str, ...]
    who: Who


@dataclass(frozen=True, slots=True)
class ReadSelected:
    """To a task, from itself: have collections that an update selected read anew."""

    collections: tuple[FullName, ...]


@dataclass(frozen=True, slots=True)
class UpdateTask:
    """Make ``spec`` of a task that is ``before``; a token in ``spec`` is a new one.

    Answered with a future that is set once that is in the event log. The supervisor
    passes on what is left of ``spec`` beside other tasks. ``why`` is what the event says.
    """

    task_id: str
    before: TaskSpec
    spec: TaskSpec
    who: Who
    why: str = "asked by a client"
    beside: Beside | None = None


@dataclass(frozen=True, slots=True)
class UpdateEnded:
    """From a task: an update was done, or refused; a ``TaskReported`` came first."""

    task_id: str


@dataclass(frozen=True, slots=True)
class RecordCompared:
    """Write down what a comparison came to.

    Answered with a future that is set once that is done.
    """

    task_id: str
    result: ComparisonResult
    who: Who


@dataclass(frozen=True, slots=True)
class DeleteTask:
    """Answered with a future that is set once the task is gone."""

    task_id: str
    who: Who


PassedToTask = (
    PauseTask
    | ResumeTask
    | RetryCollections
    | ResyncCollections
    | AcknowledgeOperations
    | RecordCompared
    | DeleteTask
)
"""What the supervisor passes on as it is; the task's future is its answer."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Stop all work and keep the checkpoints; answered when that is done."""


@dataclass(frozen=True, slots=True)
class StoreLost:
    """To the supervisor: the store is not ours any more; end all work, write nothing."""

    reason: str


@dataclass(frozen=True, slots=True)
class CheckTasks:
    """To the supervisor, from its timer: bring back task actors that died."""


@dataclass(frozen=True, slots=True)
class TaskReported:
    """From a task: how it is now."""

    snapshot: TaskSnapshot


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """From a task: it is deleted, or was never created."""

    task_id: str


@dataclass(frozen=True, slots=True)
class SaveCreated:
    """To a new task: write down that it is there; answered with its id once it is.

    ``check`` is as for ``TaskLog.save``.
    """

    check: Callable[[Any], None] | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """To a task that the event log has: begin, if it is meant to run."""


@dataclass(frozen=True, slots=True)
class PeerReturned:
    """To a task whose run has failed: a server that was away since answers again."""

    run_number: int


@dataclass(frozen=True, slots=True)
class RetryRun:
    """To a task, from its timer: begin again after the failure of a run."""

    run_number: int
