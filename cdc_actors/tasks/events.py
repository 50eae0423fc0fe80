"""The events of a task: what alone is true, and what each of them changes.

Attributes are plain JSON values, so that what is replayed is what was stored. Topics
and attribute names are a file format; the tests keep a golden file of each for ever. To
change one, raise ``class_version`` and add a static ``upcast_v1_v2(state)``.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from eventsourcing.domain import Aggregate

from cdc_actors.errors import FailureClass
from cdc_actors.tasks import standing, transitions
from cdc_actors.tasks.model import CollectionEntry, Operation
from cdc_actors.tasks.spec import TaskSpec
from cdc_actors.tasks.state import Failure, SourceIdentity, TaskState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_actors.tasks.state import TaskAttributes


class TaskEvent(Aggregate.Event):
    """What every event says: who asked (the fields of ``Who``), and why.

    When it happened is ``timestamp``, in UTC.
    """

    class_version = 1

    who: dict[str, str | None]
    why: str


class TaskCreated(TaskEvent, Aggregate.Created):
    """A client asked for a task. ``secret`` is the target's token, encrypted."""

    TOPIC = "task.created"

    spec: dict[str, Any]
    secret: str

    def apply(self, aggregate: TaskAttributes) -> None:
        """Make the new task ready to run."""
        aggregate.spec = TaskSpec.from_json(self.spec)
        aggregate.secret = self.secret
        aggregate.state = TaskState.RUNNING
        aggregate.state_since = self.timestamp


class TaskStarted(TaskEvent):
    """Reading begins: ``start`` lists ``channel``, ``position`` and ``tick``."""

    TOPIC = "task.started"

    start: list[dict[str, Any]]

    def apply(self, aggregate: TaskAttributes) -> None:
        """Know that the channels of what is replayed have been set back."""
        transitions.set_back(aggregate)


class SourceIdentified(TaskEvent):
    """The task replicates this Milvus and no other; see ``SourceIdentity``."""

    TOPIC = "task.source_identified"

    created: int
    address: str

    @property
    def identity(self) -> SourceIdentity:
        """Which Milvus it is."""
        return SourceIdentity(created=self.created, address=self.address)

    def apply(self, aggregate: TaskAttributes) -> None:
        """Know the source from now on."""
        aggregate.source_identity = self.identity


class TaskPaused(TaskEvent):
    """The task is to do nothing until somebody resumes it.

    ``checkpoints`` says by channel up to which ``position`` and ``tick`` the target had
    been brought.
    """

    TOPIC = "task.paused"

    reason: str
    checkpoints: dict[str, dict[str, Any]]

    def apply(self, aggregate: TaskAttributes) -> None:
        """Pause, and keep the reason for those who ask."""
        aggregate.state = TaskState.PAUSED
        aggregate.reason = self.reason
        aggregate.state_since = self.timestamp


class TaskResumed(TaskEvent):
    """The task is to continue. What had stopped it is taken to be mended."""

    TOPIC = "task.resumed"

    def apply(self, aggregate: TaskAttributes) -> None:
        """Run again, with a clean slate."""
        aggregate.state = TaskState.RUNNING
        aggregate.reason = None
        aggregate.failure = None
        aggregate.state_since = self.timestamp


class TaskFailed(TaskEvent):
    """The task does not move. ``next_try`` is in ISO 8601, None if there is none."""

    TOPIC = "task.failed"

    error: str
    failure_class: str
    attempt: int
    next_try: str | None

    def apply(self, aggregate: TaskAttributes) -> None:
        """Remember the failure, and since when there has been one."""
        earlier = aggregate.failure
        aggregate.failure = Failure(
            error=self.error,
            failure_class=FailureClass(self.failure_class),
            attempt=self.attempt,
            next_try=datetime.fromisoformat(self.next_try) if self.next_try else None,
            since=earlier.since if earlier else self.timestamp,
        )


class TaskRecovered(TaskEvent):
    """The task moves again after a failure."""

    TOPIC = "task.recovered"

    def apply(self, aggregate: TaskAttributes) -> None:
        """Forget the failure."""
        aggregate.failure = None
        aggregate.state_since = self.timestamp


class OperationEvent(TaskEvent):
    """An operation of the source; the attributes are those of ``Operation``."""

    kind: str
    operation_timestamp: int
    database: str
    name: str
    collection_id: int | None
    detail: dict[str, Any]

    @property
    def operation(self) -> Operation:
        """The operation that the event is about."""
        return _operation(vars(self))


class OperationStarted(OperationEvent):
    """An operation that does harm when half done is about to be done at the target."""

    TOPIC = "task.operation_started"

    def apply(self, aggregate: TaskAttributes) -> None:
        """Mark a collection that is about to be dropped, or to get another name."""
        transitions.started(aggregate, self.operation)


class OperationApplied(OperationEvent):
    """An operation has been done at the target, or ``detail`` says why it was refused."""

    TOPIC = "task.operation_applied"

    def apply(self, aggregate: TaskAttributes) -> None:
        """Know what the target has now."""
        transitions.applied(aggregate, self.operation)


class CollectionSetAside(TaskEvent):
    """One collection cannot be replicated; the others continue.

    ``stood`` says by channel where it stood: ``position``, its ``id`` in hexadecimal
    digits, whether it is ``inclusive``, and ``tick``.
    """

    TOPIC = "task.collection_set_aside"
    class_version = 2

    collection_id: int
    database: str
    name: str
    reason: str
    failure_class: str
    stood: dict[str, dict[str, Any]]

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """The first version did not note where the collection stood."""
        state["stood"] = {}

    def apply(self, aggregate: TaskAttributes) -> None:
        """Mark the collection, which may never have come to the target."""
        transitions.set_aside(
            aggregate,
            CollectionEntry(
                collection_id=self.collection_id,
                database=self.database,
                name=self.name,
                reason=self.reason,
                failure_class=FailureClass(self.failure_class),
                set_aside_at=self.timestamp,
                stood=standing.from_json(self.stood),
            ),
        )


