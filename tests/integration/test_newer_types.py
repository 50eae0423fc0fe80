"""Rows as sources newer than 2.3 write them, at a real target: nulls, sparse vectors."""

from __future__ import annotations

import struct
from contextlib import closing
from typing import TYPE_CHECKING, Any

from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.changes import Batch, Definition, Insert, Rows
from cdc_actors.target.collections import create_collection
from cdc_actors.target.connection import Connection
from cdc_actors.target.rows import RowWriter

if TYPE_CHECKING:
    from cdc_actors.embedded.lite import EmbeddedLite

NULLABLE = {
    "text": (schema_pb2.VarChar, "string_data", lambda key: f"text {key}", ""),
    "number": (schema_pb2.Int64, "long_data", lambda key: key, 0),
    "json": (schema_pb2.JSON, "json_data", lambda key: b'{"a":%d}' % key, b""),
}


def schema() -> schema_pb2.CollectionSchema:
    """Return a schema with a key, nullable fields, a dense and a sparse vector."""
    made = schema_pb2.CollectionSchema(name="newer")
    made.fields.add(
        fieldID=100, name="id", is_primary_key=True, data_type=DataType.INT64
    )
    for number, (name, (kind, *_)) in enumerate(NULLABLE.items(), 101):
        field = made.fields.add(
            fieldID=number, name=name, data_type=kind, nullable=True
        )
        if kind == schema_pb2.VarChar:
            field.type_params.add(key="max_length", value="20")
    dense = made.fields.add(fieldID=110, name="v", data_type=DataType.FLOAT_VECTOR)
    dense.type_params.add(key="dim", value="2")
    made.fields.add(fieldID=111, name="s", data_type=DataType.SPARSE_FLOAT_VECTOR)
    return made


def is_null(key: int) -> bool:
    """Tell whether a row's nullable fields are null: those of odd keys."""
    return key % 2 == 1


def columns(keys: list[int]) -> list[schema_pb2.FieldData]:
    """Return the columns of rows as Milvus 2.5 has them in its log."""
    ids = schema_pb2.FieldData(field_id=100, field_name="id", type=schema_pb2.Int64)
    ids.scalars.long_data.data.extend(keys)
    found = [ids]
    for number, (name, (kind, data, value, filler)) in enumerate(NULLABLE.items(), 101):
        field = schema_pb2.FieldData(field_id=number, field_name=name, type=kind)
        values: list[Any] = [filler if is_null(key) else value(key) for key in keys]
        getattr(field.scalars, data).data.extend(values)
        field.valid_data.extend(not is_null(key) for key in keys)
        found.append(field)
    dense = schema_pb2.FieldData(field_id=110, field_name="v", type=101)
    dense.vectors.dim = 2
    dense.vectors.float_vector.data.extend(x for key in keys for x in (key, 0.5))
    sparse = schema_pb2.FieldData(field_id=111, field_name="s", type=104)
    contents = [struct.pack("<If", key, 1.5) for key in keys]
    sparse.vectors.sparse_float_vector.contents.extend(contents)
    sparse.vectors.sparse_float_vector.dim = sparse.vectors.dim = max(keys) + 1
    return [*found, dense, sparse]


def insert(keys: list[int]) -> Insert:
    """Return an insert of these keys."""
    made = tuple(column.SerializeToString() for column in columns(keys))
    return Insert(1, "dml_0_1v0", "_default", 1, len(keys), made, size=0)


def test_nulls_and_sparse_vectors_arrive(
    target_lite: EmbeddedLite, lite: MilvusClient
) -> None:
    """Nulls stay nulls, values values, joined and chosen from or not."""
    serialized = schema().SerializeToString()
    definition = Definition(
        database="default",
        name="newer",
        schema=serialized,
        shards=1,
        consistency_level=0,
        properties={},
        partitions=("_default",),
    )
    rows = (Rows(insert([1, 2, 3]), None), Rows(insert([4, 5, 6]), (0, 2)))
    with closing(Connection(target_lite.uri, "")) as target:
        create_collection(target, definition, lambda: None)
        assert create_collection(target, definition, lambda: None), (
            "the same schema is the same"
        )
        writer = RowWriter(target, "default", "newer", serialized)
        writer.write(Batch(deletes={}, inserts=rows), lambda: None)
        writer.drain()
    indexes = lite.prepare_index_params()
    indexes.add_index("s", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    indexes.add_index("v", index_type="FLAT", metric_type="L2")
    lite.create_index("newer", indexes)
    lite.load_collection("newer")
    found = lite.query("newer", filter="id > 0", output_fields=["*"])
    assert sorted(found, key=lambda row: row["id"]) == [
        {
            "id": key,
            "text": None if is_null(key) else f"text {key}",
            "number": None if is_null(key) else key,
            "json": None if is_null(key) else {"a": key},
            "v": [key, 0.5],
            "s": {key: 1.5},
        }
        for key in (1, 2, 3, 4, 6)
    ]
