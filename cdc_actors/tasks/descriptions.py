"""What an event says, in one line of plain English. Never holds a secret."""

from __future__ import annotations

from functools import singledispatch

from cdc_actors.changes import DEFAULT_DATABASE
from cdc_actors.tasks.events import (
    CollectionSetAside,
    CollectionsRetried,
    OperationApplied,
    OperationEvent,
    OperationsAcknowledged,
    OperationStarted,
    SnapshotCompleted,
    SnapshotStarted,
    SourceIdentified,
    TaskCompared,
    TaskCreated,
    TaskDeleted,
    TaskEvent,
    TaskFailed,
    TaskPaused,
    TaskRecovered,
    TaskRekeyed,
    TaskResumed,
    TaskStarted,
    TaskUpdated,
)
from cdc_actors.tasks.resyncs import CollectionsResynced, ShadowsRequested
from cdc_actors.tasks.spec import TaskSpec


@singledispatch
def describe(event: TaskEvent) -> str:
    """Return what happened as one line."""
    raise NotImplementedError(type(event).__name__)


@describe.register
def _created(event: TaskCreated) -> str:
    spec = TaskSpec.from_json(event.spec)
    by_database = {DEFAULT_DATABASE: spec.collection_infos, **spec.db_collections}
    names = [
        f"{database}.{name}" for database, some in by_database.items() for name in some
    ]
    return f"created, to replicate {', '.join(names)} to {spec.target.uri}"


@describe.register
def _started(event: TaskStarted) -> str:
    return f"reading started, channels: {len(event.start)}"


@describe.register
def _snapshot_started(event: SnapshotStarted) -> str:
    return (
        f"snapshot of {event.database}.{event.name} started: {event.rows:,} rows in "
        f"{event.size:,} bytes of files"
    )


@describe.register
def _snapshot_completed(event: SnapshotCompleted) -> str:
    return (
        f"snapshot of {event.database}.{event.name} completed: {event.rows:,} rows in "
        f"{event.seconds:.1f} s; the log follows"
    )


@describe.register
def _source_identified(event: SourceIdentified) -> str:
    return f"the source is the {event.identity}"


@describe.register
def _paused(event: TaskPaused) -> str:
    return f"paused: {event.reason}"


@describe.register
def _resumed(_event: TaskResumed) -> str:
    return "resumed"


@describe.register
def _failed(event: TaskFailed) -> str:
    then = f"next try at {event.next_try}" if event.next_try else "not tried again"
    return f"failed, attempt {event.attempt}, {then}: {event.error}"


@describe.register
def _recovered(_event: TaskRecovered) -> str:
    return "recovered"


@describe.register
def _operation_started(event: OperationStarted) -> str:
    return f"{_operation(event)} started at the target"


@describe.register
def _operation_applied(event: OperationApplied) -> str:
    if refused := event.operation.refused:
        return f"{_operation(event)} refused: {refused}"
    if reduced := event.operation.reduced:
        return f"{_operation(event)} applied at the target, {reduced}"
    return f"{_operation(event)} applied at the target"


@describe.register
def _set_aside(event: CollectionSetAside) -> str:
    return f"{event.database}.{event.name} set aside: {event.reason}"


@describe.register
def _retried(event: CollectionsRetried) -> str:
    names = [f"{each['database']}.{each['name']}" for each in event.collections]
    return f"taken up again from where they stood: {', '.join(names)}"


@describe.register
def _resynced(event: CollectionsResynced) -> str:
    names = [f"{each['database']}.{each['name']}" for each in event.collections]
    if any("since" in each for each in event.collections):
        return f"rows of bulk imports to be brought: {', '.join(names)}"
    how = ", the target's are dropped first" if event.drop_target else ""
    return f"to be brought anew{how}: {', '.join(names)}"


@describe.register
def _shadows_requested(event: ShadowsRequested) -> str:
    names = [f"{each['database']}.{each['name']}" for each in event.collections]
    return f"to be brought anew into a shadow each: {', '.join(names)}"


@describe.register
def _acknowledged(event: OperationsAcknowledged) -> str:
    names = [_named(e["kind"], e["database"], e["name"]) for e in event.operations]
    return f"acknowledged as not done: {', '.join(names)}"


@describe.register
def _rekeyed(_event: TaskRekeyed) -> str:
    return "the target's token is encrypted with a newer key"


@describe.register
def _updated(event: TaskUpdated) -> str:
    left = [f"{each['database']}.{each['name']}" for each in event.deselected]
    then = f"; not replicated any more: {', '.join(left)}" if left else ""
    return f"updated, another {', '.join(event.changed)}{then}"


@describe.register
def _compared(event: TaskCompared) -> str:
    numbers = [f"{name} {number:,}" for name, number in event.counts.items() if number]
    found = (
        f"compared with the target, {event.outcome}: {', '.join(numbers) or 'nothing'}"
    )
    more = event.error or ", ".join(event.differing)
    return f"{found}; {more}" if more else found


@describe.register
def _deleted(event: TaskDeleted) -> str:
    return f"deleted: {event.reason}"


def _operation(event: OperationEvent) -> str:
    return _named(event.kind, event.database, event.name)


def _named(kind: str, database: str, name: str) -> str:
    named = ".".join(each for each in (database, name) if each)
    return f"{kind} of {named}" if named else kind