class CollectionsRetried(TaskEvent):
    """Collections that were set aside are taken up again from where they stood.

    ``collections`` lists ``collection_id``, ``database`` and ``name``; ``checkpoints``
    says by channel what the others have, in the form of ``CollectionSetAside.stood``.
    """

    TOPIC = "task.collections_retried"

    collections: list[dict[str, Any]]
    checkpoints: dict[str, dict[str, Any]]

    def apply(self, aggregate: TaskAttributes) -> None:
        """Have their channels set back, and the others take nothing a second time."""
        retried = {each["collection_id"] for each in self.collections}
        transitions.retried(aggregate, retried, standing.from_json(self.checkpoints))


class SnapshotStarted(OperationEvent):
    """A collection whose beginning the log no longer holds comes from the source's files.

    The attributes are those of its ``CreateCollection``: ``detail`` says with ``snapshot``
    up to when, a hybrid timestamp, and with ``stood`` from where on the log is read
    afterwards. ``rows`` and ``size``, in bytes, are what the files hold.
    """

    TOPIC = "task.snapshot_started"

    rows: int
    size: int

    def apply(self, aggregate: TaskAttributes) -> None:
        """Know the collection, which the target may have from now on."""
        transitions.snapshot_started(aggregate, self.operation)


class SnapshotCompleted(TaskEvent):
    """The target has a collection as it was up to ``until``, a hybrid timestamp.

    ``rows`` is how many were sent in the last run, in ``seconds``. ``checkpoints`` are as
    in ``CollectionsRetried``.
    """

    TOPIC = "task.snapshot_completed"

    collection_id: int
    database: str
    name: str
    until: int
    rows: int
    seconds: float
    checkpoints: dict[str, dict[str, Any]]

    def apply(self, aggregate: TaskAttributes) -> None:
        """Have the log read on from there."""
        transitions.snapshot_completed(
            aggregate, self.collection_id, standing.from_json(self.checkpoints)
        )


class OperationsAcknowledged(TaskEvent):
    """A client accepts that operations were not done: they make nothing degraded any more.

    ``operations`` lists what ``OperationEvent`` has of each.
    """

    TOPIC = "task.operations_acknowledged"

    operations: list[dict[str, Any]]

    def apply(self, aggregate: TaskAttributes) -> None:
        """Remember them, as they may be read and refused once more."""
        transitions.acknowledged(
            aggregate, [_operation(each) for each in self.operations]
        )


class TaskRekeyed(TaskEvent):
    """The target's token is the same; ``secret`` is it, encrypted with a newer key."""

    TOPIC = "task.rekeyed"

    secret: str

    def apply(self, aggregate: TaskAttributes) -> None:
        """Take the secret in the place of the one before."""
        aggregate.secret = self.secret


class TaskUpdated(TaskEvent):
    """A client changed what the task is to do; ``changed`` names it as requests do.

    ``spec`` is all of the new specification, ``secret`` the target's new token, encrypted,
    None if it stays. ``deselected`` lists ``collection_id``, ``database`` and ``name`` of
    the collections that leave the task. ``checkpoints``, in the form of
    ``CollectionSetAside.stood``, say from where on the new selection counts.
    """

    TOPIC = "task.updated"

    spec: dict[str, Any]
    secret: str | None
    changed: list[str]
    deselected: list[dict[str, Any]]
    checkpoints: dict[str, dict[str, Any]]

    def apply(self, aggregate: TaskAttributes) -> None:
        """Be another task, with the collections that stay."""
        aggregate.state_since = self.timestamp
        if self.secret is not None:
            aggregate.secret = self.secret
        transitions.updated(
            aggregate,
            TaskSpec.from_json(self.spec),
            {each["collection_id"] for each in self.deselected},
            standing.from_json(self.checkpoints),
        )


class TaskCompared(TaskEvent):
    """Source and target were compared; the attributes are those of ``ComparisonResult``."""

    TOPIC = "task.compared"

    outcome: str
    began: str
    selection: list[str]
    repair: bool
    delete_extra: bool
    counts: dict[str, int]
    differing: list[str]
    error: str | None

    def apply(self, aggregate: TaskAttributes) -> None:
        """A comparison leaves the task as it is."""


class TaskDeleted(TaskEvent):
    """The task is over for good; its history stays.

    ``checkpoints`` is as in ``TaskPaused``.
    """

    TOPIC = "task.deleted"

    reason: str
    checkpoints: dict[str, dict[str, Any]]

    def apply(self, aggregate: TaskAttributes) -> None:
        """Close the task to every further command."""
        aggregate.deleted = True


def operation_json(operation: Operation) -> dict[str, Any]:
    """Return an operation as the attributes of an ``OperationEvent``."""
    return {
        "kind": operation.kind,
        "operation_timestamp": operation.timestamp,
        "database": operation.database,
        "name": operation.name,
        "collection_id": operation.collection_id,
        "detail": operation.detail,
    }


def _operation(said: Mapping[str, Any]) -> Operation:
    return Operation(
        kind=said["kind"],
        timestamp=said["operation_timestamp"],
        database=said["database"],
        name=said["name"],
        collection_id=said["collection_id"],
        detail=said["detail"],
    )
