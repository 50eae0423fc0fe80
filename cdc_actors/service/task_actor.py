"""The actor of one task: writes down what happens to it, and runs its stream.

It writes the event first and acts second. Its mailbox carries control and small progress
messages only, so that a pause is answered at once whatever the load.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pykka
import structlog

from cdc_actors.changes import seconds
from cdc_actors.errors import (
    CdcError,
    FailureClass,
    TaskConflictError,
    UnavailableError,
    UnknownTaskError,
)
from cdc_actors.pipeline.messages import (
    AdvanceSendHorizons,
    RecordCollectionSetAside,
    RecordOperationApplied,
    RecordOperationStarted,
    RecordStarts,
    RunFailed,
    RunProgressed,
)
from cdc_actors.pipeline.run import Run
from cdc_actors.pipeline.run_spec import RunSpec
from cdc_actors.service import backoff
from cdc_actors.service.messages import (
    DeleteTask,
    Launch,
    PauseTask,
    ResumeTask,
    RetryRun,
    Shutdown,
    TaskEnded,
    ViewChanged,
)
from cdc_actors.service.projection import view_of
from cdc_actors.service.task_record import Stores, TaskRecord
from cdc_actors.tasks import TaskState, Who

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.changes import Checkpoint
    from cdc_actors.config import SourceConfig
    from cdc_actors.memory_budget import MemoryBudget
    from cdc_actors.pipeline.reservations import TaskReservations
    from cdc_actors.tasks import Task

PAUSED_BY_CLIENT = "manually pause through http interface"
SETTLED_SECONDS = 3.0
"""How long a stream must run after a failure before the task counts as recovered."""

HEALTHY_SECONDS = 60.0
"""How long a stream must run before the next failure counts as a first one."""

_SERVICE = Who(kind="supervisor")
_log = structlog.get_logger()


class TaskActor(pykka.ThreadingActor):
    """One task. Owns the aggregate, its run, and the way back after a failure."""

    use_daemon_thread = True

    def __init__(
        self,
        task: Task,
        stores: Stores,
        source: SourceConfig,
        names: TaskReservations,
        memory: MemoryBudget,
        supervisor: pykka.ActorRef[Any],
    ) -> None:
        super().__init__()
        self._stored = TaskRecord(task, stores)
        self._id = task.task_id
        self._source = source
        self._names = names
        self._memory = memory
        self._supervisor = supervisor
        self._number = 0
        self._run: Run | None = None
        self._retries = backoff.Retries()
        self._rows_before = 0
        self._confirmed: int | None = None

    def on_receive(self, message: Any) -> None:
        """Do what a message says. Runs in the actor's own thread.

        What is asked answers with its error; what is told must not end the actor.
        """
        match message:
            case PauseTask():
                self._pause(message.who)
            case ResumeTask():
                self._resume(message.who)
            case DeleteTask():
                self._delete(message.who)
            case RecordOperationStarted():
                self._start_operation(message)
            case RecordOperationApplied():
                self._apply_operation(message)
            case RecordCollectionSetAside():
                self._set_aside(message)
            case RecordStarts():
                self._reading_begins(message)
            case AdvanceSendHorizons():
                self._advance_send_horizons(message)
            case Shutdown():
                self._end_run()
            case _:
                self._hear(message)

    def on_failure(self, *_error: object) -> None:
        """End what still runs: the supervisor brings the task back with a new run."""
        if self._run is not None:
            self._run.end()

    def _hear(self, message: Any) -> None:
        try:
            match message:
                case Launch():
                    self._launch()
                case RunProgressed():
                    self._progressed(message)
                case RunFailed():
                    self._stream_failed(message)
                case RetryRun():
                    self._try_again(message)
        except CdcError as error:
            _log.warning("event log", task_id=self._id, error=str(error))

    # What clients ask.

    def _launch(self) -> None:
        self._show()
        if self._stored.task.state is TaskState.RUNNING:
            self._begin_run()

    def _pause(self, who: Who) -> None:
        self._refresh()
        if self._stored.task.state is TaskState.PAUSED:
            raise TaskConflictError(f"the task has paused, task_id: {self._id}")
        checkpoints = self._end_run()
        try:
            self._record(
                lambda task: task.pause(
                    PAUSED_BY_CLIENT, checkpoints, who=who, why="asked by a client"
                )
            )
        except CdcError:
            self._begin_run()
            raise

    def _resume(self, who: Who) -> None:
        self._record(lambda task: task.resume(who=who, why="asked by a client"))
        self._retries.reset()
        self._begin_run()

    def _delete(self, who: Who) -> None:
        checkpoints = self._end_run()
        try:
            self._record(
                lambda task: task.delete(
                    "deleted by a client", checkpoints, who=who, why="asked by a client"
                )
            )
        except CdcError:
            self._launch()
            raise
        self._vanish()

    def _refresh(self) -> None:
        """Act on an unanswered write that turns out to have been done after all."""
        try:
            self._stored.refresh()
        except UnknownTaskError:
            self._vanish()
            raise
        if self._stored.task.state is TaskState.PAUSED:
            self._end_run()

    def _vanish(self) -> None:
        self._end_run()
        self._supervisor.tell(TaskEnded(self._id))
        self._stored.clear()
        self.stop()

    # What the stream reports.

    def _start_operation(self, message: RecordOperationStarted) -> None:
        self._record(
            lambda task: task.start_operation(
                message.operation, who=_SERVICE, why="the source did it"
            )
        )

    def _apply_operation(self, message: RecordOperationApplied) -> None:
        self._record(
            lambda task: task.apply_operation(
                message.operation, who=_SERVICE, why="the source did it"
            )
        )

    def _set_aside(self, message: RecordCollectionSetAside) -> None:
        self._record(
            lambda task: task.set_aside(
                message.entry,
                str(message.error),
                message.error.failure_class,
                who=_SERVICE,
                why="it cannot be replicated",
            )
        )

    def _reading_begins(self, message: RecordStarts) -> None:
        if self._current(message.run_number):
            self._stored.save(message.starts.values())
            starts = list(message.starts.values())
            self._record(lambda task: task.start(starts, who=_SERVICE, why=message.why))

    def _advance_send_horizons(self, message: AdvanceSendHorizons) -> None:
        if self._current(message.run_number):
            self._stored.save_send_horizons(message.horizons)

    def _progressed(self, message: RunProgressed) -> None:
        run = self._current(message.run_number)
        if run is None:
            return
        run.progress = message
        if self._stored.task.failure and run.age > SETTLED_SECONDS:
            self._record(lambda task: task.recover(who=_SERVICE, why="it moves again"))
        if run.age > HEALTHY_SECONDS:
            self._retries.reset()
        self._confirmed = message.confirmed
        self._stored.save_now_and_then(message.checkpoints.values())
        self._show()

    def _stream_failed(self, message: RunFailed) -> None:
        if self._current(message.run_number):
            self._end_run()
            self._failed(message.error)

    def _failed(self, error: CdcError) -> None:
        """Try again later, or wait for the operator, as the error's class says."""
        _log.warning(
            "stream failed",
            task_id=self._id,
            error=str(error),
            failure_class=error.failure_class.value,
            exc_info=error.__cause__ if _is_unexpected(error) else None,
        )
        if self._retries.failed(error):
            self._retry_later(error)
        else:
            self._stand_still(error)

    def _retry_later(self, error: CdcError) -> None:
        wait = self._retries.delay()
        next_try = datetime.now(UTC) + timedelta(seconds=wait)
        self._try_to_record(
            error,
            wait,
            lambda task: task.fail(
                str(error),
                FailureClass.TRANSIENT,
                next_try=next_try,
                who=_SERVICE,
                why="the stream failed",
            ),
        )
        backoff.tell_later(self.actor_ref, RetryRun(self._number), wait)

    def _stand_still(self, error: CdcError) -> None:
        """Wait for the operator; a failure that cannot be written down is tried again."""
        checkpoints = list(self._stored.checkpoints.values())

        def fail_and_pause(task: Task) -> None:
            task.fail(
                str(error),
                error.failure_class,
                next_try=None,
                who=_SERVICE,
                why="the stream failed",
            )
            task.pause(
                str(error), checkpoints, who=_SERVICE, why="waiting does not help"
            )

        wait = self._retries.delay()
        if not self._try_to_record(error, wait, fail_and_pause):
            backoff.tell_later(self.actor_ref, RetryRun(self._number), wait)

    def _try_again(self, message: RetryRun) -> None:
        try:
            self._refresh()
        except UnavailableError as error:
            self._failed(error)
            return
        running = self._stored.task.state is TaskState.RUNNING
        if message.run_number == self._number and self._run is None and running:
            self._begin_run()

    # The run.

    def _begin_run(self) -> None:
        self._number += 1
        try:
            self._run = Run(
                self._number, self.actor_ref, self._run_spec(), self._memory
            )
        except CdcError as error:
            self._failed(error)
        self._show()

    def _run_spec(self) -> RunSpec:
        stored = self._stored
        stored.refresh()
        stored.load()
        return RunSpec(
            source=self._source,
            spec=stored.task.spec,
            token=stored.token(),
            names=self._names,
            databases=stored.task.databases,
            entries=tuple(stored.task.collections.values()),
            aliases=stored.task.aliases,
            access=stored.task.access,
            passwords=stored.task.passwords,
            checkpoints=dict(stored.checkpoints),
            send_horizons=stored.load_send_horizons(),
        )

    def _end_run(self) -> list[Checkpoint]:
        """End the run, if there is one; keep, and return, how far the target has come."""
        run, self._run = self._run, None
        if run is not None:
            ended = run.end()
            self._rows_before += run.rows
            try:
                self._stored.save(run.checkpoints().values())
                if ended:
                    self._stored.save_send_horizons(run.sent())
            except UnavailableError as error:
                _log.warning(
                    "checkpoints not saved", task_id=self._id, error=str(error)
                )
        return list(self._stored.checkpoints.values())

    def _current(self, number: int) -> Run | None:
        """Return the run of that number, unless it has ended."""
        return self._run if self._run and self._run.number == number else None

    # Writing down.

    def _record(self, command: Callable[[Task], None]) -> None:
        self._stored.record(command)
        self._show()

    def _try_to_record(
        self, error: CdcError, wait: float, command: Callable[[Task], None]
    ) -> bool:
        """Record if the log lets us; the task's health says the error either way."""
        try:
            self._record(command)
        except CdcError as unrecorded:
            _log.error("failure not recorded", error=str(unrecorded))
            self._stored.miss(error, wait)
            self._show()
            return False
        return True

    def _show(self) -> None:
        progress = self._run.progress if self._run else None
        view = view_of(
            self._stored.task,
            progress=progress,
            rows=self._rows_before + (progress.rows if progress else 0),
            unrecorded=self._stored.unrecorded,
        )
        at = seconds(self._confirmed) if self._confirmed else None
        self._supervisor.tell(ViewChanged(view, at))


def _is_unexpected(error: CdcError) -> bool:
    return error.__cause__ is not None and str(error).startswith("unexpected ")
