"""Collections of the target get other names."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.errors import OperationRefusedError
from cdc_actors.target.aliases import drop_alias
from cdc_actors.target.collections import describe
from cdc_actors.target.databases import ensure_database
from cdc_actors.target.loads import load_and_check
from cdc_actors.target.outcomes import done_if

if TYPE_CHECKING:
    from cdc_actors.changes import FullName
    from cdc_actors.target.connection import Connection


def rename_collection(
    target: Connection, old: FullName, new: FullName, *, loaded: bool
) -> str:
    """Rename the collection unless that is done already.

    Returns what it was done without, "" if nothing.

    Milvus Lite lets go of a collection that it renames; one that was ``loaded`` is again.

    Raises:
        OperationRefusedError: The target refuses, or cannot move it into another database.
    """
    if old == new:
        return ""
    reduced = ""
    if target.is_lite and old[0] != new[0]:
        # It would rename it within its database, and call that a success.
        raise OperationRefusedError("Milvus Lite cannot rename into another database")
    if not _is_renamed(target, old, new):
        ensure_database(target, new[0])
        request = milvus_pb2.RenameCollectionRequest(
            db_name=old[0], oldName=old[1], newName=new[1], newDBName=new[0]
        )
        # Milvus Lite (3.2.2) fails where two requests write its aliases at once.
        with target.alias_lock, done_if(lambda: _is_renamed(target, old, new)):
            reduced = _rename(target, request)
    if target.is_lite and loaded:
        load_and_check(target, *new)
    return reduced


def check_permission(target: Connection, absent: FullName, there: FullName) -> None:
    """See that the task's user may rename; nothing comes of it, as the names say.

    A Milvus looks at rights first. Milvus Lite has no users.

    Raises:
        AccessRefusedError: It may not.
    """
    if target.is_lite:
        return
    request = milvus_pb2.RenameCollectionRequest(
        db_name=absent[0], oldName=absent[1], newName=there[1], newDBName=there[0]
    )
    with suppress(OperationRefusedError):
        target.call("RenameCollection", request, absent[0])


def _rename(target: Connection, request: Any) -> str:
    """Milvus from 2.6 on moves a collection to another database only without aliases."""
    database, name = request.db_name, request.oldName
    try:
        target.call("RenameCollection", request, database)
    except OperationRefusedError as refusal:
        found = describe(target, database, name)
        if found is None or not found.aliases or request.newDBName == database:
            raise
        for alias in found.aliases:
            drop_alias(target, database, alias)
        target.call("RenameCollection", request, database)
        return f"without its aliases {', '.join(found.aliases)}: {refusal}"
    return ""


def _is_renamed(target: Connection, old: FullName, new: FullName) -> bool:
    return describe(target, *old) is None and describe(target, *new) is not None
