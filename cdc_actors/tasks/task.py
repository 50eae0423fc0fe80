"""The Task aggregate: commands check what is allowed and trigger events.

Only events change the attributes (``events``), so that a replay of the event log gives
the very same task. One thread at a time may use a task: it belongs to its actor.
"""

from __future__ import annotations

from copy import copy
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from eventsourcing.domain import Aggregate

from cdc_actors.errors import TaskConflictError, UnknownTaskError
from cdc_actors.tasks import events, resyncs, retries, standing, unresolved, updates
from cdc_actors.tasks.spec import TOKEN, ConnectParam, TaskSpec
from cdc_actors.tasks.state import SUPERVISOR, TaskAttributes, TaskState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from cdc_actors.changes import Checkpoint, FullName
    from cdc_actors.errors import FailureClass
    from cdc_actors.tasks.comparison import ComparisonResult
    from cdc_actors.tasks.model import CollectionEntry, Operation
    from cdc_actors.tasks.state import SourceIdentity, Who


class Task(TaskAttributes, Aggregate):
    """One replication, as the event log knows it.

    A command either triggers one event, which ``TaskLog.save`` then makes true, or
    raises and leaves the task as it was. Every command raises ``UnknownTaskError`` once
    the task is deleted.
    """

    TOPIC = "task"

    Event = events.TaskEvent
    Created = events.TaskCreated
    Started = events.TaskStarted
    SourceIdentified = events.SourceIdentified
    Paused = events.TaskPaused
    Resumed = events.TaskResumed
    Failed = events.TaskFailed
    Recovered = events.TaskRecovered
    OperationStarted = events.OperationStarted
    OperationApplied = events.OperationApplied
    CollectionSetAside = events.CollectionSetAside
    CollectionsRetried = events.CollectionsRetried
    CollectionsResynced = resyncs.CollectionsResynced
    ShadowsRequested = resyncs.ShadowsRequested
    OperationsAcknowledged = events.OperationsAcknowledged
    SnapshotStarted = events.SnapshotStarted
    SnapshotCompleted = events.SnapshotCompleted
    Rekeyed = events.TaskRekeyed
    Updated = events.TaskUpdated
    Compared = events.TaskCompared
    Deleted = events.TaskDeleted

    def __init__(self) -> None:
        self.deleted = False
        self.reason = None
        self.failure = None
        self.source_identity = None
        self.databases = {}
        self.database_properties = {}
        self.collections = {}
        self.aliases = {}
        self.rbac_rules = frozenset()
        self.passwords = {}
        self.refusals = ()
        self.refused = 0
        self.unresolved = {}
        self.acknowledged = {}
        self.refused_kinds = {}
        self.claims = {}
        self.reached = {}
        self.past_selections = ()
        self.former = {}
        self.early_imports = {}

    @classmethod
    def create(
        cls,
        spec: TaskSpec,
        *,
        secret: str,
        who: Who,
        why: str,
        task_id: UUID | None = None,
    ) -> Self:
        """Return a new task that is to run.

        ``secret`` is the target's token, already encrypted; the one in ``spec`` is left
        out. Without a ``task_id`` there is a random one.
        """
        return cls._create(
            events.TaskCreated,
            id=task_id,
            spec=spec.to_json(),
            secret=secret,
            who=asdict(who),
            why=why,
        )

    @classmethod
    def placeholder(cls, task_id: UUID) -> Self:
        """Return what stands for a task of which nothing is known; it is never saved."""
        return cls._create(
            events.TaskCreated,
            id=task_id,
            timestamp=datetime.fromtimestamp(0, UTC),
            spec=TaskSpec(target=ConnectParam(uri="")).to_json(),
            secret="",
            who=asdict(SUPERVISOR),
            why="it cannot be read",
        )

    def draft(self) -> Self:
        """Return a copy to try commands on; this one stays as it is.

        Shallow, for every value but the map of collections is replaced, never changed.
        """
        draft = copy(self)
        draft.collections = dict(self.collections)
        draft._pending_events = []  # noqa: SLF001 - the list must not be shared
        return draft

    @property
    def task_id(self) -> str:
        """The id as clients know it: 32 hexadecimal digits."""
        return self.id.hex

    @property
    def created_at(self) -> datetime:
        """When the task was created, in UTC."""
        return self.created_on

    def start(self, start: Iterable[Checkpoint], *, who: Who, why: str) -> None:
        """Record where reading begins, channel by channel.

        Raises:
            TaskConflictError: The task has paused.
        """
        self._refuse_paused()
        positions = [
            {"channel": c.position.channel, "position": c.position.text, "tick": c.tick}
            for c in start
        ]
        self._trigger(events.TaskStarted, start=positions, who=who, why=why)

    def identify_source(self, identity: SourceIdentity, *, who: Who, why: str) -> None:
        """Record which Milvus the task replicates."""
        self._trigger(events.SourceIdentified, **asdict(identity), who=who, why=why)

    def pause(
        self, reason: str, checkpoints: Iterable[Checkpoint], *, who: Who, why: str
    ) -> None:
        """Pause, with a reason for those who ask and the last checkpoints.

        Raises:
            TaskConflictError: The task has paused already.
        """
        self._refuse_paused()
        self._trigger(
            events.TaskPaused,
            reason=reason,
            checkpoints=_by_channel(checkpoints),
            who=who,
            why=why,
        )

    def resume(self, *, who: Who, why: str) -> None:
        """Go on; the reason of the pause and the last failure are forgotten.

        Raises:
            TaskConflictError: The task is running.
        """
        self._refuse_deleted()
        if self.state is TaskState.RUNNING:
            raise TaskConflictError(f"the task has running, task_id: {self.task_id}")
        self._trigger(events.TaskResumed, who=who, why=why)

    def fail(
        self,
        error: str,
        failure_class: FailureClass,
        *,
        next_try: datetime | None,
        who: Who,
        why: str,
    ) -> None:
        """Record that the task does not move, and when it is tried again.

        It is the first attempt, or the next one if the task has not recovered since
        the last failure.

        Raises:
            TaskConflictError: The task has paused.
        """
        self._refuse_paused()
        self._trigger(
            events.TaskFailed,
            error=error,
            failure_class=failure_class.value,
            attempt=self.failure.attempt + 1 if self.failure else 1,
            next_try=next_try.isoformat() if next_try else None,
            who=who,
            why=why,
        )

    def recover(self, *, who: Who, why: str) -> None:
        """Record that the task moves again.

        Raises:
            TaskConflictError: The task has paused, or has not failed.
        """
        self._refuse_paused()
        if self.failure is None:
            raise TaskConflictError(f"the task has not failed, task_id: {self.task_id}")
        self._trigger(events.TaskRecovered, who=who, why=why)

    def start_operation(self, operation: Operation, *, who: Who, why: str) -> None:
        """Record that ``operation`` may from now on be half done at the target.

        A paused task may still finish what was under way, so that this, like
        ``apply_operation`` and ``set_aside``, is allowed in every state.
        """
        self._trigger_operation(events.OperationStarted, operation, who, why)

    def apply_operation(self, operation: Operation, *, who: Who, why: str) -> None:
        """Record that ``operation`` is done at the target.

        Raises:
            ValueError: A ``CreateCollection`` lacks the schema, the shards or the id.
        """
        self._trigger_operation(events.OperationApplied, operation, who, why)

    def set_aside(
        self,
        collection: CollectionEntry,
        reason: str,
        failure_class: FailureClass,
        stood: Iterable[Checkpoint] = (),
        *,
        who: Who,
        why: str,
    ) -> None:
        """Record that a collection, known to the task or not, cannot be replicated.

        ``stood`` are the checkpoints of its channels, and of that of clients' requests;
        what came up to there is at the target, or needs not be.
        """
        self._trigger(
            events.CollectionSetAside,
            collection_id=collection.collection_id,
            database=collection.database,
            name=collection.name,
            reason=reason,
            failure_class=failure_class.value,
            stood=standing.to_json(stood),
            who=who,
            why=why,
        )

    def retry(
        self,
        collections: Sequence[FullName],
        checkpoints: Iterable[Checkpoint],
        *,
        who: Who,
        why: str,
    ) -> None:
        """Take collections that were set aside up again, from where each stood.

        ``collections`` are the source's names, ``*`` stands for all; none means all that
        can be taken up. ``checkpoints`` are those of all channels: the run, if there is
        one, has ended before, and the next one replays what the collections lack. Allowed
        in every state: a paused task does it once it is resumed.

        Raises:
            TaskConflictError: One is not set aside, or cannot go on; the text says why.
        """
        chosen = self.retriable(collections)
        self._trigger(
            events.CollectionsRetried,
            collections=[each.identity for each in chosen],
            checkpoints=standing.to_json(checkpoints),
            who=who,
            why=why,
        )

    def retriable(self, collections: Sequence[FullName] = ()) -> list[CollectionEntry]:
        """Return the collections that ``retry`` takes up again; raises as it does."""
        self._refuse_deleted()
        return retries.chosen(self.collections.values(), collections)

    @property
    def has_retriable(self) -> bool:
        """Whether a collection is set aside that can be taken up again."""
        return any(map(retries.can_go_on, self.collections.values()))

    def acknowledge(self, kinds: Sequence[str], *, who: Who, why: str) -> None:
        """Accept that operations of some kinds, or of all, were refused, in any state.

        Raises:
            TaskConflictError: There is none that still matters.
        """
        self._refuse_deleted()
        chosen = unresolved.chosen(self.unresolved, kinds)
        operations = [events.operation_json(each) for each in chosen]
        self._trigger(
            events.OperationsAcknowledged, operations=operations, who=who, why=why
        )

    def rekey(self, secret: str, *, who: Who, why: str) -> None:
        """Keep the target's token as ``secret`` from now on, encrypted with another key."""
        self._trigger(events.TaskRekeyed, secret=secret, who=who, why=why)

    def update(
        self,
        spec: TaskSpec,
        checkpoints: Iterable[Checkpoint],
        *,
        secret: str | None,
        who: Who,
        why: str,
    ) -> None:
        """Change what the task is to do, in whatever state it is.

        ``secret`` is the target's new token, encrypted; None keeps the present one.

        Raises:
            TaskConflictError: What the target has already would have another name.
        """
        self._refuse_deleted()
        updates.refuse_renames(self, spec)
        token = [TOKEN] if secret is not None else []
        self._trigger(
            events.TaskUpdated,
            spec=spec.to_json(),
            secret=secret,
            changed=[*self.spec.differing_members(spec), *token],
            deselected=updates.deselected(self, spec),
            checkpoints=standing.to_json(checkpoints),
            who=who,
            why=why,
        )

    def note_compared(self, result: ComparisonResult, *, who: Who, why: str) -> None:
        """Record what a comparison with the target came to, in whatever state it is."""
        self._trigger(events.TaskCompared, **asdict(result), who=who, why=why)

    def delete(
        self, reason: str, checkpoints: Iterable[Checkpoint], *, who: Who, why: str
    ) -> None:
        """End the task for good, in whatever state it is."""
        self._trigger(
            events.TaskDeleted,
            reason=reason,
            checkpoints=_by_channel(checkpoints),
            who=who,
            why=why,
        )

    def _trigger_operation(
        self, event: type[events.OperationEvent], done: Operation, who: Who, why: str
    ) -> None:
        self._trigger(event, **events.operation_json(done), who=who, why=why)

    def _trigger(self, event: type[events.TaskEvent], *, who: Who, **said: Any) -> None:
        self._refuse_deleted()
        self.trigger_event(event, who=asdict(who), **said)

    def _refuse_deleted(self) -> None:
        if self.deleted:
            raise UnknownTaskError(f"not found the task, task_id: {self.task_id}")

    # "has paused" and "has running" are milvus-cdc's: its clients may match on them.
    def _refuse_paused(self) -> None:
        self._refuse_deleted()
        if self.state is TaskState.PAUSED:
            raise TaskConflictError(f"the task has paused, task_id: {self.task_id}")


def _by_channel(checkpoints: Iterable[Checkpoint]) -> dict[str, dict[str, Any]]:
    return {
        c.position.channel: {"position": c.position.text, "tick": c.tick}
        for c in checkpoints
    }
