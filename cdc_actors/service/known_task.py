"""A task as the supervisor knows it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cdc_actors.errors import FailureClass
from cdc_actors.service.snapshot import Observation
from cdc_actors.tasks import Failure

if TYPE_CHECKING:
    import pykka

    from cdc_actors.pipeline.owner_start import OwnerStart
    from cdc_actors.service.snapshot import ProgressMonitor, TaskSnapshot
    from cdc_actors.service.task_actor import TaskActor
    from cdc_actors.service.views import HealthStatus
    from cdc_actors.tasks import TaskSpec


@dataclass(slots=True)
class KnownTask:
    """What the supervisor has of a task. Times are those of the monotonic clock.

    ``ref`` is None for a task that was paused when the service began to have it and of
    which nothing has been asked since: it needs no thread. So it is for an unreadable one.
    ``exists`` is False until a new task is in the event log. ``restart_at`` is when a
    dead task is to be started again, None for a living one. ``deaths`` are those in a
    row, ``restarts`` all. ``asked_spec`` is what an update under way makes of it,
    ``status`` what ``health_of`` says of the snapshot. ``owner_start`` is None for a task
    that was created here.
    """

    snapshot: TaskSnapshot
    monitor: ProgressMonitor
    status: HealthStatus | None = None
    ref: pykka.ActorRef[TaskActor] | None = None
    exists: bool = True
    owner_start: OwnerStart | None = None
    started_at: float = 0.0
    deaths: int = 0
    restarts: int = 0
    restart_at: float | None = None
    asked_spec: TaskSpec | None = None

    @property
    def seen(self) -> Observation:
        """What another thread may look at."""
        return Observation.of(self.snapshot, self.monitor)

    def note_failure(self, error: str, *, attempt: int, wait: float) -> None:
        """Show a failure that the log has not, and that it is tried again."""
        now = datetime.now(UTC)
        failure = Failure(
            error=error,
            failure_class=FailureClass.TRANSIENT,
            attempt=attempt,
            next_try=now + timedelta(seconds=wait),
            since=now,
        )
        self.snapshot = replace(self.snapshot, unpersisted_failure=failure)


def waiting(actor: pykka.ActorRef[Any]) -> int:
    """Return how many messages wait for an actor: its inbox is a ``queue.Queue``."""
    inbox: Any = actor.actor_inbox
    return int(inbox.qsize())
