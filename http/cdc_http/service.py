"""What the HTTP app needs of the service behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from cdc_actors.changes import FullName
    from cdc_actors.config.model import LogLevel
    from cdc_actors.service.comparison_state import ComparisonRequest
    from cdc_actors.service.metric_family import Family
    from cdc_actors.service.views import (
        ComparisonView,
        LagSamples,
        Overview,
        PositionView,
        Readiness,
        TaskView,
    )
    from cdc_actors.store.history import Moment, Page
    from cdc_actors.store.ownership import Node, Owner
    from cdc_actors.tasks.resyncs import ResyncMethod
    from cdc_actors.tasks.spec import TaskSpec
    from cdc_actors.tasks.state import Who


class TaskComparisons(Protocol):
    """The comparisons of tasks with their targets; see ``TaskService``."""

    def start(self, task_id: str, request: ComparisonRequest, who: Who) -> None:
        """Begin to compare a task, which is not being compared."""
        ...

    def view(self, task_id: str) -> ComparisonView:
        """Return the newest comparison of a task, which must have one."""
        ...

    def cancel(self, task_id: str) -> None:
        """Have the comparison that runs end."""
        ...


class OtherServices(Protocol):
    """The other services on the store; see ``TaskService``."""

    def owner_of(self, task_id: str) -> Owner | None:
        """Return which of them is to answer for a task, or for all if it is empty.

        None if that is this service, or unknown.
        """
        ...

    def is_cut_off(self) -> bool:
        """Tell whether this service's own tasks may be of others by now."""
        ...

    def with_tasks(self) -> Sequence[Owner]:
        """Return those that have some of the tasks while this one has others."""
        ...

    def nodes(self) -> Sequence[Node]:
        """Return all services on the store, and this one."""
        ...

    def drain(self, node_id: str, *, drains: bool) -> bool:
        """Have a service give its tasks to others, or have tasks again.

        False if there is none of that id.
        """
        ...

    def unheard(self, heard: Collection[str]) -> Iterable[TaskView]:
        """Return the tasks that the log has but for these, as far as it knows them."""
        ...


class TaskService(Protocol):
    """The tasks, as a client of the API acts on them.

    Every method may be called from any thread, answers within a deadline of its own
    and raises a ``cdc_actors.errors.RequestError`` when it cannot do what is asked.
    A ``task_id`` is 32 hex digits.
    """

    def create(self, task_id: str | None, spec: TaskSpec, who: Who) -> str:
        """Create and start a task, and return its id of 32 hex digits.

        A ``task_id`` that exists already is returned and nothing is created; a task of
        that id that is another one is a ``TaskConflictError``.
        """
        ...

    def misfits(self, task_id: str) -> Sequence[str]:
        """Return a sentence for each collection of a task that its target has otherwise.

        Or cannot be told yet not to have, and one if the selection leaves out databases of
        the source or takes nothing yet; empty where all that is known fits.
        """
        ...

    def list(self) -> list[TaskView]:
        """Return every task, the oldest first."""
        ...

    def overview(self) -> Overview:
        """Return every task, the oldest first, without what there is of collections."""
        ...

    def lag_samples(self, after: int) -> LagSamples:
        """Return the lags of the last hour by task, of samples behind that number."""
        ...

    def get(self, task_id: str, as_of: Moment | None = None) -> TaskView:
        """Return one task as it is, or as it was after an event or at a time."""
        ...

    def history(self, task_id: str, *, after: int, limit: int) -> Page:
        """Return the events of a task behind number ``after``, even if it is deleted."""
        ...

    def positions(self, task_id: str) -> tuple[PositionView, ...]:
        """Return up to where a task, or each one if ``task_id`` is empty, has come."""
        ...

    @property
    def set_log_level(self) -> Callable[[LogLevel], None]:
        """Logs from a level on, until the next start."""
        ...

    def pause(self, task_id: str, who: Who) -> None:
        """Pause a running task; once it returns the task shows as Paused."""
        ...

    def resume(self, task_id: str, who: Who) -> None:
        """Resume a paused task; once it returns the task shows as Running."""
        ...

    def retry(self, task_id: str, collections: Sequence[FullName], who: Who) -> None:
        """Take up again, from where it stood, what was set aside of a task.

        ``collections`` are the source's databases and names, ``*`` stands for all; none
        means all that can be taken up.
        """
        ...

    def resync(
        self,
        task_id: str,
        collections: Sequence[FullName],
        who: Who,
        *,
        method: ResyncMethod,
    ) -> None:
        """Bring collections of a task anew, whatever the target has of them.

        ``collections`` are the source's databases and names, ``*`` stands for all.
        """
        ...

    def acknowledge(self, task_id: str, kinds: Sequence[str], who: Who) -> None:
        """Accept that operations of some kinds, or of all if none, were refused."""
        ...

    def update(
        self,
        task_id: str,
        before: TaskSpec,
        spec: TaskSpec,
        who: Who,
        *,
        same_milvus: bool,
    ) -> Sequence[str]:
        """Make ``spec`` of a task that is ``before``; return the members that differ.

        A token in ``spec`` is a new one, an empty one keeps the present. ``same_milvus``
        is the client's word that another address leads to the Milvus that it was.
        """
        ...

    def delete(self, task_id: str, who: Who, *, ignore_not_found: bool) -> None:
        """Delete a task in any state; once it returns the task is unknown."""
        ...

    @property
    def comparisons(self) -> TaskComparisons:
        """The comparisons of tasks."""
        ...

    @property
    def others(self) -> OtherServices:
        """The other services on the store."""
        ...

    def readiness(self) -> Readiness:
        """Say whether the service can do its work, and what is missing."""
        ...

    def metrics(self) -> Iterable[Family]:
        """Return the metric families of service and tasks."""
        ...

    def alive(self) -> bool:
        """Say whether the supervisor still answers."""
        ...
