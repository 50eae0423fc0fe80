"""The actor of one task: writes down what happens to it, and runs it.

It writes the event first and acts second. Its mailbox carries control and small progress
messages only, so that a pause is answered at once whatever the load.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

from cdc_actors.errors import (
    CdcError,
    TaskConflictError,
    UnavailableError,
    UnknownTaskError,
)
from cdc_actors.pipeline.messages import FilesReported, RunFailed, RunProgressed
from cdc_actors.pooled_actor import PooledActor
from cdc_actors.service import backoff, commands
from cdc_actors.service.current_run import CurrentRun
from cdc_actors.service.messages import (
    DeleteTask,
    Launch,
    Leave,
    PauseTask,
    PeerReturned,
    ReadSelected,
    ResumeTask,
    ResyncCollections,
    RetryCollections,
    RetryRun,
    SaveCreated,
    Shutdown,
    TaskEnded,
    TaskReported,
    UpdateEnded,
    UpdateTask,
)
from cdc_actors.service.run_records import PassedOver, write_down
from cdc_actors.service.state_changes import log_failed
from cdc_actors.service.take_ups import TakeUps
from cdc_actors.tasks import SUPERVISOR, TaskState, resyncs, updates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pykka

    from cdc_actors.changes import Checkpoint, FullName
    from cdc_actors.config import SourceConfig
    from cdc_actors.memory_budget import MemoryBudget
    from cdc_actors.pipeline.reservations import TaskReservations
    from cdc_actors.service.peers import PeerWatch
    from cdc_actors.service.task_record import TaskRecord
    from cdc_actors.tasks import Task, Who

PAUSED_BY_CLIENT = "manually pause through http interface"
SETTLED_SECONDS = 3.0
"""How long a run must last after a failure before the task counts as recovered."""

HEALTHY_SECONDS = 60.0
"""How long a run must last before the next failure counts as a first one."""

CREATED_SECONDS = 1.0
"""How long to wait before the log is asked again whether a new task is in it."""

_NOTIFICATIONS = (
    *(Launch, RetryRun, ReadSelected, PeerReturned, Leave),
    *(RunProgressed, RunFailed, FilesReported),
)
_log = structlog.get_logger()


class TaskActor(PooledActor):
    """One task. Owns the aggregate, its run, and the way back after a failure."""

    def __init__(
        self,
        record: TaskRecord,
        source: SourceConfig,
        reservations: TaskReservations,
        memory: MemoryBudget,
        peers: PeerWatch,
        supervisor: pykka.ActorRef[Any],
    ) -> None:
        super().__init__()
        self._record = record
        self._id = record.task.task_id
        self._supervisor = supervisor
        self._run = CurrentRun(record, source, reservations, memory)
        self._retries = backoff.Retries()
        self._peers = peers
        self._take_ups = TakeUps()
        self._passed_over = PassedOver()

    def on_receive(self, message: Any) -> str | None:
        """Do what a message says. Runs in one thread at a time.

        What is asked answers with its error; what is told must not end the actor.
        """
        match message:
            case SaveCreated():
                return self._save_created(message)
            case PauseTask():
                self._pause(message.who)
            case ResumeTask():
                self._resume(message.who)
            case RetryCollections() | ResyncCollections():
                self._take_anew(message)
            case UpdateTask():
                self._update(message)
            case DeleteTask():
                self._delete(message.who)
            case Shutdown():
                self._end_run()
            case _ if isinstance(message, _NOTIFICATIONS):
                self._on_notification(message)
            case _:
                write_down(message, self._record, self._run)
                if selected := self._passed_over.note(message, self._run):
                    self.actor_ref.tell(ReadSelected(selected))
                self._report()
        return None

    def on_start(self) -> None:
        """Have every log line of this actor, and of its runs, say the task's id."""
        structlog.contextvars.bind_contextvars(task_id=self._id)

    def on_failure(self, *_error: object) -> None:
        """End what still runs: the supervisor brings the task back with a new run."""
        self._peers.forget(self.actor_ref)
        self._run.abandon()

    def _on_notification(self, message: Any) -> None:
        try:
            match message:
                case Launch():
                    self._launch()
                case RunProgressed():
                    self._on_progress(message)
                case RunFailed():
                    self._on_run_failed(message)
                case RetryRun(run_number):
                    self._retry_run(run_number)
                case PeerReturned(run_number):
                    self._on_peer_returned(run_number)
                case FilesReported():
                    self._follow_files(message)
                case Leave():
                    self._end_run()
                    message.left.put((self._id, self._run.at_rest))
                    self.stop()
                case ReadSelected(names):
                    self._retry_by_itself(names, "an update selected it")
        except CdcError as error:
            _log.warning("event_log_error", error=str(error))

    # What clients ask.

    def _save_created(self, message: SaveCreated) -> str:
        """Begin the task's life. Asked again, only answer."""
        begins = not self._record.exists
        try:
            self._record.save_created(message.check)
        except UnavailableError:
            # Where only writes fail, the log tells at once that there is no task.
            with suppress(UnknownTaskError):
                self._launch()
            if not self._record.exists:
                raise
        except CdcError:
            self._leave()
            raise
        else:
            if begins:
                self._launch()
        return self._id

    def _launch(self) -> None:
        """Run if the log says so; a log that does not answer is asked again."""
        try:
            self._refresh()
        except UnavailableError as error:
            if self._record.exists:
                self._retry_or_pause(error)
            else:
                backoff.send_after(self.actor_ref, Launch(), CREATED_SECONDS)
            return
        self._report()
        if not self._run and self._record.task.state is TaskState.RUNNING:
            self._begin_run()

    def _pause(self, who: Who) -> None:
        self._refresh()
        if self._record.task.state is TaskState.PAUSED:
            raise TaskConflictError(f"the task has paused, task_id: {self._id}")
        checkpoints = self._end_run()
        try:
            self._execute(
                lambda task: task.pause(
                    PAUSED_BY_CLIENT, checkpoints, who=who, why="asked by a client"
                )
            )
        except CdcError:
            self._begin_run()
            raise

    def _resume(self, who: Who) -> None:
        """Go on, with what was set aside, too, as far as it can be taken up again."""
        at = self._record.load_checkpoints()
        self._run.doubt()
        self._execute(lambda task: commands.resume(who)(task, at))
        self._retries.reset()
        self._begin_run()

    def _take_anew(self, message: RetryCollections | ResyncCollections) -> None:
        self._refresh()
        if isinstance(message, ResyncCollections):
            self._resync(message)
        else:
            self._record.task.retriable(message.collections)
            self._replay(commands.retry(message))

    def _resync(self, message: ResyncCollections) -> None:
        resyncs.chosen(self._record.task, message.collections)
        self._retries.reset()
        self._replay(commands.resync(message))

    def _follow_files(self, report: FilesReported) -> None:
        """The next run reads on from where files end, or brings what they have."""
        command = commands.follow_files(report, self._record.task)
        if command and self._run.numbered(report.run_number):
            self._replay(command)

    def _replay(self, command: Callable[[Task, list[Checkpoint]], None]) -> None:
        """Have the next run set channels back: to a running task it is like a pause."""
        self._run.end()
        self._run.doubt()
        try:
            at = self._record.load_checkpoints()
            self._execute(lambda task: command(task, at))
        finally:
            self._launch()

    def _update(self, message: UpdateTask) -> None:
        """Change what the task is to do, and have it begin again if it is to run."""
        try:
            self._refresh()
            updates.refuse(self._record.task, message.before, message.spec)
            self._end_run()
            try:
                self._record.update(message)
            finally:
                self._retries.reset()
                self._run.renew_names()
                self._launch()
        finally:
            self._supervisor.tell(UpdateEnded(self._id))

    def _delete(self, who: Who) -> None:
        checkpoints = self._end_run()
        try:
            self._execute(
                lambda task: task.delete(
                    "deleted by a client", checkpoints, who=who, why="asked by a client"
                )
            )
        except CdcError:
            self._launch()
            raise
        self._record.release_marks(self._record.task.collections.values())
        self._terminate()

    def _refresh(self) -> None:
        """Act on an unanswered write that turns out to have been done after all."""
        try:
            self._record.refresh()
        except UnknownTaskError:
            self._terminate()
            raise
        if self._record.task.state is TaskState.PAUSED:
            self._end_run()

    def _terminate(self) -> None:
        self._end_run()
        self._leave()
        self._record.clear()

    def _leave(self) -> None:
        self._supervisor.tell(TaskEnded(self._id))
        self.stop()

    # What the run reports.

    def _on_progress(self, message: RunProgressed) -> None:
        run = self._run.numbered(message.run_number)
        if run is None:
            return
        self._run.note(message)
        if self._record.task.failure and run.age > SETTLED_SECONDS:
            self._execute(
                lambda task: task.recover(who=SUPERVISOR, why="it makes progress again")
            )
        if run.age > HEALTHY_SECONDS:
            self._retries.reset()
        self._record.save_throttled(message.checkpoints.values(), message.applied)
        self._report()
        self._take_up()

    def _take_up(self) -> None:
        """Take up what was set aside for a reason that may have passed."""
        entries = self._record.task.collections.values()
        if names := self._take_ups.due(entries, time.monotonic()):
            self._retry_by_itself(names, "its reason may have passed")

    def _retry_by_itself(self, names: Iterable[FullName], why: str) -> None:
        self._take_anew(RetryCollections(self._id, tuple(names), SUPERVISOR, why))

    def _on_run_failed(self, message: RunFailed) -> None:
        if self._run.numbered(message.run_number):
            self._end_run()
            self._retry_or_pause(message.error)

    def _retry_or_pause(self, error: CdcError) -> None:
        """Try again later, or wait for the operator, as the error's class says."""
        log_failed(error)
        self._run.count_failure(error)
        if self._retries.failed(error):
            self._retry_later(error)
        else:
            self._pause_on_error(error)

    def _retry_later(self, error: CdcError) -> None:
        wait = self._retries.delay()
        self._try_to_persist(error, wait, lambda: self._record.fail(error, wait))
        number = self._run.number
        backoff.send_after(self.actor_ref, RetryRun(number), wait)
        self._peers.watch(self.actor_ref, PeerReturned(number), self._run.peers)

    def _pause_on_error(self, error: CdcError) -> None:
        """Wait for the operator; a failure that cannot be written down is tried again."""
        wait = self._retries.delay()
        if not self._try_to_persist(error, wait, lambda: self._record.give_up(error)):
            backoff.send_after(self.actor_ref, RetryRun(self._run.number), wait)

    def _on_peer_returned(self, run_number: int) -> None:
        if run_number == self._run.number and not self._run:
            _log.info("peer_returned")
            self._retries.peer_returned()
            self._retry_run(run_number)

    def _retry_run(self, run_number: int) -> None:
        if run_number == self._run.number:
            self._launch()

    # The run.

    def _begin_run(self) -> None:
        self._peers.forget(self.actor_ref)
        try:
            self._run.begin(self.actor_ref)
        except CdcError as error:
            self._retry_or_pause(error)
        self._report()

    def _end_run(self) -> list[Checkpoint]:
        """End the run, or the waiting for the next one; return how far the target is."""
        self._peers.forget(self.actor_ref)
        return self._run.end()

    # Writing down.

    def _execute(self, command: Callable[[Task], None]) -> None:
        self._record.execute(command)
        self._report()

    def _try_to_persist(
        self, error: CdcError, wait: float, write: Callable[[], None]
    ) -> bool:
        """Write if the log lets us; the task's health says the error either way."""
        try:
            write()
        except CdcError as failed:
            _log.error("failure_not_persisted", error=str(failed))
            self._record.store_failed(error, wait)
            return False
        finally:
            self._report()
        return True

    def _report(self) -> None:
        """Tell the supervisor how the task is, once it is known to exist."""
        if self._record.exists:
            self._supervisor.tell(TaskReported(self._run.snapshot()))
