"""Requests of the source's clients, forwarded to the target.

The replicate channel holds the very request messages; they are sent as they are, without
the source's message header and with the names that the target has.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.errors import OperationRefusedError, UnclearAnswerError
from cdc_actors.target import lite
from cdc_actors.target.collections import partitions
from cdc_actors.target.indexes import is_done
from cdc_actors.target.loads import LOADS, load_with_less

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cdc_actors.changes import FullName, Request
    from cdc_actors.target.connection import Connection


FLUSH = "Flush"


def forward(target: Connection, request: Request, target_name: FullName) -> str:
    """Forward a client's request to the collection that the target calls ``target_name``.

    Returns what was done without, of what was asked, and why; "" if nothing.

    Raises:
        TransientError: The target is away, or answers that it cannot do it for now.
        OperationRefusedError: It refuses; an operation repeated after a restart may be
            refused because it is done already.
    """
    return _send(target, request.kind, message_for(request, *target_name))


def issue(
    target: Connection, kind: str, target_name: FullName, arguments: Mapping[str, Any]
) -> str:
    """Issue a request of our own: one that the catalog shows and the log does not have.

    ``arguments`` are its members beside the names.

    Returns and raises as ``forward`` does.
    """
    database, collection = target_name
    message_class = getattr(milvus_pb2, f"{kind}Request")
    names = {"db_name": database, "collection_name": collection}
    return _send(target, kind, message_class(**names, **arguments))


def _send(target: Connection, kind: str, message: Any) -> str:
    try:
        if target.is_lite:
            lite.send(target, kind, message)
        else:
            target.call(kind, message, message.db_name)
    except (OperationRefusedError, UnclearAnswerError) as refusal:
        if is_done(target, kind, message) or _is_released(target, kind, message):
            return ""
        if kind in LOADS and isinstance(refusal, OperationRefusedError):
            return load_with_less(target, kind, message, refusal)
        raise
    return ""


def _is_released(target: Connection, kind: str, message: Any) -> bool:
    """Tell whether none of the partitions that were to be released is there any more.

    The log's drop of one may come before what the catalog shows of it.
    """
    if kind != "ReleasePartitions":
        return False
    there = partitions(target, message.db_name, message.collection_name)
    return there.isdisjoint(message.partition_names)


def with_field(request: Request, field_of: Callable[[str, int], str]) -> Request:
    """Return the request; if it drops an index, then with the field of that.

    ``field_of`` finds the field of an index by name and time. Clients name the index alone,
    and Milvus Lite knows indexes by their fields alone.
    """
    if request.kind != "DropIndex":
        return request
    message = milvus_pb2.DropIndexRequest.FromString(request.payload)
    message.field_name = message.field_name or field_of(
        message.index_name, request.timestamp
    )
    return replace(request, payload=message.SerializeToString())


def parts_of(request: Request) -> dict[str, Any]:
    """Return which field or partitions of its collection a request is about, if any."""
    message = message_for(request, "", "")
    field = getattr(message, "field_name", "")
    names = list(getattr(message, "partition_names", ()))
    asked = {"field_name": field, "partition_names": names}
    return {name: value for name, value in asked.items() if value}


def message_for(request: Request, database: str, collection: str) -> Any:
    """Return the message that asks the same of other names."""
    message_class = getattr(milvus_pb2, f"{request.kind}Request")
    message = message_class.FromString(request.payload)
    message.ClearField("base")
    message.db_name = database
    if request.kind == FLUSH:
        message.collection_names[:] = [collection]
    else:
        message.collection_name = collection
    return message
