"""What the supervisor keeps of a task: enough to show it, whatever its actor does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cdc_actors.changes import physical_seconds
from cdc_actors.pipeline.work import NO_ROWS, both
from cdc_actors.tasks import TaskState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from cdc_actors.pipeline.messages import Retried, RunProgressed
    from cdc_actors.pipeline.work import AppliedRows
    from cdc_actors.tasks import Failure, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSnapshot:
    """A task at one moment, as its actor knew it. Made of references, so that it is small.

    ``task`` is never changed once it is here: its actor replaces it. ``confirmed`` is a
    hybrid timestamp, ``unpersisted_failure`` one newer than the log's: see ``TaskRecord``.
    ``applied`` and ``failures`` count since the service started, the latter failed
    runs by failure class; ``applied_by_before`` are rows by collection id of ended runs.
    ``unreadable`` says why the log's events stop making sense after those in ``task``.
    """

    task: Task
    progress: RunProgressed | None = None
    applied: AppliedRows = NO_ROWS
    applied_by_before: Mapping[int, AppliedRows] = field(default_factory=dict)
    confirmed: int | None = None
    unpersisted_failure: Failure | None = None
    failures: Mapping[str, int] = field(default_factory=dict)
    unreadable: str | None = None

    @property
    def state(self) -> TaskState:
        """What the task is meant to do; one that cannot be read does nothing."""
        return TaskState.PAUSED if self.unreadable else self.task.state

    def is_as_well_as(self, earlier: TaskSnapshot) -> bool:
        """Tell whether ``health_of`` says the same of both, at next to no cost.

        Most reports tell of nothing but how far a run has come, four times a second.
        """
        return (
            self.task is earlier.task
            and self.unpersisted_failure is earlier.unpersisted_failure
            and self.unreadable == earlier.unreadable
            and self._moves() == earlier._moves()
            and self.retried == earlier.retried
            and self.imports == earlier.imports
        )

    def _moves(self) -> tuple[bool, bool]:
        return self.progress is None, bool(self.progress and self.progress.behind)

    @property
    def retried(self) -> Mapping[int, Retried]:
        """Which collections are tried again beside the others: see ``RunProgressed``."""
        return self.progress.retried if self.progress else {}

    @property
    def imports(self) -> Mapping[int, str]:
        """Why rows of bulk imports are not brought yet: see ``RunProgressed``."""
        return self.progress.imports if self.progress else {}

    @property
    def applied_by(self) -> Mapping[int, AppliedRows]:
        """``applied`` by collection id, of those that had any."""
        now = self.progress.applied_by if self.progress else {}
        return both(self.applied_by_before, now)

    @property
    def confirmed_by_now(self) -> int | None:
        """What ``confirmed`` has become since the run reported."""
        return self.progress.confirmed_by_now() if self.progress else self.confirmed

    @property
    def confirmed_at(self) -> float | None:
        """Up to when the target has confirmed, in seconds since 1970; None for unknown."""
        confirmed = self.confirmed_by_now
        return physical_seconds(confirmed) if confirmed else None

    @property
    def head_at(self) -> float | None:
        """Of when the newest tick is that the run has read, as ``confirmed_at``."""
        head = self.progress.head if self.progress else 0
        head = max(head, self.confirmed_by_now or 0)
        return physical_seconds(head) if head else None


@dataclass(slots=True)
class ProgressMonitor:
    """When a task last reported, and last made progress, by ``time.monotonic``.

    ``since`` is when its status became what the newest report shows, None before any.
    """

    last_report: float
    last_progress: float
    mark: object = None
    status: object = None
    since: datetime | None = None

    def update(self, mark: object, now: float) -> None:
        """Note a report; ``mark`` differs from the one before if there was progress."""
        self.last_report = now
        if mark != self.mark:
            self.mark, self.last_progress = mark, now

    def copy(self) -> ProgressMonitor:
        """Return one that stays as it is: ``copy.copy`` takes several times as long."""
        return ProgressMonitor(
            self.last_report, self.last_progress, self.mark, self.status, self.since
        )

    def note_status(self, status: object, at: datetime) -> None:
        """Note what the report shows; ``status`` differs if another one begins ``at``."""
        if status != self.status:
            self.status, self.since = status, at


@dataclass(frozen=True, slots=True)
class Observation:
    """A snapshot, and when the task reported and made progress."""

    snapshot: TaskSnapshot
    monitor: ProgressMonitor

    @classmethod
    def of(cls, snapshot: TaskSnapshot, monitor: ProgressMonitor) -> Observation:
        """Return what another thread may read while ``monitor`` is updated."""
        return cls(snapshot, monitor.copy())


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """The supervisor's tasks, and what it knows besides. Sizes are in bytes.

    ``mailboxes`` counts the messages that wait, by task id or ``supervisor``; ``restarts``
    the deaths of tasks' actors, by task id.
    """

    observations: Sequence[Observation]
    mailboxes: Mapping[str, int]
    restarts: Mapping[str, int]
    memory_held: int
    memory_limit: int
