"""The actor that owns the map of tasks.

Every request of the API is a message to it. What tasks last reported it answers at once;
what a task must do it passes on, and answers with the task's future. It reads and writes
no store itself, so that no task's work and no slow database hold up another's request.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pykka
import structlog

from cdc_actors.errors import (
    FailureClass,
    TaskConflictError,
    TaskLimitError,
    UnavailableError,
    UnknownTaskError,
)
from cdc_actors.grpc_common import address
from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.pipeline.reservations import NameReservations
from cdc_actors.service import backoff, rebuild
from cdc_actors.service.messages import (
    CheckTasks,
    CreateTask,
    GetStatistics,
    GetTask,
    Launch,
    ListTasks,
    PassedToTask,
    Rebuild,
    RebuildEnded,
    SaveCreated,
    Shutdown,
    StoreLost,
    TaskEnded,
    TaskLoaded,
    TaskReported,
    UpdateEnded,
    UpdateTask,
)
from cdc_actors.service.overview import client_id
from cdc_actors.service.peers import PeerWatch
from cdc_actors.service.projection import health_of
from cdc_actors.service.snapshot import (
    Observation,
    ProgressMonitor,
    Statistics,
    TaskSnapshot,
)
from cdc_actors.service.task_actor import TaskActor
from cdc_actors.service.task_record import TaskRecord
from cdc_actors.tasks import (
    Failure,
    Task,
    TaskState,
    refuse_other_body,
    resolve_conflicts,
    resolve_update,
    updates,
)

if TYPE_CHECKING:
    from cdc_actors.changes import FullName
    from cdc_actors.config import Config
    from cdc_actors.pipeline.reservations import TaskReservations
    from cdc_actors.service.source_clock import SourceClock
    from cdc_actors.service.stores import Stores
    from cdc_actors.service.views import HealthStatus
    from cdc_actors.tasks import TaskSpec

CHECK_SECONDS = 1.0
"""How often the supervisor looks whether every task's actor is alive."""

HEALTHY_SECONDS = 60.0
"""How long an actor must live before its next death counts as a first one."""

_READING = "the service is reading the event log, try again in a moment"
_STOPPING = "the service is stopping, try again in a moment"
_log = structlog.get_logger()


@dataclass(slots=True)
class _Known:
    """A task as the supervisor knows it. Times are those of the monotonic clock.

    ``ref`` is None for a task that was paused when the service started and of which
    nothing has been asked since: it needs no thread. So it is for an unreadable one.
    ``exists`` is False until a new task is in the event log. ``restart_at`` is when a
    dead task is to be started again, None for a living one. ``deaths`` are those in a
    row, ``restarts`` all. ``asked_spec`` is what an update under way makes of it,
    ``status`` what ``health_of`` says of the snapshot.
    """

    snapshot: TaskSnapshot
    monitor: ProgressMonitor
    status: HealthStatus | None = None
    ref: pykka.ActorRef[TaskActor] | None = None
    exists: bool = True
    started_at: float = 0.0
    deaths: int = 0
    restarts: int = 0
    restart_at: float | None = None
    asked_spec: TaskSpec | None = None


