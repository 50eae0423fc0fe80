"""What became of a collection at the target that is not there as it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.errors import CdcError, CollectionError, OperationRefusedError
from cdc_actors.target import collections

if TYPE_CHECKING:
    from cdc_actors.changes import FullName
    from cdc_actors.target.connection import Connection


def refuse_lost(target: Connection, name: FullName) -> None:
    """Raise CollectionError if the target has no collection of that name any more."""
    if collections.describe(target, *name) is None:
        raise _lost(name)


def is_another(target: Connection, name: FullName, schema: bytes) -> bool:
    """Tell whether what the target has by that name cannot be the source's collection."""
    try:
        collections.is_there(target, name, schema)
    except OperationRefusedError:
        raise
    except CollectionError:
        return True
    return False


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
        "there: `retry` brings it anew, if the log still holds its beginning"
    )
