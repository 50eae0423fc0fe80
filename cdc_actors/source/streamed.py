"""From a message of a streaming node to a change: the log of Milvus 2.6 and 3.0.

A message has a body and properties. The body of what 2.5 had as well is 2.5's, but says
the time and the shard only provisionally: the properties have them. The node hands
messages on in the order of their times, transactions whole, each of their messages at the
time of its commit (2.6.20: ``pkg/streaming/util/message``, ``internal/streamingnode/
server/wal/adaptor``). So whatever carries no rows is a promise about what came before it.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError
from msgspec import structs
from pymilvus.grpc_gen import msg_pb2

from cdc_actors.changes import (
    BulkImport,
    Delete,
    FlushAsked,
    Insert,
    Tick,
    Unknown,
    Unreplicated,
    collection_of,
)
from cdc_actors.errors import OperatorError, PositionLostError
from cdc_actors.source.decode import decode
from cdc_actors.source.wal.streaming import streaming_pb2
from cdc_actors.source.wal.streaming.dump_reader import DumpedRecord
from cdc_actors.source.wal.streaming.positions import NodeRecord
from cdc_actors.source.wal.tail import SharedRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cdc_actors.changes import Change, Record

KIND, TIME, VCHANNEL, HEADER = "_t", "_tt", "_vc", "_h"
CIPHER, REPLICATED = "_ch", "_rh"
"""Names of properties."""

_CONTROL = "_vcchan"
"""What the name of the control channel ends with. It has a copy of what collections are
told, and what is told nowhere else: indexes, loads, aliases, databases, users, snapshots,
which the catalog shows, be it etcd or the API. So it is not asked for. It is read where a
collection has a shard in the physical channel that it is in, and only there is it noticed
that fields were filled in past the log, which the catalog does not show (3.0: some releases
tell the collection's own channels)."""

_INSERT, _DELETE, _TRUNCATE, _MANIFEST = 2, 3, 38, 42
_CREATE_COLLECTION, _DROP_COLLECTION, _DROP_PARTITION = 5, 6, 8
_FLUSH, _FLUSH_ALL = 9, 37
_IMPORT, _ALTER_WAL, _BEGIN = 11, 700, 900
_OF_THE_LOG = {_INSERT, _DELETE, _CREATE_COLLECTION, _DROP_COLLECTION, _DROP_PARTITION}
_WITHOUT_ROWS = {
    1,
    4,
    7,
    10,
    *range(_IMPORT + 1, _FLUSH_ALL),
    *range(39, 42),
    *range(43, 47),
    800,
    _BEGIN,
    901,
}
"""Ticks, the ends of transactions, and what is about segments, schemas, names, partitions,
indexes, loads, users, imports, snapshots and external collections: the catalog tells of
those."""

_TRUNCATED = "it was truncated at the source, which is not replicated"
_ANEW = "`resync` brings it anew as it has been since"
_ANEW_BY_ETCD = (
    f"give sourceConfig.etcd, then {_ANEW}; its API alone does not say up to when it was "
    "truncated, and the log would lead here again"
)
_FILLED_IN = (
    "fields of its rows were filled in past the log at the source (BatchUpdateManifest), "
    "which is not replicated"
)
_UNREPLICATED: dict[int, tuple[Any, str]] = {
    _TRUNCATE: (streaming_pb2.TruncateHeader, _TRUNCATED),
    _MANIFEST: (streaming_pb2.RowsHeader, _FILLED_IN),
}
"""What a collection does not go beyond: how its header is read, and why."""

_ENCRYPTED = (
    streaming_pb2.RowsHeader,
    "the source encrypts it: its rows cannot be read from the log",
)

_NAMES = {47: "AlterRLSMetadata", 48: "DropRLSMetadata"}
"""Names of what is known of later versions, and is not replicated."""


def decode_record(record: Record) -> Change | Tick:
    """Return what one record of a log says, whichever version wrote it.

    Raises:
        OperatorError: It is none of a Milvus's, or cannot be replicated.
        PositionLostError: The log goes on in another message queue.
    """
    if isinstance(record, SharedRecord):
        return record.change
    if not isinstance(record, NodeRecord):
        return decode(record.payload)
    change = decode_streamed(record.properties, record.payload)
    has_etcd = not isinstance(record, DumpedRecord)
    match change:
        case BulkImport(timestamp=timestamp) if has_etcd:
            # It is there once it is complete.
            return Tick(timestamp)
        case Unreplicated(reason=reason) if reason == _TRUNCATED:
            remedy = _ANEW if has_etcd else _ANEW_BY_ETCD
            return replace(change, reason=f"{reason}: {remedy}")
    return change


def decode_streamed(properties: Mapping[str, str], payload: bytes) -> Change | Tick:
    """Return what one message of a streaming node says.

    A delete and an insert of one transaction have one time: deletes go first.

    Raises:
        OperatorError: It is no message of a streaming node, or one that another Milvus
            wrote.
        PositionLostError: The log goes on in another message queue.
    """
    try:
        kind = int(properties.get(KIND, ""))
        time = int(properties.get(TIME, ""), 36)
    except ValueError as error:
        raise OperatorError(
            f"a record of {len(payload)} bytes has no kind or no time ({error!r}): it is "
            "no message of a Milvus of 2.6 or later"
        ) from error
    if REPLICATED in properties:
        raise OperatorError(
            "the source takes its log from another Milvus (its replication between "
            "clusters): replicate from that one, which has everything first"
        )
    if kind == _ALTER_WAL:
        raise PositionLostError(
            "the source has switched its log to another message queue (AlterWAL): no "
            "position in the old one leads to what was written since"
        )
    return _change(kind, time, properties, payload)


def _change(
    kind: int, time: int, properties: Mapping[str, str], payload: bytes
) -> Change | Tick:
    is_control = properties.get(VCHANNEL, "").endswith(_CONTROL)
    if read := _PAST_THE_ROWS.get(kind):
        return read(time, properties, payload)
    if kind in _WITHOUT_ROWS:
        return Tick(time - 1 if kind == _BEGIN else time)
    if kind not in _OF_THE_LOG and kind not in _UNREPLICATED:
        return Unknown(_NAMES.get(kind, str(kind)), time)
    if is_control and kind != _MANIFEST:
        return Tick(time)
    if found := _unreplicated(kind, properties):
        header, why = found
        return Unreplicated(_collection(properties, header), time, why)
    return _body(time, properties, payload)


def _import(time: int, properties: Mapping[str, str], payload: bytes) -> Change:
    try:
        body = msg_pb2.ImportMsg.FromString(payload)
    except DecodeError as error:
        why = f"a message of an import into it cannot be read from the log ({error})"
        return Unreplicated(collection_of(properties.get(VCHANNEL, "")), time, why)
    return BulkImport(body.collectionID, time, body.jobID)


def _flush(time: int, properties: Mapping[str, str], _payload: bytes) -> Change:
    return FlushAsked(_collection(properties, streaming_pb2.RowsHeader), time)


def _flush_all(time: int, *_: object) -> Change:
    return FlushAsked(0, time)


_PAST_THE_ROWS: dict[int, Callable[[int, Mapping[str, str], bytes], Change]] = {
    _IMPORT: _import,
    _FLUSH: _flush,
    _FLUSH_ALL: _flush_all,
}
"""What is told of collections beside their rows, on their channels."""


def _body(time: int, properties: Mapping[str, str], payload: bytes) -> Change | Tick:
    try:
        body = decode(payload)
    except OperatorError as error:
        why = f"a message to it cannot be read from the log ({error.__cause__})"
        header = streaming_pb2.RowsHeader
        return Unreplicated(_collection(properties, header), time, why)
    if isinstance(body, (Insert, Delete)):
        return structs.replace(body, timestamp=time, shard=properties.get(VCHANNEL, ""))
    return replace(body, timestamp=time)


def _unreplicated(kind: int, properties: Mapping[str, str]) -> tuple[Any, str] | None:
    if CIPHER in properties and kind not in _UNREPLICATED:
        return _ENCRYPTED
    return _UNREPLICATED.get(kind)


def _collection(properties: Mapping[str, str], header_class: Any) -> int:
    """Return the collection that a message is about."""
    try:
        header = base64.b64decode(properties.get(HEADER, ""), validate=True)
        return int(header_class.FromString(header).collection_id)
    except (binascii.Error, DecodeError) as error:
        raise OperatorError(f"a message's header cannot be read: {error}") from error
