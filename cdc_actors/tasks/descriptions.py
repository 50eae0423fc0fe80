"""What an event says, in plain words. Never holds a secret."""

from __future__ import annotations

from functools import singledispatch

from cdc_actors.changes import DEFAULT_DATABASE
from cdc_actors.tasks.events import (
    CollectionSetAside,
    OperationApplied,
    OperationEvent,
    OperationStarted,
    TaskCreated,
    TaskDeleted,
    TaskEvent,
    TaskFailed,
    TaskPaused,
    TaskRecovered,
    TaskRekeyed,
    TaskResumed,
    TaskStarted,
)
from cdc_actors.tasks.spec import TaskSpec


@singledispatch
def words(event: TaskEvent) -> str:
    """Return what happened as one line."""
    raise NotImplementedError(type(event).__name__)


@words.register
def _created(event: TaskCreated) -> str:
    spec = TaskSpec.from_json(event.spec)
    by_database = {DEFAULT_DATABASE: spec.collection_infos, **spec.db_collections}
    names = [
        f"{database}.{name}" for database, some in by_database.items() for name in some
    ]
    return f"created, to bring {', '.join(names)} to {spec.target.uri}"


@words.register
def _started(event: TaskStarted) -> str:
    return f"reading begins, channels: {len(event.start)}"


@words.register
def _paused(event: TaskPaused) -> str:
    return f"paused: {event.reason}"


@words.register
def _resumed(_event: TaskResumed) -> str:
    return "resumed"


@words.register
def _failed(event: TaskFailed) -> str:
    then = f"next try at {event.next_try}" if event.next_try else "not tried again"
    return f"failed, attempt {event.attempt}, {then}: {event.error}"


@words.register
def _recovered(_event: TaskRecovered) -> str:
    return "moves again"


@words.register
def _operation_started(event: OperationStarted) -> str:
    return f"{_operation(event)} begins at the target"


@words.register
def _operation_applied(event: OperationApplied) -> str:
    if refused := event.operation.refused:
        return f"{_operation(event)} not done: {refused}"
    return f"{_operation(event)} done at the target"


@words.register
def _set_aside(event: CollectionSetAside) -> str:
    return f"{event.database}.{event.name} set aside: {event.reason}"


@words.register
def _rekeyed(_event: TaskRekeyed) -> str:
    return "the target's token is encrypted with a newer key"


@words.register
def _deleted(event: TaskDeleted) -> str:
    return f"deleted: {event.reason}"


def _operation(event: OperationEvent) -> str:
    named = ".".join(name for name in (event.database, event.name) if name)
    return f"{event.kind} of {named}" if named else event.kind
