"""The event that collections are to be brought anew, and which can be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cdc_actors.errors import TaskConflictError
from cdc_actors.tasks.events import TaskEvent
from cdc_actors.tasks.model import CollectionState, Resync
from cdc_actors.tasks.names import contains

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from cdc_actors.changes import FullName
    from cdc_actors.tasks.model import CollectionEntry
    from cdc_actors.tasks.state import TaskAttributes


class CollectionsResynced(TaskEvent):
    """Collections are to be brought anew, whatever the target has of them.

    ``collections`` lists ``collection_id``, ``database`` and ``name``. With
    ``drop_target`` the target's are dropped first, otherwise what is too much there is
    deleted. A ``SnapshotStarted`` of each follows, or it is set aside.
    """

    TOPIC = "task.collections_resynced"

    collections: list[dict[str, Any]]
    drop_target: bool

    def apply(self, aggregate: TaskAttributes) -> None:
        """Forget where the collections stood."""
        chosen = {each["collection_id"] for each in self.collections}
        _resynced(aggregate, chosen, drop=self.drop_target)


def chosen(
    entries: Iterable[CollectionEntry], wanted: Sequence[FullName]
) -> list[CollectionEntry]:
    """Return the collections to be brought anew, at least one; raises as ``resync``.

    Of several that had one name it is the one that the source has by now.
    """
    known = list(entries)
    found: dict[int, CollectionEntry] = {}
    for name in wanted:
        named = [each for each in known if contains(name, (each.database, each.name))]
        there = [each for each in named if each.state is not CollectionState.DROPPED]
        possible = [each for each in there if not _obstacle(each)]
        if not possible:
            raise TaskConflictError(_reason(name, named, there))
        found |= {each.collection_id: each for each in possible}
    return list(found.values())


def _reason(
    name: FullName, named: list[CollectionEntry], there: list[CollectionEntry]
) -> str:
    if there:
        return _obstacle(there[0])
    if named:
        return f"the source has dropped {'.'.join(name)}"
    return f"the task has no collection {'.'.join(name)}"


def _obstacle(entry: CollectionEntry) -> str:
    """Say why a collection cannot be brought anew just now, "" if it can."""
    name = f"{entry.database}.{entry.name}"
    if entry.state is CollectionState.SNAPSHOT:
        return f"{name} is being brought already: `get` shows how far it is"
    if entry.state is CollectionState.DROPPING:
        return f"{name} is being dropped, as the source did"
    return ""


def _resynced(task: TaskAttributes, chosen: Container[int], *, drop: bool) -> None:
    for entry in tuple(task.collections.values()):
        if entry.collection_id in chosen:
            before = entry.resync.target_id if entry.resync else 0
            task.collections[entry.collection_id] = replace(
                entry,
                state=CollectionState.SNAPSHOT,
                resync=Resync(drop, entry.target_id or before),
                snapshot=0,
                stood={},
                reason=None,
                failure_class=None,
                set_aside_at=None,
                state_before=None,
                replay=False,
            )
