"""What is written down of one task: its events, its checkpoints, its send horizons."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

import structlog
from msgspec.structs import replace as replace_struct

from cdc_actors.errors import CdcError, FailureClass, UnavailableError
from cdc_actors.pipeline.claims import Claimant
from cdc_actors.pipeline.run_spec import RunSpec
from cdc_actors.pipeline.work import NO_ROWS
from cdc_actors.service.mark_release import release_marks
from cdc_actors.service.state_changes import log_changes
from cdc_actors.store.comparisons import ComparisonRows
from cdc_actors.tasks import SUPERVISOR, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cdc_actors.changes import Checkpoint
    from cdc_actors.config import SourceConfig
    from cdc_actors.marks import Mark
    from cdc_actors.pipeline.owner_start import OwnerStart
    from cdc_actors.pipeline.reservations import TaskReservations
    from cdc_actors.pipeline.work import AppliedRows
    from cdc_actors.service.messages import UpdateTask
    from cdc_actors.service.stores import Stores
    from cdc_actors.tasks import CollectionEntry, Task, TaskSpec

MAX_FAILURE_KINDS = 10
"""How many different failures of one outage the log is told of, at most."""

SAVE_SECONDS = 1.0
"""How often checkpoints are saved, at most; a pause and a stop save them, too."""

IDLE_SAVE_SECONDS = 15.0
"""The same while no rows are applied."""

_log = structlog.get_logger()


class TaskRecord:
    """One task as the stores have it. Its actor's thread alone uses it.

    ``exists`` is False until a new task is known to be in the event log.
    ``unpersisted_failure`` is one newer than the log's: the stores did not take it, or the
    log has one of its kind already. None once anything newer is in the log.

    Methods raise ``UnavailableError`` when a store does not answer.
    """

    def __init__(
        self,
        task: Task,
        stores: Stores,
        owner_start: OwnerStart | None = None,
        *,
        outcome_unknown: bool = False,
    ) -> None:
        """``outcome_unknown`` says that the log may have events that ``task`` lacks.

        ``owner_start`` is None for a task that is created here.
        """
        self.task = task
        self.checkpoints: dict[str, Checkpoint] = {}
        self._id = task.task_id
        self._stores = stores
        self.unpersisted_failure: Failure | None = None
        self.exists = not task.pending_events
        self._owner_start = owner_start
        self._outcome_unknown = outcome_unknown
        self._outage: set[str] = set()
        self._store_fails = False
        self._saved_at = 0.0
        self._saved_rows = NO_ROWS

    def refresh(self) -> None:
        """Find out what became of a write that was not answered, if there was one.

        Raises:
            UnknownTaskError: It was the deletion, and it was done, or the creation, and it
                was not.
        """
        if self._outcome_unknown:
            loaded = self._stores.log.load(self._id)
            log_changes(self.task, loaded, loaded.collections)
            self.task = loaded
            self._outcome_unknown = False
            self.exists = True

    def save_created(self, check: Callable[[Any], None] | None = None) -> None:
        """Write down that the task is there, unless that is done.

        ``check`` is as for ``TaskLog.save``.

        Raises:
            TaskConflictError: The id was used before.
            UnknownTaskError: An earlier try has failed after all.
        """
        self.refresh()
        if self.task.pending_events:
            self._outcome_unknown = True
            self._stores.log.save(self.task, check)
            self._outcome_unknown = False
            self.exists = True

    def execute(
        self,
        command: Callable[[Task], None],
        check: Callable[[Any], None] | None = None,
    ) -> None:
        """Run a command of the aggregate and make its events true.

        ``check`` is as for ``TaskLog.save``. ``task`` changes only once they are true:
        nobody is ever shown what may not be so.
        """
        self.refresh()
        draft = self.task.draft()
        command(draft)
        touched = _touched(draft.pending_events, draft)
        self._outcome_unknown = True
        self._stores.log.save(draft, check)
        self._outcome_unknown = False
        self._store_fails = False
        self.unpersisted_failure = None
        log_changes(self.task, draft, touched)
        self.task = draft

    def update(self, message: UpdateTask) -> None:
        """Make another specification true; a token in it is a new one."""
        spec, who, why = message.spec, message.who, message.why
        token, checkpoints, before = spec.token, self.load_checkpoints(), self.task
        secret = self._stores.secrets.encrypt(token) if token else None
        self.execute(
            lambda task: task.update(
                spec, checkpoints, secret=secret, who=who, why=why
            ),
            message.beside.check if message.beside else None,
        )
        stays, names = self.task.collections, before.spec.name_mapping
        left = [each for i, each in before.collections.items() if i not in stays]
        self._release_marks(replace_struct(spec, name_mapping=names), left)

    def fail(self, error: CdcError, wait: float) -> None:
        """Record that the task fails and is tried again in ``wait`` seconds.

        The log is told once of each kind of failure of one outage; that it still fails is
        no decision, and is kept for the task's health alone.
        """
        self.refresh()
        earlier = self.task.failure
        if earlier is None:
            self._outage.clear()
        else:
            self._outage.add(earlier.error)
        if str(error) in self._outage or len(self._outage) >= MAX_FAILURE_KINDS:
            self._keep_failure(error, FailureClass.TRANSIENT, wait)
            return
        before = self.unpersisted_failure
        next_try = datetime.now(UTC) + timedelta(seconds=wait)
        self.execute(
            lambda task: task.fail(
                str(error),
                FailureClass.TRANSIENT,
                next_try=next_try,
                who=SUPERVISOR,
                why="the run failed",
            )
        )
        if before and self.task.failure:
            attempt = before.attempt + 1
            self.unpersisted_failure = replace(self.task.failure, attempt=attempt)

    def give_up(self, error: CdcError) -> None:
        """Record that the task fails, and is paused until somebody resumes it."""
        checkpoints = list(self.checkpoints.values())

        def fail_and_pause(task: Task) -> None:
            task.fail(
                str(error),
                error.failure_class,
                next_try=None,
                who=SUPERVISOR,
                why="the run failed",
            )
            task.pause(
                str(error), checkpoints, who=SUPERVISOR, why="waiting does not help"
            )

        self.execute(fail_and_pause)

    def run_spec(self, source: SourceConfig, reservations: TaskReservations) -> RunSpec:
        """Return what the next run begins with, the checkpoints of earlier ones read.

        Raises:
            OperatorError: The key is not the one that the token was encrypted with.
        """
        self.refresh()
        self.load_checkpoints()
        task = self.task
        return RunSpec(
            source=source,
            task=task.spec,
            token=self._stores.secrets.decrypt(task.secret),
            claimant=self._claimant(),
            reservations=reservations,
            source_identity=task.source_identity,
            databases=task.databases,
            database_properties=task.database_properties,
            entries=tuple(task.collections.values()),
            aliases=task.aliases,
            rbac_rules=task.rbac_rules,
            passwords=task.passwords,
            unresolved=tuple(chain.from_iterable(task.unresolved.values())),
            refused_kinds=frozenset(task.refused_kinds),
            reached=task.reached,
            past_selections=task.past_selections,
            former=task.former,
            checkpoints=dict(self.checkpoints),
            send_horizons=self._stores.send_horizons.load(self._id),
            owner_start=self._owner_start,
            segments_done=self._stores.segments_done.load(self._id),
            owned=self._stores.owned,
        )

    def release_marks(self, left: Iterable[CollectionEntry]) -> None:
        """Remove the marks of what is replicated no more, if the target answers."""
        self._release_marks(self.task.spec, left)

    def _release_marks(self, spec: TaskSpec, left: Iterable[CollectionEntry]) -> None:
        try:
            token = self._stores.secrets.decrypt(self.task.secret)
            release_marks(spec, left, token, self._claimant())
        except CdcError as error:
            _log.warning("marks_not_removed", error=str(error))

    def _claimant(self) -> Claimant:
        log = self._stores.log

        def is_written(mark: Mark) -> bool:
            task = log.load_readable(mark.task)
            return not task.deleted and mark.collection_id in task.collections

        return Claimant(log.store_id, self._id, is_written)

    def load_checkpoints(self) -> list[Checkpoint]:
        """Return how far the task has come, as saved, also before its first run."""
        self.checkpoints = self._stores.checkpoints.load(self._id)
        return list(self.checkpoints.values())

    def save(self, checkpoints: Iterable[Checkpoint]) -> None:
        """Save the checkpoints that have moved."""
        moved = [
            checkpoint
            for checkpoint in checkpoints
            if self.checkpoints.get(checkpoint.position.channel) != checkpoint
        ]
        if moved:
            self._stores.checkpoints.save(self._id, moved)
            self.checkpoints.update((c.position.channel, c) for c in moved)
        self._saved_at = time.monotonic()

    def save_throttled(
        self, checkpoints: Iterable[Checkpoint], applied: AppliedRows
    ) -> None:
        """Save the checkpoints unless that was tried a moment ago.

        Where no rows were ``applied`` since, which a restart would apply once more, seldom:
        the ticks of a source move the checkpoints of every task that is idle. If the store
        does not take them, the run continues up to its send horizons.
        """
        is_idle = applied == self._saved_rows and not self._store_fails
        pause = IDLE_SAVE_SECONDS if is_idle else SAVE_SECONDS
        if time.monotonic() - self._saved_at <= pause:
            return
        self._saved_rows = applied
        try:
            self.save(checkpoints)
            if self._store_fails:
                self._store_fails = False
                self.unpersisted_failure = None
        except UnavailableError as error:
            self._saved_at = time.monotonic()
            self.store_failed(error, SAVE_SECONDS)

    def store_failed(self, error: CdcError, wait: float) -> None:
        """Keep, for the task's health, a failure that could not be written down."""
        if not self._store_fails:
            self._store_fails = True
            _log.warning("store_failed", error=str(error))
        self._keep_failure(error, error.failure_class, wait)

    def _keep_failure(
        self, error: CdcError, failure_class: FailureClass, wait: float
    ) -> None:
        before = self.unpersisted_failure or self.task.failure
        now = datetime.now(UTC)
        self.unpersisted_failure = Failure(
            error=str(error),
            failure_class=failure_class,
            attempt=before.attempt + 1 if before else 1,
            next_try=now + timedelta(seconds=wait),
            since=before.since if before else now,
        )

    def save_send_horizons(self, sent: Mapping[str, int]) -> None:
        """Set the send horizons of these channels."""
        self._stores.send_horizons.save(self._id, sent)

    def save_segments_done(self, collection_id: int, segments: Iterable[int]) -> None:
        """Know that segments of a collection's files are at the target."""
        self._stores.segments_done.add(self._id, collection_id, segments)

    def forget_segments(self, collection_id: int) -> None:
        """Know that nothing of a collection's files is at the target."""
        self._stores.segments_done.forget(self._id, collection_id)

    def clear(self) -> None:
        """Forget how far a deleted task came, if the store lets us."""
        if not self.exists:
            return
        try:
            self._stores.checkpoints.delete(self._id)
            self._stores.send_horizons.delete(self._id)
            self._stores.segments_done.delete(self._id)
            ComparisonRows(self._stores.log).delete(self._id)
            self._stores.names.release_all(self._id)
            if self._stores.owners is not None:
                self._stores.owners.forget(self._id)
        except UnavailableError as error:
            _log.warning("checkpoint_cleanup_failed", error=str(error))


def _touched(events: Iterable[Any], task: Task) -> Iterable[int]:
    """Return the ids of the collections that events may have changed.

    Most events name one, or none; there may be thousands of collections.
    """
    events = list(events)
    if all(hasattr(event, "collection_id") for event in events):
        return {event.collection_id for event in events} - {None}
    return task.collections
