"""The actor that owns the map of tasks.

Every request of the API is a message to it. It answers what it knows at once, from the
views that tasks send it; what a task must do it passes on, and answers with the task's
future, so that no task's work ever holds up another's request.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pykka
import structlog

from cdc_actors.errors import (
    CdcError,
    FailureClass,
    OperatorError,
    TaskLimitError,
    UnavailableError,
    UnknownTaskError,
)
from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.pipeline.reservations import NameReservations
from cdc_actors.service import backoff
from cdc_actors.service.health import ProgressMonitor, with_health
from cdc_actors.service.messages import (
    CheckTasks,
    CreateTask,
    DeleteTask,
    GetTask,
    Launch,
    ListTasks,
    PauseTask,
    Rebuild,
    RebuildSome,
    ResumeTask,
    Shutdown,
    TaskEnded,
    ViewChanged,
)
from cdc_actors.service.projection import view_of
from cdc_actors.service.task_actor import TaskActor
from cdc_actors.service.views import Health
from cdc_actors.target.connection import address
from cdc_actors.tasks import (
    SUPERVISOR,
    CollectionState,
    Task,
    TaskState,
    resolve_conflicts,
)

if TYPE_CHECKING:
    from cdc_actors.config import Config
    from cdc_actors.pipeline.reservations import TaskReservations
    from cdc_actors.service.task_record import Stores
    from cdc_actors.service.views import TaskView
    from cdc_actors.tasks import TaskSpec

LOOK_SECONDS = 1.0
"""How often the supervisor looks whether every task's actor is alive."""

REBUILT_AT_ONCE = 50
"""How many tasks are read from the log at the start before requests are heard again."""

_log = structlog.get_logger()


@dataclass(slots=True)
class _Known:
    """A task as the supervisor knows it. Times are in seconds since 1970.

    ``ref`` is None for a task that was paused when the service started and of which
    nothing has been asked since: it needs no thread. ``restart_at`` is when a dead task
    is to be started again, None for a living one.
    """

    ref: pykka.ActorRef[TaskActor] | None
    view: TaskView
    monitor: ProgressMonitor
    confirmed: float | None = None
    restart_at: float | None = None


