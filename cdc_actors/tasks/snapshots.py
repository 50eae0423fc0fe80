"""The commands of a task about collections that come from the source's files."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from cdc_actors.errors import TaskConflictError
from cdc_actors.tasks import events, standing
from cdc_actors.tasks.model import CollectionState, Operation
from cdc_actors.tasks.state import SUPERVISOR

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.changes import Checkpoint
    from cdc_actors.tasks.model import CollectionEntry
    from cdc_actors.tasks.task import Task


def start(task: Task, collection: CollectionEntry, rows: int, size: int) -> None:
    """Record that a collection is brought from the source's files.

    ``snapshot`` and ``stood`` of the entry say up to when, and from where on the log is
    read afterwards; ``rows`` and ``size`` (bytes) are what the files hold.
    """
    task.trigger_event(
        events.SnapshotStarted,
        **events.operation_json(Operation.create_collection(collection)),
        rows=rows,
        size=size,
        who=asdict(SUPERVISOR),
        why="the log no longer holds its beginning",
    )


def complete(
    task: Task,
    collection_id: int,
    rows: int,
    seconds: float,
    checkpoints: Iterable[Checkpoint],
) -> None:
    """Record that all rows of the files are at the target; then as for ``Task.retry``.

    Raises:
        TaskConflictError: The collection is not being brought from files.
    """
    entry = task.collections.get(collection_id)
    if entry is None or entry.state is not CollectionState.SNAPSHOT:
        raise TaskConflictError(f"collection {collection_id} has no snapshot under way")
    task.trigger_event(
        events.SnapshotCompleted,
        collection_id=collection_id,
        database=entry.database,
        name=entry.name,
        until=entry.snapshot,
        rows=rows,
        seconds=seconds,
        checkpoints=standing.to_json(checkpoints),
        who=asdict(SUPERVISOR),
        why="the target has all rows of the files",
    )
