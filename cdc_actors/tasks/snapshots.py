"""The commands of a task about collections that come from the source's files."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from cdc_actors.errors import TaskConflictError, UnknownTaskError
from cdc_actors.tasks import events, resyncs, standing
from cdc_actors.tasks.model import CollectionState, Operation
from cdc_actors.tasks.state import SUPERVISOR

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cdc_actors.changes import Checkpoint, FullName
    from cdc_actors.tasks.model import CollectionEntry
    from cdc_actors.tasks.state import Who
    from cdc_actors.tasks.task import Task

LOST = "the log no longer holds its beginning"


def start(task: Task, collection: CollectionEntry, rows: int, size: int) -> None:
    """Record that a collection is brought from the source's files.

    ``snapshot`` and ``stood`` of the entry say up to when, and from where on the log is
    read afterwards; ``rows`` and ``size`` (bytes) are what the files hold.
    """
    is_asked = collection.resync is not None
    task.trigger_event(
        events.SnapshotStarted,
        **events.operation_json(Operation.create_collection(collection)),
        rows=rows,
        size=size,
        who=asdict(SUPERVISOR),
        why="a resync was asked for" if is_asked else LOST,
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


def resync(
    task: Task,
    collections: Sequence[FullName],
    *,
    drop_target: bool,
    who: Who,
    why: str,
) -> None:
    """Have collections brought anew; the task's run has ended before.

    ``collections`` are the source's names, ``*`` stands for all. Allowed in every state: a
    paused task does it once it is resumed.

    Raises:
        TaskConflictError: The task has no such collection, or one is on its way already.
    """
    if task.deleted:
        raise UnknownTaskError(f"not found the task, task_id: {task.task_id}")
    entries = resyncs.chosen(task, collections)
    task.trigger_event(
        resyncs.CollectionsResynced,
        collections=[each.identity for each in entries],
        drop_target=drop_target,
        who=asdict(who),
        why=why,
    )
