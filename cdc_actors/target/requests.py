"""Operations that the source's clients asked for, asked again at the target.

The replicate channel holds the very request messages; they are sent as they are, without
the source's message header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.target.collections import ensure_database

if TYPE_CHECKING:
    from cdc_actors.changes import Request
    from cdc_actors.target.connection import Connection


def repeat(target: Connection, request: Request, collection: str) -> None:
    """Ask the target what the source was asked of ``collection``.

    Raises:
        TransientError: The target is away or overloaded.
        OperatorError: It refuses; an operation repeated after a restart may be refused
            because it is done already.
    """
    if request.kind == "CreateDatabase":
        ensure_database(target, request.database)
        return
    message_class = getattr(milvus_pb2, f"{request.kind}Request")
    message = message_class.FromString(request.payload)
    message.ClearField("base")
    if request.kind == "Flush":
        del message.collection_names[:]
        message.collection_names.append(collection)
    target.call(request.kind, message, request.database)