class Supervisor(pykka.ThreadingActor):
    """Creates tasks, brings them back, and speaks for them."""

    use_daemon_thread = True

    def __init__(self, config: Config, stores: Stores) -> None:
        super().__init__()
        self._config = config
        self._stores = stores
        self._memory = MemoryBudget(config.max_memory_bytes)
        self._tasks: dict[str, _Known] = {}
        self._names = NameReservations()
        self._rebuilt = False
        self._attempts = 0
        self._deaths: Counter[str] = Counter()
        self._stopping = False

    def on_receive(self, message: Any) -> Any:
        """Answer a request, or hear of a task. Runs in the actor's own thread."""
        match message:
            case ViewChanged():
                self._view_changed(message)
            case TaskEnded():
                self._tasks.pop(message.task_id, None)
                self._names.free_all(message.task_id)
            case Rebuild() | RebuildSome():
                self._rebuild(message)
            case CheckTasks():
                self._check_tasks()
            case Shutdown():
                return self._shut_down()
            case _:
                return self._request(message)
        return None

    def _request(self, message: Any) -> Any:
        if not self._rebuilt or self._stopping:
            why = "stopping" if self._stopping else "reading the event log"
            raise UnavailableError(f"the service is {why}, try again in a moment")
        match message:
            case CreateTask():
                return self._create(message)
            case ListTasks():
                return [self._view_now(known) for known in self._tasks.values()]
            case GetTask():
                text = f"not found: [{message.task_id}]"
                return self._view_now(self._find(message.task_id, text))
            case PauseTask() | ResumeTask() | DeleteTask():
                text = f"not found the task, task_id: {message.task_id}"
                known = self._find(message.task_id, text)
                ref = known.ref or self._activate(message.task_id)
                return ref.ask(message, block=False)

    def _create(self, message: CreateTask) -> str:
        if message.task_id in self._tasks:
            return str(message.task_id)
        spec = self._resolve_conflicts(message.spec)
        limit = self._config.max_task_num
        if len(self._tasks) >= limit:
            raise TaskLimitError(f"the task num has reach the limit, {limit}")
        task = Task.create(
            spec,
            secret=self._stores.secrets.encrypt(message.spec.token),
            who=message.who,
            why="asked by a client",
            task_id=uuid.UUID(message.task_id) if message.task_id else None,
        )
        self._stores.log.save(task)
        self._start(task)
        return task.task_id

    def _resolve_conflicts(self, spec: TaskSpec) -> TaskSpec:
        """Return the specification without what other tasks of its target name."""
        views = [known.view for known in self._tasks.values()]
        there = address(spec.target.uri)
        beside = [view for view in views if address(view.spec.target.uri) == there]
        names = [each.target for view in beside for each in view.collections]
        return resolve_conflicts(spec, [view.spec for view in beside], names)

    def _activate(self, task_id: str) -> pykka.ActorRef[TaskActor]:
        return self._start(self._stores.log.load(task_id))

    def _start(self, task: Task) -> pykka.ActorRef[TaskActor]:
        source = self._config.source_config
        names = self._names_of(task)
        ref = TaskActor.start(
            task, self._stores, source, names, self._memory, self.actor_ref
        )
        self._register(task, ref)
        ref.tell(Launch())
        return ref

    def _names_of(self, task: Task) -> TaskReservations:
        """Return the names that a task has at its target, with all of them taken."""
        names = self._names.of(task.task_id, address(task.spec.target.uri))
        for entry in task.collections.values():
            if entry.schema and entry.state is not CollectionState.DROPPED:
                names.take(task.spec.target_name(entry.database, entry.name))
        return names

    def _register(self, task: Task, ref: pykka.ActorRef[TaskActor] | None) -> None:
        view = view_of(task, progress=None, rows=0, unpersisted_failure=None)
        now = time.time()
        self._tasks[task.task_id] = _Known(ref, view, ProgressMonitor(now, now))

    def _find(self, task_id: str, unknown: str) -> _Known:
        if task_id not in self._tasks:
            raise UnknownTaskError(unknown)
        return self._tasks[task_id]

    def _view_now(self, known: _Known) -> TaskView:
        """Return the view with the lag and the health of this moment."""
        return with_health(known.view, known.confirmed, known.monitor, time.time())

    def _view_changed(self, message: ViewChanged) -> None:
        known = self._tasks.get(message.view.task_id)
        if known is not None:
            known.view, known.confirmed = message.view, message.confirmed
            view = message.view
            mark = (message.confirmed, view.rows_applied, view.health.status)
            known.monitor.update(mark, time.time())

    def _rebuild(self, message: Rebuild | RebuildSome) -> None:
        """Start a few tasks of the log, then hear what was asked, then go on.

        A log that does not answer is asked again.
        """
        try:
            if isinstance(message, Rebuild):
                message = RebuildSome(tuple(self._stores.log.alive_ids()))
            few = message.task_ids[:REBUILT_AT_ONCE]
            tasks = [self._loaded(task_id) for task_id in few]
        except CdcError as error:
            self._attempts += 1
            _log.error("event_log_error", error=str(error))
            wait = backoff.delay(self._attempts)
            backoff.send_after(self.actor_ref, message, wait)
            return
        for task in tasks:
            if task.state is TaskState.PAUSED:
                self._names_of(task)
                self._register(task, None)
            else:
                self._start(task)
        if rest := message.task_ids[REBUILT_AT_ONCE:]:
            self.actor_ref.tell(RebuildSome(rest))
            return
        self._rebuilt = True
        _log.info("tasks_rebuilt", tasks=len(self._tasks))
        backoff.send_after(self.actor_ref, CheckTasks(), LOOK_SECONDS)

    def _loaded(self, task_id: str) -> Task:
        """Return a task of the log, its secret encrypted with the newest key."""
        task, secrets = self._stores.log.load(task_id), self._stores.secrets
        # Where no key fits, the task says so as soon as it needs the secret.
        with suppress(OperatorError):
            if secrets.is_outdated(task.secret):
                secret = secrets.encrypt(secrets.decrypt(task.secret))
                task.rekey(secret, who=SUPERVISOR, why="there is a newer key")
                self._stores.log.save(task)
        return task

    def _check_tasks(self) -> None:
        """Notice task actors that died: Pykka tells nobody of a death."""
        for task_id, known in self._tasks.items():
            if known.ref and not known.ref.is_alive() and known.restart_at is None:
                self._on_actor_death(task_id, known)
        for task_id, known in list(self._tasks.items()):
            due = known.restart_at
            if due is not None and due <= time.time() and not self._stopping:
                self._restart(task_id, known)
        backoff.send_after(self.actor_ref, CheckTasks(), LOOK_SECONDS)

    def _on_actor_death(self, task_id: str, known: _Known) -> None:
        self._deaths[task_id] += 1
        wait = backoff.delay(self._deaths[task_id])
        known.restart_at = time.time() + wait
        _log.error("task_actor_died", task_id=task_id, deaths=self._deaths[task_id])
        now = datetime.now(UTC)
        health = Health(
            status="retrying",
            since=now,
            error="the task's actor died; the service's log has why",
            failure_class=FailureClass.TRANSIENT.value,
            attempt=self._deaths[task_id],
            next_try=now + timedelta(seconds=wait),
        )
        known.view = replace(known.view, health=health)

    def _restart(self, task_id: str, known: _Known) -> None:
        try:
            self._start(self._stores.log.load(task_id))
        except CdcError as error:
            known.restart_at = time.time() + backoff.LONGEST_DELAY
            _log.error("task_restart_failed", task_id=task_id, error=str(error))

    def _shut_down(self) -> list[pykka.Future[Any]]:
        self._stopping = True
        refs = [known.ref for known in self._tasks.values() if known.ref is not None]
        return [ref.ask(Shutdown(), block=False) for ref in refs if ref.is_alive()]
