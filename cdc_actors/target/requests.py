"""Operations that the source's clients asked for, asked again at the target.

The replicate channel holds the very request messages; they are sent as they are, without
the source's message header and with the names that the target has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.target import lite

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_actors.changes import Request
    from cdc_actors.target.collections import FullName
    from cdc_actors.target.connection import Connection


def repeat(target: Connection, request: Request, there: FullName) -> None:
    """Ask the target what the source was asked of a collection; ``there`` is its name.

    Raises:
        TransientError: The target is away or overloaded.
        OperatorError: It refuses; an operation repeated after a restart may be refused
            because it is done already.
    """
    _send(target, request.kind, message_for(request, *there))


def ask(
    target: Connection, kind: str, there: FullName, wanted: Mapping[str, Any]
) -> None:
    """Ask the target what no client's request in the log asks; ``wanted`` is the rest.

    Raises as ``repeat`` does.
    """
    database, collection = there
    message_class = getattr(milvus_pb2, f"{kind}Request")
    names = {"db_name": database, "collection_name": collection}
    _send(target, kind, message_class(**names, **wanted))


def _send(target: Connection, kind: str, message: Any) -> None:
    if target.is_lite:
        lite.send(target, kind, message)
    else:
        target.call(kind, message, message.db_name)


def message_for(request: Request, database: str, collection: str) -> Any:
    """Return the message that asks the same of other names."""
    message_class = getattr(milvus_pb2, f"{request.kind}Request")
    message = message_class.FromString(request.payload)
    message.ClearField("base")
    message.db_name = database
    if request.kind == "Flush":
        message.collection_names[:] = [collection]
    else:
        message.collection_name = collection
    return message
