"""What became of a collection at the target that is not there as it was made."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from cdc_actors.errors import CdcError, CollectionError, OperationRefusedError
from cdc_actors.marks import PROPERTY, Mark
from cdc_actors.pipeline.skipping import schema_there
from cdc_actors.target import collections

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.changes import FullName
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import CollectionEntry


def refuse_lost(target: Connection, name: FullName) -> None:
    """Raise CollectionError if the target has no collection of that name any more."""
    if collections.describe(target, *name) is None:
        raise _lost(name)


def has_any(target: Connection, names: Iterable[FullName]) -> bool:
    """Tell whether the target has a collection of one of these names, whoever made it."""
    return any(collections.describe(target, *name) is not None for name in names)


def is_another(target: Connection, name: FullName, schema: bytes) -> bool:
    """Tell whether what the target has by that name cannot be the source's collection."""
    try:
        collections.is_there(target, name, schema)
    except OperationRefusedError:
        raise
    except CollectionError:
        return True
    return False


def refuse_replaced(shown: Any, entry: CollectionEntry, name: FullName) -> None:
    """Raise CollectionError if what the target has is not what the task has made.

    ``shown`` is the target's description. A Milvus tells by its id. Milvus Lite (3.2) has
    none: there the task's mark is missing, which cannot be told from another equal
    collection whose properties were copied along.
    """
    if _is_replaced(shown, entry):
        raise CollectionError(
            f"{'.'.join(name)} at the target is not the one that the task has made: that "
            "was dropped or renamed there, and this one lacks the rows from before. "
            "`retry` brings all rows into it, if the log still holds their beginning; what "
            "it has besides stays. `resync` makes it equal"
        )


def refuse_former(
    target: Connection, name: FullName, former: CollectionEntry, entry: CollectionEntry
) -> None:
    """Raise CollectionError if the target still has what ``former`` had by that name.

    And not the very collection, which an earlier run of the task has begun to bring.
    """
    shown = collections.describe(target, *name)
    if shown is None or _is_marked(shown, entry):
        return
    if not _is_replaced(shown, former):
        raise CollectionError(
            f"{'.'.join(name)} at the target has the rows of {former.database}."
            f"{former.name} (id {former.collection_id}), which an update took from the "
            f"task; the source's {entry.database}.{entry.name} is another collection by "
            "now, and the rows of both would be mixed: drop or rename it at the target, "
            "then `retry`"
        )


def is_kept(target: Connection, name: FullName, entry: CollectionEntry) -> bool:
    """Tell whether the target has, by that name, the collection that the task has made.

    Raises:
        CollectionError: It has one with another schema, or an alias of that name.
    """
    shown = collections.describe(target, *name)
    is_there = collections.is_there(target, name, schema_there(entry))
    return is_there and shown is not None and not _is_replaced(shown, entry)


def _is_marked(shown: Any, entry: CollectionEntry) -> bool:
    """Tell whether the mark names a collection, of whatever task."""
    with suppress(msgspec.MsgspecError):
        mark = Mark.of({each.key: each.value for each in shown.properties})
        return mark is not None and mark.collection_id == entry.collection_id
    return False


def _is_replaced(shown: Any, entry: CollectionEntry) -> bool:
    if entry.target_id:
        return bool(shown.collectionID != entry.target_id)
    return entry.marked and PROPERTY not in {each.key for each in shown.properties}


def cause_of(
    error: CdcError, target: Connection, name: FullName, schema: bytes
) -> CdcError:
    """Return why the target refuses what is done to a collection that it was given.

    Its own words hardly say that the collection is gone, or another one: its schema is not
    ``schema``, the source's. Otherwise it is ``error``.
    """
    try:
        found = collections.is_there(target, name, schema)
    except CollectionError as cause:
        return cause
    except CdcError:
        return error
    return error if found else _lost(name)


def _lost(name: FullName) -> CollectionError:
    return CollectionError(
        f"the target does not have {'.'.join(name)} any more, it was dropped or renamed "
        "there: `retry` brings it anew, if the log still holds its beginning, and "
        "`resync` also from the source's files"
    )
