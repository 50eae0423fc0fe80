"""What a bug report needs of the source: schemas, and what its log says; never values."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import schema_pb2

from cdc_actors.changes import Delete, Insert, Tick
from cdc_actors.errors import CdcError
from cdc_actors.source.catalog_choice import open_catalog
from cdc_actors.source.streamed import decode_record
from cdc_actors.source.wal.streaming.positions import NodeRecord
from cdc_actors.source.wal_choice import open_wal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cdc_actors.changes import Checkpoint, Record
    from cdc_actors.config import SourceConfig
    from cdc_actors.source.catalog.model import CollectionMeta

RECORDS = 50
"""How many records of each channel are told of, behind a task's checkpoint."""

_READ_SECONDS = 3.0


def catalog(source: SourceConfig) -> dict[str, Any]:
    """Return what the catalog says of the source and of each collection, by its id.

    Raises:
        CdcError: It cannot be reached, or read.
    """
    with closing(open_catalog(source)) as opened:
        version, found = opened.version(), opened.snapshot()
    return {
        "version": ".".join(map(str, version)),
        "databases": list(found.databases.values()),
        "collections": {
            number: _collection(each) for number, each in found.collections.items()
        },
    }


def log(source: SourceConfig, stands: Mapping[str, Checkpoint]) -> dict[str, Any]:
    """Return what the first records say of each channel, from where a task stands on.

    Ticks are only counted. Raises as ``catalog`` does.
    """
    ticks = dict.fromkeys(stands, 0)
    told: dict[str, list[Any]] = {channel: [] for channel in stands}
    with open_wal(source) as reader:
        for channel, at in stands.items():
            reader.subscribe(channel, at.position, inclusive=at.inclusive)
        end = time.monotonic() + _READ_SECONDS
        while (left := end - time.monotonic()) > 0:
            for record in reader.poll(left):
                said = _said(record)
                if said["says"] == Tick.__name__:
                    ticks[record.channel] += 1
                elif len(told[record.channel]) < RECORDS:
                    told[record.channel].append(said)
    return {each: {"ticks": ticks[each], "records": told[each]} for each in stands}


def _collection(meta: CollectionMeta) -> dict[str, Any]:
    schema = schema_pb2.CollectionSchema.FromString(meta.schema)
    return {
        "name": f"{meta.database}.{meta.name}",
        "created": meta.created,
        "altered": meta.altered,
        "available": meta.available,
        "shards": meta.shards,
        "begins": {at: each.hex() for at, each in meta.start_positions.items()},
        "properties": meta.properties,
        "partitions": len(meta.partitions),
        "dynamic": schema.enable_dynamic_field,
        "fields": [_field(each) for each in schema.fields],
        "structs": {
            each.name: [_field(field) for field in each.fields]
            for each in schema.struct_array_fields
        },
        "functions": [_function(each) for each in schema.functions],
    }


def _field(field: Any) -> dict[str, Any]:
    flags = ("is_primary_key", "is_partition_key", "autoID", "nullable", "is_dynamic")
    return {
        "name": field.name,
        "id": field.fieldID,
        "type": _type(field.data_type),
        "of": _type(field.element_type),
        "is": [each for each in flags if getattr(field, each)],
        "has_default": field.HasField("default_value"),
        "params": _params(field.type_params),
    }


def _function(function: Any) -> dict[str, Any]:
    return {
        "name": function.name,
        "type": function.type,
        "from": list(function.input_field_names),
        "to": list(function.output_field_names),
        "params": _params(function.params),
    }


def _params(pairs: Iterable[Any]) -> dict[str, str]:
    return {each.key: each.value for each in pairs}


def _type(number: int) -> str:
    known = schema_pb2.DataType.DESCRIPTOR.values_by_number.get(number)
    return known.name if known else str(number)


def _said(record: Record) -> dict[str, Any]:
    """Return what one record says; what Milvus calls its properties has no row in it."""
    said: dict[str, Any] = {
        "position": record.position.text,
        "bytes": len(record.payload),
    }
    if isinstance(record, NodeRecord):
        said["properties"] = dict(record.properties)
    try:
        change = decode_record(record)
    except CdcError as error:
        return said | {"says": "an error", "error": str(error)}
    said |= {"says": type(change).__name__, "timestamp": change.timestamp}
    match change:
        case Insert():
            said |= {"rows": change.rows, "columns": list(map(_column, change.columns))}
        case Delete():
            said["keys"] = len(change.keys)
    return said | _told(change)


def _told(change: Any) -> dict[str, Any]:
    """Return what else a change is about, by the names that it has for that."""
    names = ("collection", "shard", "partition", "kind", "reason")
    return {each: getattr(change, each) for each in names if hasattr(change, each)}


def _column(column: bytes) -> dict[str, Any]:
    found = schema_pb2.FieldData.FromString(column)
    data = found.WhichOneof("field")
    if data in {"scalars", "vectors"}:
        data = getattr(found, data).WhichOneof("data")
    return {
        "name": found.field_name,
        "id": found.field_id,
        "type": _type(found.type),
        "data": data,
        "bytes": len(column),
        "valid": f"{sum(found.valid_data)} of {len(found.valid_data)}",
    }
