"""The run that a task has just now, if it has one, and what all its runs have done."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import structlog

from cdc_actors.errors import UnavailableError
from cdc_actors.grpc_common import address
from cdc_actors.pipeline.run import Run
from cdc_actors.pipeline.work import NO_ROWS, both
from cdc_actors.service.peers import peers_of
from cdc_actors.service.snapshot import TaskSnapshot
from cdc_actors.service.state_changes import log_retried
from cdc_actors.tasks.updates import names_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pykka import ActorRef

    from cdc_actors.changes import Checkpoint
    from cdc_actors.config import SourceConfig
    from cdc_actors.errors import CdcError
    from cdc_actors.memory_budget import MemoryBudget
    from cdc_actors.peer import Peer
    from cdc_actors.pipeline.messages import RunProgressed
    from cdc_actors.pipeline.reservations import TaskReservations
    from cdc_actors.pipeline.work import AppliedRows
    from cdc_actors.service.task_record import TaskRecord

_log = structlog.get_logger()


class CurrentRun:
    """Begins and ends the runs of one task, one at a time. Its actor's thread uses it.

    ``number`` is that of the run, or of the last one: reports and timers of earlier runs
    are known by theirs. It is ``at_rest`` if all runs that ended came to their end in time.
    """

    def __init__(
        self,
        record: TaskRecord,
        source: SourceConfig,
        reservations: TaskReservations,
        memory: MemoryBudget,
    ) -> None:
        self.number = 0
        self.at_rest = True
        self._record = record
        self._source = source
        self._reservations = reservations
        self._memory = memory
        self._names_of = record.task.spec
        self._run: Run | None = None
        self._applied_before = NO_ROWS
        self._applied_by_before: Mapping[int, AppliedRows] = {}
        self._confirmed: int | None = None
        self._failures: Counter[str] = Counter()

    def __bool__(self) -> bool:
        """Tell whether there is one."""
        return self._run is not None

    @property
    def peers(self) -> set[Peer]:
        """The servers that no run of the task can do without."""
        return peers_of(self._source, self._record.task.spec.target.uri)

    def begin(self, task: ActorRef[Any]) -> None:
        """Begin a run that reports to ``task``.

        Raises:
            CdcError: A store or the key of the secrets refuses; there is no run then.
        """
        self.number += 1
        self._record.refresh()
        self.renew_names()
        spec = self._record.run_spec(self._source, self._reservations)
        self._run = Run(self.number, task, spec, self._memory)

    def renew_names(self) -> None:
        """Hold the names of the task's collections at the target that it has now."""
        task = self._record.task
        if task.spec != self._names_of:
            target = address(task.spec.target.uri)
            self._reservations = self._reservations.moved(target, names_of(task))
            self._names_of = task.spec

    def end(self) -> list[Checkpoint]:
        """End the run, if there is one; keep, and return, how far the target has come."""
        run, self._run = self._run, None
        if run is not None:
            if run.progress is not None:
                self._confirmed = run.progress.confirmed_by_now()
            ended = run.end()
            self.at_rest = self.at_rest and ended
            self._applied_before += run.applied
            self._applied_by_before = both(self._applied_by_before, run.applied_by)
            try:
                self._record.save(run.checkpoints().values())
                if ended:
                    self._record.save_send_horizons(run.sent())
            except UnavailableError as error:
                _log.warning("checkpoints_not_saved", error=str(error))
        return list(self._record.checkpoints.values())

    def doubt(self) -> None:
        """Know no longer what the target has: channels are set back for the next run."""
        self._confirmed = None

    def abandon(self) -> None:
        """End the run and write nothing: the actor has failed."""
        if self._run is not None:
            self._run.end()

    def numbered(self, number: int) -> Run | None:
        """Return the run of that number, unless it has ended."""
        return self._run if self._run and self._run.number == number else None

    def note(self, progress: RunProgressed) -> None:
        """Keep what the run has reported."""
        if run := self.numbered(progress.run_number):
            before = run.progress.retried if run.progress else {}
            log_retried(self._record.task, before, progress.retried)
            run.note(progress)
            self._confirmed = progress.confirmed

    def count_failure(self, error: CdcError) -> None:
        """Count a run that failed, or that could not begin."""
        self._failures[error.failure_class.value] += 1

    def snapshot(self) -> TaskSnapshot:
        """Return the task as it is now."""
        progress = self._run.progress if self._run else None
        return TaskSnapshot(
            task=self._record.task,
            progress=progress,
            applied=self._applied_before + (progress.applied if progress else NO_ROWS),
            applied_by_before=self._applied_by_before,
            confirmed=self._confirmed,
            unpersisted_failure=self._record.unpersisted_failure,
            failures=dict(self._failures),
        )
