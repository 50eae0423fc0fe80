"""The event that collections are to be brought anew, and which can be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from cdc_actors.errors import FailureClass, TaskConflictError
from cdc_actors.tasks.events import TaskEvent
from cdc_actors.tasks.model import CollectionState, Resync
from cdc_actors.tasks.names import contains
from cdc_actors.tasks.state import TaskState

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from cdc_actors.changes import FullName
    from cdc_actors.tasks.model import CollectionEntry
    from cdc_actors.tasks.state import TaskAttributes


ResyncMethod = Literal["in_place", "drop_target", "shadow"]
"""How what the target has comes to be right: its rows are mended, it is dropped first, or
it stays until a shadow takes its place."""


class CollectionsResynced(TaskEvent):
    """Collections are to be brought anew, whatever the target has of them.

    ``collections`` lists ``collection_id``, ``database`` and ``name``. With
    ``drop_target`` the target's are dropped first, otherwise what is too much there is
    deleted; but of one with ``since`` (see ``Resync``) only the rows of its ``imports``
    (ids) are brought. A ``SnapshotStarted`` of each follows, or it is set aside.
    """

    TOPIC = "task.collections_resynced"

    collections: list[dict[str, Any]]
    drop_target: bool

    def apply(self, aggregate: TaskAttributes) -> None:
        """Forget where the collections stood."""
        for each in self.collections:
            how = Resync(self.drop_target, since=each.get("since", 0))
            _resynced(aggregate, each["collection_id"], how)


class ShadowsRequested(TaskEvent):
    """Collections are to be brought anew into shadows, which then take their places.

    ``collections`` is as in ``CollectionsResynced``, what follows, too. Once a shadow has
    all rows of its collection an ``ExchangeCollection`` is started, and applied.
    """

    TOPIC = "task.shadows_requested"

    collections: list[dict[str, Any]]

    def apply(self, aggregate: TaskAttributes) -> None:
        """Forget where the collections stood."""
        for each in self.collections:
            how = Resync(drop=True, shadow=True)
            _resynced(aggregate, each["collection_id"], how)


def stands_lost(task: TaskAttributes) -> bool:
    """Tell whether a task has paused as its log no longer held what was next."""
    failure = task.failure
    is_lost = failure and failure.failure_class is FailureClass.POSITION_LOST
    return bool(is_lost) and task.state is TaskState.PAUSED


def chosen(task: TaskAttributes, wanted: Sequence[FullName]) -> list[CollectionEntry]:
    """Return the collections to be brought anew, at least one; raises as ``resync``.

    Of several that had one name it is the one that the source has by now.
    """
    known, is_lost = list(task.collections.values()), stands_lost(task)
    found: dict[int, CollectionEntry] = {}
    for name in wanted:
        named = [each for each in known if contains(name, (each.database, each.name))]
        there = [each for each in named if each.state is not CollectionState.DROPPED]
        possible = [each for each in there if is_lost or not _is_under_way(each)]
        if not possible:
            raise TaskConflictError(_reason(name, named, there))
        found |= {each.collection_id: each for each in possible}
    return list(found.values())


def lacking_imports(
    task: TaskAttributes, wanted: Container[int]
) -> list[CollectionEntry]:
    """Return those of some collections (ids) that lack rows of bulk imports."""
    return [
        each
        for each in task.collections.values()
        if each.collection_id in wanted
        and each.shown_state is CollectionState.LIVE
        and each.missing_imports
    ]


def _reason(
    name: FullName, named: list[CollectionEntry], there: list[CollectionEntry]
) -> str:
    if there:
        first = f"{there[0].database}.{there[0].name}"
        return f"{first} is being brought already: `get` shows how far it is"
    if named:
        return f"the source has dropped {'.'.join(name)}"
    return f"the task has no collection {'.'.join(name)}"


def _is_under_way(entry: CollectionEntry) -> bool:
    return entry.shown_state is CollectionState.SNAPSHOT


def _resynced(task: TaskAttributes, number: int, how: Resync) -> None:
    entry = task.collections.get(number)
    if entry is None:
        return
    before = entry.resync.target_id if entry.resync else 0
    task.collections[number] = replace(
        entry,
        state=CollectionState.SNAPSHOT,
        resync=replace(how, target_id=entry.target_id or before),
        snapshot=entry.snapshot if how.since else 0,
        stood={},
        reason=None,
        failure_class=None,
        set_aside_at=None,
        state_before=None,
        replay=False,
    )
