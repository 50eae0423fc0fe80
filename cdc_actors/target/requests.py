"""Operations that the source's clients asked for, asked again at the target.

The replicate channel holds the very request messages; they are sent as they are, without
the source's message header and with the names that the target has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.target import lite
from cdc_actors.target.collections import drop_database, ensure_database

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_actors.changes import Request
    from cdc_actors.target.collections import FullName
    from cdc_actors.target.connection import Connection


def repeat(
    target: Connection, request: Request, database: str, collection: str = ""
) -> None:
    """Ask the target what the source was asked of a database, or of a collection in it.

    ``database`` and ``collection`` are names at the target.

    Raises:
        TransientError: The target is away or overloaded.
        OperatorError: It refuses; an operation repeated after a restart may be refused
            because it is done already; databases are not.
    """
    if request.kind == "CreateDatabase":
        ensure_database(target, database)
    elif request.kind == "DropDatabase":
        drop_database(target, database)
    else:
        message = message_for(request, database, collection)
        if target.is_lite:
            lite.repeat(target, request.kind, message)
        else:
            target.call(request.kind, message, database)


def ask(
    target: Connection, kind: str, there: FullName, wanted: Mapping[str, Any]
) -> None:
    """Ask the target what no client's request in the log asks; ``wanted`` is the rest.

    Raises as ``repeat`` does.
    """
    database, collection = there
    message_class = getattr(milvus_pb2, f"{kind}Request")
    names = {"db_name": database, "collection_name": collection}
    target.call(kind, message_class(**names, **wanted), database)


def message_for(request: Request, database: str, collection: str) -> Any:
    """Return the message that asks the same of other names."""
    message_class = getattr(milvus_pb2, f"{request.kind}Request")
    message = message_class.FromString(request.payload)
    message.ClearField("base")
    message.db_name = database
    if request.kind == "Flush":
        message.collection_names[:] = [collection]
    elif collection:
        message.collection_name = collection
    return message
