"""Requests of the source's clients, forwarded to the target.

The replicate channel holds the very request messages; they are sent as they are, without
the source's message header and with the names that the target has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.errors import OperationRefusedError, UnclearAnswerError
from cdc_actors.target import lite
from cdc_actors.target.collections import partitions
from cdc_actors.target.indexes import is_done
from cdc_actors.target.loads import LOADS, load_with_less
from cdc_actors.target.skipping import is_skipped, without

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cdc_actors.changes import FullName, Request
    from cdc_actors.target.connection import Connection


FLUSH = "Flush"


def forward(
    target: Connection,
    request: Request,
    target_name: FullName,
    field: str = "",
    skipped: Collection[str] = (),
) -> str:
    """Forward a client's request to the collection that the target calls ``target_name``.

    ``field`` is that of the index which the request names, if it does and it is known; the
    target has none of the fields that are ``skipped``.

    Returns what was done without, of what was asked, and why; "" if nothing.

    Raises:
        TransientError: The target is away, or answers that it cannot do it for now.
        OperationRefusedError: It refuses; an operation repeated after a restart may be
            refused because it is done already.
    """
    message = message_for(request, *target_name, field)
    return _send(target, request.kind, message, skipped)


def issue(
    target: Connection,
    kind: str,
    target_name: FullName,
    arguments: Mapping[str, Any],
    skipped: Collection[str] = (),
) -> str:
    """Issue a request of our own: one that the catalog shows and the log does not have.

    ``arguments`` are its members beside the names, ``skipped`` as in ``forward``.

    Returns and raises as ``forward`` does.
    """
    database, collection = target_name
    message_class = getattr(milvus_pb2, f"{kind}Request")
    names = {"db_name": database, "collection_name": collection}
    return _send(target, kind, message_class(**names, **arguments), skipped)


def _send(target: Connection, kind: str, message: Any, skipped: Collection[str]) -> str:
    left_out = _leave_out(message, skipped) if kind in LOADS else ""
    reduced = _send_whole(target, kind, message)
    return "; ".join(filter(None, (left_out, reduced)))


def _leave_out(load: Any, skipped: Collection[str]) -> str:
    """Have a load ask for none of some fields; return what is said of it."""
    gone = [each for each in load.load_fields if is_skipped(each, skipped)]
    load.load_fields[:] = [each for each in load.load_fields if each not in gone]
    return without(gone) if gone else ""


def _send_whole(target: Connection, kind: str, message: Any) -> str:
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


def index_of(request: Request) -> str:
    """Return the name of the index that is altered or dropped, if that is all it says.

    So clients say it; "" if it says the field as well, or is about no index.
    """
    if request.kind not in {"AlterIndex", "DropIndex"}:
        return ""
    message = message_for(request, "", "")
    return "" if getattr(message, "field_name", "") else str(message.index_name)


def parts_of(request: Request, field: str) -> dict[str, Any]:
    """Return which field or partitions of its collection a request is about, if any.

    ``field`` is as in ``forward``.
    """
    message = message_for(request, "", "")
    field = field or getattr(message, "field_name", "")
    names = list(getattr(message, "partition_names", ()))
    asked = {"field_name": field, "partition_names": names}
    return {name: value for name, value in asked.items() if value}


def message_for(
    request: Request, database: str, collection: str, field: str = ""
) -> Any:
    """Return the message that asks the same of other names.

    A drop of an index names the ``field``, too, if that is known: Milvus Lite knows indexes
    by their fields alone.
    """
    message_class = getattr(milvus_pb2, f"{request.kind}Request")
    message = message_class.FromString(request.payload)
    message.ClearField("base")
    message.db_name = database
    if request.kind == FLUSH:
        message.collection_names[:] = [collection]
    else:
        message.collection_name = collection
    if request.kind == "DropIndex":
        message.field_name = message.field_name or field
    return message
