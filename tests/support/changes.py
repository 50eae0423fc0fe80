"""Short ways to make changes for tests of what must happen to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pymilvus.grpc_gen import schema_pb2

from cdc_actors.changes import Delete, Insert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdc_actors.changes import Key, Position

KEY_FIELD = 100


class At(NamedTuple):
    """All that an order asks a record for."""

    position: Position


def key_column(keys: Sequence[Key]) -> bytes:
    """Return a serialized column of primary keys."""
    field = schema_pb2.FieldData(field_name="id", field_id=KEY_FIELD)
    if keys and isinstance(keys[0], str):
        field.type = schema_pb2.VarChar
        field.scalars.string_data.data.extend(keys)
    else:
        field.type = schema_pb2.Int64
        field.scalars.long_data.data.extend(keys)
    return field.SerializeToString()


def key_schema() -> bytes:
    """Return the schema of a collection that has only a key."""
    made = schema_pb2.CollectionSchema()
    made.fields.add(
        fieldID=KEY_FIELD, name="id", is_primary_key=True, data_type=schema_pb2.Int64
    )
    return made.SerializeToString()


def insert(
    timestamp: int,
    keys: Sequence[Key] = (1,),
    *,
    collection: int = 1,
    partition: str = "_default",
) -> Insert:
    """Return an insert of rows that have only a key."""
    column = key_column(keys)
    return Insert(
        collection=collection,
        shard="dml_0_1v0",
        partition=partition,
        timestamp=timestamp,
        rows=len(keys),
        columns=(column,),
        size=len(column),
    )


def delete(
    timestamp: int,
    keys: Sequence[Key] = (1,),
    *,
    collection: int = 1,
    partition: str = "",
) -> Delete:
    """Return a delete, from all partitions unless one is named."""
    return Delete(collection, "dml_0_1v0", partition, timestamp, tuple(keys))
