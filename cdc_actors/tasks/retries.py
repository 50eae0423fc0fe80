"""Which collections that were set aside can be taken up again, and why others cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.errors import FailureClass, TaskConflictError
from cdc_actors.tasks.model import CollectionState
from cdc_actors.tasks.names import ANY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cdc_actors.changes import FullName
    from cdc_actors.tasks.model import CollectionEntry


def chosen(
    entries: Iterable[CollectionEntry], wanted: Sequence[FullName]
) -> list[CollectionEntry]:
    """Return the collections to be taken up again, at least one.

    ``wanted`` are the source's names, ``*`` in one stands for all; without any, and by
    ``*``, those are meant that can be.

    Raises:
        TaskConflictError: One that is named is not set aside, or none can be.
    """
    aside = [each for each in entries if each.state is CollectionState.SET_ASIDE]
    found: dict[int, CollectionEntry] = {}
    for name in wanted or [(ANY, ANY)]:
        matching = [each for each in aside if _is_named(each, name)]
        if not matching:
            raise TaskConflictError(
                f"no collection {_shown(name)} is set aside; what is retrying is tried "
                "again by itself"
            )
        possible = [each for each in matching if not obstacle(each)]
        if not possible or (ANY not in name and len(possible) < len(matching)):
            raise TaskConflictError(next(filter(None, map(obstacle, matching))))
        found |= {each.collection_id: each for each in possible}
    return list(found.values())


def can_go_on(entry: CollectionEntry) -> bool:
    """Tell whether a collection is set aside, and can be taken up again."""
    return entry.state is CollectionState.SET_ASIDE and not obstacle(entry)


def obstacle(entry: CollectionEntry) -> str:
    """Say why a collection that is set aside cannot go on, and what to do; "" if it can."""
    name = f"{entry.database}.{entry.name}"
    if entry.resync is not None and not entry.stood:
        return ""
    if entry.failure_class is FailureClass.POSITION_LOST:
        return (
            f"{name} cannot be taken up again: {entry.reason}. The log cannot bring it "
            "any more: `resync` does, from the source's files (sourceConfig.storage)"
        )
    if not entry.stood:
        return (
            f"{name} was set aside by an earlier version, which did not note where it "
            "stood: `resync` it"
        )
    return ""


def _is_named(entry: CollectionEntry, name: FullName) -> bool:
    database, collection = name
    return database in {ANY, entry.database} and collection in {ANY, entry.name}


def _shown(name: FullName) -> str:
    return "of the task" if name == (ANY, ANY) else ".".join(name)
