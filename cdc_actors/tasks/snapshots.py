"""The commands of a task about collections that come from the source's files."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from cdc_actors.errors import TaskConflictError, UnknownTaskError
from cdc_actors.tasks import events, resyncs, standing
from cdc_actors.tasks.model import CollectionState, Operation
from cdc_actors.tasks.state import SUPERVISOR

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from cdc_actors.changes import Checkpoint, FullName
    from cdc_actors.tasks.model import CollectionEntry
    from cdc_actors.tasks.state import Who
    from cdc_actors.tasks.task import Task

LOST = "the log no longer holds its beginning"
ALWAYS = "the task was created with snapshot: always"
SEEDED = "the target has its rows up to the positions that were given"
IMPORTED = "a bulk import came past the log"


def start(
    task: Task, collection: CollectionEntry, rows: int, size: int, cheaper: str = ""
) -> None:
    """Record that a collection is brought from the source's files.

    ``snapshot`` and ``stood`` of the entry say up to when, and from where on the log is
    read afterwards; ``rows`` and ``size`` (bytes) are what the files hold; ``cheaper`` says
    why they are read if the log could bring it, too.
    """
    why = cheaper or (ALWAYS if task.spec.snapshot == "always" else LOST)
    if task.spec.positions_of(collection.shards):
        why = SEEDED
    if collection.resync:
        why = IMPORTED if _is_of_imports(collection) else "a resync was asked for"
    task.trigger_event(
        events.SnapshotStarted,
        **events.operation_json(Operation.create_collection(collection)),
        rows=rows,
        size=size,
        who=asdict(SUPERVISOR),
        why=why,
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
    method: resyncs.ResyncMethod,
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
    asked = {"collections": [each.identity for each in entries]}
    said = {"who": asdict(who), "why": why}
    if method == "shadow":
        task.trigger_event(resyncs.ShadowsRequested, **asked, **said)
        return
    drop = method == "drop_target"
    task.trigger_event(resyncs.CollectionsResynced, **asked, drop_target=drop, **said)


def bring_imports(task: Task, wanted: Container[int]) -> None:
    """Have the rows brought that bulk imports into collections (ids) have brought.

    The task's run has ended before. All else of the collections stays as it is.

    Raises:
        TaskConflictError: None of them is live and lacks such rows.
    """
    entries = resyncs.lacking_imports(task, wanted)
    if not entries:
        raise TaskConflictError("no collection lacks rows of a bulk import")
    task.trigger_event(
        resyncs.CollectionsResynced,
        collections=[
            {
                **each.identity,
                "imports": each.missing_imports,
                "since": each.missing_since,
            }
            for each in entries
        ],
        drop_target=False,
        who=asdict(SUPERVISOR),
        why=IMPORTED,
    )


def _is_of_imports(entry: CollectionEntry) -> bool:
    return entry.resync is not None and entry.resync.since > 0
