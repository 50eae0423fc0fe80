"""From the bytes of a log record to a change.

The rules of Milvus's messages that matter here (seen on 2.3.5):

- ``base`` is field 1 of every message, whatever its kind.
- The insert half of an upsert has ``base.timestamp`` 0: the row timestamps are the truth.
- A delete from all partitions has an empty partition name.
- Messages carry the collection's name at the time of writing: its id is its identity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError
from pymilvus.grpc_gen import common_pb2, milvus_pb2, msg_pb2

from cdc_actors.changes import (
    DEFAULT_DATABASE,
    Change,
    CreateCollection,
    Delete,
    DropCollection,
    DropPartition,
    Insert,
    Request,
    Tick,
    Unknown,
)
from cdc_actors.errors import OperatorError
from cdc_actors.field_data import varint
from cdc_actors.source import messages_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

REQUEST_KINDS = (
    "CreateIndex",
    "AlterIndex",
    "DropIndex",
    "LoadCollection",
    "ReleaseCollection",
    "LoadPartitions",
    "ReleasePartitions",
    "Flush",
)


def decode(payload: bytes) -> Change | Tick:
    """Return what one record of the log says.

    Raises:
        OperatorError: The bytes are no message of Milvus's log.
    """
    try:
        return (_DECODERS_BY_HEAD.get(payload[_HEAD]) or _decoder(payload))(payload)
    except DecodeError as error:
        raise OperatorError(
            f"a record of {len(payload)} bytes is no Milvus message ({error}): is the "
            "message queue the source's own?"
        ) from error


def _decoder(payload: bytes) -> Callable[[bytes], Change | Tick]:
    base = messages_pb2.Header.FromString(payload).base
    return _DECODERS.get(base.msg_type, _unknown)


def _tick(payload: bytes) -> Tick:
    return Tick(msg_pb2.TimeTickMsg.FromString(payload).base.timestamp)


def _insert(payload: bytes) -> Insert:
    message = messages_pb2.Insert.FromString(payload)
    times = message.timestamps
    return Insert(
        message.collection_id,
        message.shard_name,
        message.partition_name,
        times[0],
        message.num_rows or len(times),
        tuple(message.fields_data),
        len(payload),
    )


def _delete(payload: bytes) -> Delete:
    message = msg_pb2.DeleteRequest.FromString(payload)
    ids = message.primary_keys
    keys = ids.str_id.data if ids.HasField("str_id") else ids.int_id.data
    return Delete(
        collection=message.collectionID,
        shard=message.shardName,
        partition=message.partition_name,
        timestamp=message.timestamps[0] if message.timestamps else _stamp(message),
        keys=tuple(keys or message.int64_primary_keys),
    )


def _create_collection(payload: bytes) -> CreateCollection:
    message = msg_pb2.CreateCollectionRequest.FromString(payload)
    return CreateCollection(
        collection=message.collectionID,
        timestamp=_stamp(message),
        shards=tuple(message.virtualChannelNames),
    )


def _drop_collection(payload: bytes) -> DropCollection:
    message = msg_pb2.DropCollectionRequest.FromString(payload)
    return DropCollection(
        collection=message.collectionID,
        timestamp=_stamp(message),
        name=message.collectionName,
    )


def _drop_partition(payload: bytes) -> DropPartition:
    message = msg_pb2.DropPartitionRequest.FromString(payload)
    return DropPartition(
        collection=message.collectionID,
        timestamp=_stamp(message),
        partition=message.partition_name,
        partition_id=message.partitionID,
    )


def _request(kind: str) -> Callable[[bytes], Request]:
    message_class = getattr(milvus_pb2, f"{kind}Request")

    def decode_request(payload: bytes) -> Request:
        message = message_class.FromString(payload)
        name = getattr(message, "collection_name", "")
        return Request(
            kind=kind,
            timestamp=_stamp(message),
            database=message.db_name or DEFAULT_DATABASE,
            collections=tuple(getattr(message, "collection_names", ())) or (name,),
            payload=payload,
        )

    return decode_request


def _unknown(payload: bytes) -> Unknown:
    base = messages_pb2.Header.FromString(payload).base
    names = common_pb2.MsgType.DESCRIPTOR.values_by_number
    known = names.get(base.msg_type)
    return Unknown(
        kind=known.name if known else str(base.msg_type), timestamp=base.timestamp
    )


def _stamp(message: Any) -> int:
    """Return when it happened; a replicated source says so in ``replicateInfo``."""
    return int(message.base.timestamp or message.base.replicateInfo.msgTimestamp)


_DECODERS: dict[int, Callable[[bytes], Change | Tick]] = {
    common_pb2.MsgType.Value("TimeTick"): _tick,
    common_pb2.MsgType.Value("Insert"): _insert,
    common_pb2.MsgType.Value("Delete"): _delete,
    common_pb2.MsgType.Value("CreateCollection"): _create_collection,
    common_pb2.MsgType.Value("DropCollection"): _drop_collection,
    common_pb2.MsgType.Value("DropPartition"): _drop_partition,
    **{common_pb2.MsgType.Value(kind): _request(kind) for kind in REQUEST_KINDS},
}

_DECODERS_BY_HEAD = {b"\x08" + varint(kind): each for kind, each in _DECODERS.items()}
"""By how ``base`` begins, behind its own length, where that and the kind are of the usual
one and two bytes: Milvus writes the fields of a message in their order."""

_HEAD = slice(2, 5)
