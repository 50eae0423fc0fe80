"""The actor that owns the map of tasks.

Every request of the API is a message to it. What tasks last reported it answers at once;
what a task must do it passes on, and answers with the task's future. It reads and writes
no store itself, so that no task's work and no slow database hold up another's request.
"""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka
import structlog

from cdc_actors.errors import (
    TaskConflictError,
    TaskLimitError,
    UnavailableError,
    UnknownTaskError,
)
from cdc_actors.grpc_common import address
from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.pipeline.owner_start import OwnerStart
from cdc_actors.service import backoff, rebuild
from cdc_actors.service.known_task import KnownTask, waiting
from cdc_actors.service.messages import (
    CheckTasks,
    CreateTask,
    GetStatistics,
    GetTask,
    HandOver,
    Launch,
    Leave,
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
    Task,
    TaskState,
    refuse_other_body,
    resolve_conflicts,
    resolve_update,
    updates,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdc_actors.changes import FullName
    from cdc_actors.config import Config
    from cdc_actors.service.source_clock import SourceClock
    from cdc_actors.service.stores import Stores
    from cdc_actors.tasks import TaskSpec

CHECK_SECONDS = 1.0
"""How often the supervisor looks whether every task's actor is alive."""

HEALTHY_SECONDS = 60.0
"""How long an actor must live before its next death counts as a first one."""

_READING = "the service is reading the event log, try again in a moment"
_STOPPING = "the service is stopping, try again in a moment"
_log = structlog.get_logger()


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
        self._tasks: dict[str, KnownTask] = {}
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
                self._rebuild()
            case TaskLoaded():
                self._on_loaded(message)
            case HandOver():
                return self._hand_over(message)
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

    def _rebuild(self) -> None:
        if self._stores.owners is None:
            rebuild.start(self.actor_ref, self._stores)
        self._check_later()

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
                return self._find(message.task_id, text).seen
            case UpdateTask():
                return self._update(message)
            case _ if isinstance(message, PassedToTask):
                text = f"not found the task, task_id: {message.task_id}"
                known = self._find(message.task_id, text)
                return self._actor_of(known).ask(message, block=False)
            case _:
                raise TypeError(f"the supervisor is asked for {message!r}")

    def _observations(self) -> list[Observation]:
        return [known.seen for known in self._tasks.values() if known.exists]

    def _statistics(self) -> Statistics:
        known = self._tasks.items()
        of_tasks = {i: waiting(each.ref) for i, each in known if each.ref}
        return Statistics(
            observations=self._observations(),
            mailboxes={"supervisor": waiting(self.actor_ref), **of_tasks},
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
        beside, limit = message.beside, self._config.max_task_num
        spec = resolve_conflicts(message.spec, *self._beside(message))
        if (beside.tasks if beside else len(self._tasks)) >= limit:
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
        save = SaveCreated()
        if beside:
            save = SaveCreated(partial(beside.check, room=limit - beside.tasks))
        return self._start(known).ask(save, block=False)

    def _beside(
        self, message: CreateTask | UpdateTask, own: KnownTask | None = None
    ) -> tuple[Sequence[tuple[str, TaskSpec]], Sequence[FullName]]:
        """Return what other tasks have of a target, and the names of theirs there."""
        spec, beside = message.spec, message.beside
        if beside is not None:
            return beside.specs, beside.names
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
        before, spec = message.before, message.spec
        if updates.may_conflict(before, spec):
            spec = resolve_update(before, spec, *self._beside(message, known))
        known.asked_spec = spec
        return ref.ask(replace(message, spec=spec), block=False)

    def _on_loaded(self, message: TaskLoaded) -> None:
        if self._closed not in ("", _READING):
            return
        snapshot = message.snapshot
        if snapshot.task.task_id in self._tasks:
            return
        known = self._register(snapshot)
        known.owner_start = message.owner_start
        if snapshot.task.state is TaskState.RUNNING and not snapshot.unreadable:
            self._start(known).tell(Launch())

    def _on_rebuilt(self) -> None:
        if self._closed == _READING:
            self._closed = ""
            _log.info("tasks_rebuilt", tasks=len(self._tasks))

    def _hand_over(
        self, message: HandOver
    ) -> dict[str, pykka.ActorRef[TaskActor] | None]:
        """Have tasks no more; what is asked of them from now on is another's to answer."""
        taken = {}
        for task_id in message.task_ids:
            known = self._tasks.get(task_id)
            if known is None or not known.exists or known.asked_spec is not None:
                continue
            del self._tasks[task_id]
            taken[task_id] = known.ref
            if known.ref is not None:
                with suppress(pykka.ActorDeadError):
                    known.ref.tell(Leave(message.left))
        return taken

    def _register(self, snapshot: TaskSnapshot, *, exists: bool = True) -> KnownTask:
        now = time.monotonic()
        known = KnownTask(snapshot, ProgressMonitor(now, now), exists=exists)
        self._tasks[snapshot.task.task_id] = known
        return known

    def _actor_of(self, known: KnownTask) -> pykka.ActorRef[TaskActor]:
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
        self, known: KnownTask, *, outcome_unknown: bool = False
    ) -> pykka.ActorRef[TaskActor]:
        """Start the task's actor, which waits for its first message."""
        task = known.snapshot.task
        known.ref = TaskActor.start(
            TaskRecord(
                task,
                self._stores,
                known.owner_start,
                outcome_unknown=outcome_unknown,
            ),
            self._config.source_config,
            self._stores.names.of(task.task_id, address(task.spec.target.uri)),
            self._memory,
            self._peers,
            self.actor_ref,
        )
        known.started_at = time.monotonic()
        known.restart_at = known.asked_spec = None
        return known.ref

    def _find(self, task_id: str, unknown: str) -> KnownTask:
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
                known.owner_start = known.owner_start or OwnerStart()
                self._start(known, outcome_unknown=True).tell(Launch())
        self._check_later()

    def _on_actor_death(self, task_id: str, known: KnownTask) -> None:
        if time.monotonic() - known.started_at > HEALTHY_SECONDS:
            known.deaths = 0
        known.deaths += 1
        known.restarts += 1
        wait = backoff.delay(known.deaths)
        known.restart_at = time.monotonic() + wait
        _log.error("task_actor_died", task_id=task_id, deaths=known.deaths)
        error = "the task's actor died; the service's log has why"
        known.note_failure(error, attempt=known.deaths, wait=wait)

    def _on_store_lost(self, reason: str) -> None:
        """End the tasks' runs, and show the tasks as they were, retrying."""
        self._store_lost = self._closed != _READING
        self._shut_down()
        self._closed = reason
        for known in self._tasks.values():
            if known.ref is not None:
                known.ref.stop(block=False)
            known.note_failure(reason, attempt=1, wait=CHECK_SECONDS)

    def _shut_down(self) -> list[pykka.Future[Any]]:
        self._closed = _STOPPING
        refs = [known.ref for known in self._tasks.values() if known.ref is not None]
        return [ref.ask(Shutdown(), block=False) for ref in refs if ref.is_alive()]