class Supervisor(pykka.ThreadingActor):
    """Creates tasks, brings them back, and speaks for them."""

    use_daemon_thread = True

    def __init__(self, config: Config, stores: Stores, clock: SourceClock) -> None:
        super().__init__()
        self._clock = clock
        self._config = config
        self._stores = stores
        self._memory = MemoryBudget(config.max_memory_bytes)
        self._peers = PeerWatch()
        self._tasks: dict[str, _Known] = {}
        self._reservations = NameReservations()
        self._closed = _READING
        self._store_lost = False

    def on_receive(self, message: Any) -> Any:
        """Answer a request, or hear of a task. Runs in the actor's own thread."""
        match message:
            case TaskReported():
                self._on_report(message.snapshot)
            case TaskEnded() | UpdateEnded():
                self._on_ended(message)
            case Rebuild():
                rebuild.start(self.actor_ref, self._stores)
                self._check_later()
            case TaskLoaded():
                self._on_loaded(message.snapshot)
            case RebuildEnded():
                self._on_rebuilt()
            case CheckTasks():
                self._check_tasks()
            case StoreLost():
                self._on_store_lost(message.reason)
            case Shutdown():
                return self._shut_down()
            case _:
                return self._request(message)
        return None

    def _request(self, message: Any) -> Any:
        reads = isinstance(message, ListTasks | GetTask | GetStatistics)
        if self._closed and not (self._store_lost and reads):
            raise UnavailableError(self._closed)
        match message:
            case CreateTask():
                return self._create(message)
            case ListTasks():
                return self._observations()
            case GetStatistics():
                return self._statistics()
            case GetTask():
                text = f"not found: [{message.task_id}]"
                return _seen(self._find(message.task_id, text))
            case UpdateTask():
                return self._update(message)
            case _ if isinstance(message, PassedToTask):
                text = f"not found the task, task_id: {message.task_id}"
                known = self._find(message.task_id, text)
                return self._actor_of(known).ask(message, block=False)
            case _:
                raise TypeError(f"the supervisor is asked for {message!r}")

    def _observations(self) -> list[Observation]:
        return [_seen(known) for known in self._tasks.values() if known.exists]

    def _statistics(self) -> Statistics:
        known = self._tasks.items()
        waiting = {i: _waiting(each.ref) for i, each in known if each.ref}
        return Statistics(
            observations=self._observations(),
            mailboxes={"supervisor": _waiting(self.actor_ref), **waiting},
            restarts={i: each.restarts for i, each in known},
            memory_held=self._memory.used,
            memory_limit=self._memory.limit,
        )

    def _create(self, message: CreateTask) -> pykka.Future[str]:
        earlier = self._tasks.get(message.task_id or "")
        if earlier is not None:
            secrets = self._stores.secrets
            refuse_other_body(earlier.snapshot.task, message.spec, secrets.decrypt)
            return self._actor_of(earlier).ask(SaveCreated(), block=False)
        spec = self._resolve_conflicts(message.spec)
        limit = self._config.max_task_num
        if len(self._tasks) >= limit:
            # The words are milvus-cdc's: its clients may match on them.
            raise TaskLimitError(f"the task num has reach the limit, {limit}")
        task = Task.create(
            spec,
            secret=self._stores.secrets.encrypt(message.spec.token),
            who=message.who,
            why="asked by a client",
            task_id=uuid.UUID(message.task_id) if message.task_id else None,
        )
        known = self._register(TaskSnapshot(task=task), exists=False)
        return self._start(known).ask(SaveCreated(), block=False)

    def _resolve_conflicts(self, spec: TaskSpec) -> TaskSpec:
        """Return the specification without what other tasks of its target name."""
        return resolve_conflicts(spec, *self._beside(spec))

    def _beside(
        self, spec: TaskSpec, own: _Known | None = None
    ) -> tuple[list[tuple[str, TaskSpec]], list[FullName]]:
        """Return what other tasks have of a target, and the names of theirs there."""
        target = address(spec.target.uri)
        specs: list[tuple[str, TaskSpec]] = []
        names: list[FullName] = []
        for known in self._tasks.values():
            task = known.snapshot.task
            both = [each for each in (task.spec, known.asked_spec) if each is not None]
            same = [each for each in both if address(each.target.uri) == target]
            if known is not own and same:
                specs += [(client_id(task), each) for each in same]
                names += updates.names_of(task)
        return specs, names

    def _update(self, message: UpdateTask) -> pykka.Future[None]:
        unknown = f"not found the task, task_id: {message.task_id}"
        known = self._find(message.task_id, unknown)
        ref = self._actor_of(known)
        if known.asked_spec is not None:
            raise TaskConflictError("the task is just being changed, ask again")
        spec = message.spec
        if updates.may_conflict(message.before, spec):
            others, taken_names = self._beside(spec, known)
            spec = resolve_update(message.before, spec, others, taken_names)
        known.asked_spec = spec
        return ref.ask(replace(message, spec=spec), block=False)

    def _on_loaded(self, snapshot: TaskSnapshot) -> None:
        if self._closed != _READING:
            return
        known = self._register(snapshot)
        self._reservations_of(snapshot.task)
        if snapshot.task.state is TaskState.RUNNING and not snapshot.unreadable:
            self._start(known).tell(Launch())

    def _on_rebuilt(self) -> None:
        if self._closed == _READING:
            self._closed = ""
            _log.info("tasks_rebuilt", tasks=len(self._tasks))

    def _register(self, snapshot: TaskSnapshot, *, exists: bool = True) -> _Known:
        now = time.monotonic()
        known = _Known(snapshot, ProgressMonitor(now, now), exists=exists)
        self._tasks[snapshot.task.task_id] = known
        return known

    def _actor_of(self, known: _Known) -> pykka.ActorRef[TaskActor]:
        """Return the task's actor, which is started if there is none.

        Raises:
            UnavailableError: The task cannot be read, so that nothing can be asked of it.
        """
        if known.snapshot.unreadable:
            raise UnavailableError(
                f"{known.snapshot.unreadable}; then start the service again"
            )
        if known.ref is None:
            self._start(known).tell(Launch())
        assert known.ref is not None  # noqa: S101 - tells mypy
        return known.ref

    def _start(
        self, known: _Known, *, outcome_unknown: bool = False
    ) -> pykka.ActorRef[TaskActor]:
        """Start the task's actor, which waits for its first message."""
        task = known.snapshot.task
        known.ref = TaskActor.start(
            TaskRecord(task, self._stores, outcome_unknown=outcome_unknown),
            self._config.source_config,
            self._reservations_of(task),
            self._memory,
            self._peers,
            self.actor_ref,
        )
        known.started_at = time.monotonic()
        known.restart_at = known.asked_spec = None
        return known.ref

    def _reservations_of(self, task: Task) -> TaskReservations:
        """Return the names that a task has at its target, with all of them taken."""
        reservations = self._reservations.of(
            task.task_id, address(task.spec.target.uri)
        )
        for name in updates.names_of(task):
            reservations.reserve(name)
        return reservations

    def _find(self, task_id: str, unknown: str) -> _Known:
        known = self._tasks.get(task_id)
        if known is None or not known.exists:
            raise UnknownTaskError(unknown)
        return known

    def _on_report(self, snapshot: TaskSnapshot) -> None:
        known = self._tasks.get(snapshot.task.task_id)
        if known is not None and not self._store_lost:
            before, known.snapshot, known.exists = known.snapshot, snapshot, True
            if not (known.status and snapshot.is_as_well_as(before)):
                health = health_of(snapshot)
                known.status = health.status
                status = (health.status, health.problems.count > 0)
                known.monitor.note_status(status, datetime.now(UTC))
            mark = (snapshot.confirmed, snapshot.applied, known.status)
            known.monitor.update(mark, time.monotonic())
            if snapshot.progress and snapshot.progress.tick_lead is not None:
                self._clock.note_tick(snapshot.progress.tick_lead)

    def _on_ended(self, message: TaskEnded | UpdateEnded) -> None:
        if isinstance(message, TaskEnded):
            self._tasks.pop(message.task_id, None)
            self._reservations.release_all(message.task_id)
        elif known := self._tasks.get(message.task_id):
            known.asked_spec = None

    def _check_later(self) -> None:
        backoff.send_after(self.actor_ref, CheckTasks(), CHECK_SECONDS)

    def _check_tasks(self) -> None:
        """Notice task actors that died: Pykka tells nobody of a death."""
        if self._store_lost or self._closed == _STOPPING:
            return
        for task_id, known in self._tasks.items():
            if known.ref and not known.ref.is_alive() and known.restart_at is None:
                self._on_actor_death(task_id, known)
            due = known.restart_at
            if due is not None and due <= time.monotonic():
                # What its last write came to only the log can tell.
                self._start(known, outcome_unknown=True).tell(Launch())
        self._check_later()

    def _on_actor_death(self, task_id: str, known: _Known) -> None:
        if time.monotonic() - known.started_at > HEALTHY_SECONDS:
            known.deaths = 0
        known.deaths += 1
        known.restarts += 1
        wait = backoff.delay(known.deaths)
        known.restart_at = time.monotonic() + wait
        _log.error("task_actor_died", task_id=task_id, deaths=known.deaths)
        error = "the task's actor died; the service's log has why"
        _note_failure(known, error, attempt=known.deaths, wait=wait)

    def _on_store_lost(self, reason: str) -> None:
        """End the tasks' runs, and show the tasks as they were, retrying."""
        self._store_lost = self._closed != _READING
        self._shut_down()
        self._closed = reason
        for known in self._tasks.values():
            if known.ref is not None:
                known.ref.stop(block=False)
            _note_failure(known, reason, attempt=1, wait=CHECK_SECONDS)

    def _shut_down(self) -> list[pykka.Future[Any]]:
        self._closed = _STOPPING
        refs = [known.ref for known in self._tasks.values() if known.ref is not None]
        return [ref.ask(Shutdown(), block=False) for ref in refs if ref.is_alive()]


def _waiting(actor: pykka.ActorRef[Any]) -> int:
    """Return how many messages wait for an actor: its inbox is a ``queue.Queue``."""
    inbox: Any = actor.actor_inbox
    return int(inbox.qsize())


def _seen(known: _Known) -> Observation:
    return Observation.of(known.snapshot, known.monitor)


def _note_failure(known: _Known, error: str, *, attempt: int, wait: float) -> None:
    now = datetime.now(UTC)
    failure = Failure(
        error=error,
        failure_class=FailureClass.TRANSIENT,
        attempt=attempt,
        next_try=now + timedelta(seconds=wait),
        since=now,
    )
    known.snapshot = replace(known.snapshot, unpersisted_failure=failure)
