"""Collections and rows as sources newer than 2.3 have them, at a real target."""

from __future__ import annotations

import struct
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.changes import Batch, Definition, Insert, Rows
from cdc_actors.errors import OperatorError
from cdc_actors.target.collections import create_collection
from cdc_actors.target.connection import Connection
from cdc_actors.target.rows import RowWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

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


def defined(name: str, serialized: bytes) -> Definition:
    """Return a collection of the database ``default`` with this schema."""
    return Definition(
        database="default",
        name=name,
        schema=serialized,
        shards=1,
        consistency_level=0,
        properties={},
        partitions=("_default",),
    )


def test_nulls_and_sparse_vectors_arrive(
    target_lite: EmbeddedLite, lite: MilvusClient
) -> None:
    """Nulls stay nulls, values values, joined and chosen from or not."""
    serialized = schema().SerializeToString()
    definition = defined("newer", serialized)
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
    lite.create_index("newer", indexes, sync=False)
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


def defaulted() -> tuple[bytes, Insert]:
    """Return a schema whose number has a default value, and rows as the log has them."""
    made = schema_pb2.CollectionSchema(name="newer")
    made.fields.add(
        fieldID=100, name="id", is_primary_key=True, data_type=DataType.INT64
    )
    number = made.fields.add(fieldID=101, name="n", data_type=DataType.INT64)
    number.default_value.long_data = 7
    dense = made.fields.add(fieldID=110, name="v", data_type=DataType.FLOAT_VECTOR)
    dense.type_params.add(key="dim", value="2")
    keys = [1, 2, 3]
    id_column, *_, vectors, _ = columns(keys)
    values = schema_pb2.FieldData(field_id=101, field_name="n", type=schema_pb2.Int64)
    values.scalars.long_data.data.extend([10, 7, 30])
    written = tuple(c.SerializeToString() for c in (id_column, values, vectors))
    rows = Insert(1, "dml_0_1v0", "_default", 1, len(keys), written, size=0)
    return made.SerializeToString(), rows


def test_default_values_arrive(
    target: EmbeddedMilvus | EmbeddedLite, emptied: Callable[..., MilvusClient]
) -> None:
    """A target that asks for no flags of validity takes rows that have them."""
    client = emptied(target)
    serialized, rows = defaulted()
    with closing(Connection(target.uri, "")) as connection:
        create_collection(connection, defined("newer", serialized), lambda: None)
        writer = RowWriter(connection, "default", "newer", serialized)
        parts = Rows(rows, range(2)), Rows(rows, range(2, 3))
        writer.write(Batch({}, parts), lambda: None)
        writer.drain()
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_index("newer", indexes, sync=False)
    client.load_collection("newer")
    found = client.query(
        "newer", "id > 0", output_fields=["n"], consistency_level="Strong"
    )
    client.close()
    assert {row["id"]: row["n"] for row in found} == {1: 10, 2: 7, 3: 30}


def searched(kind: int, output: int) -> schema_pb2.CollectionSchema:
    """Return the schema of texts, with what a function makes of them."""
    made = schema_pb2.CollectionSchema(name="texts")
    made.fields.add(
        fieldID=100, name="id", is_primary_key=True, data_type=DataType.INT64
    )
    text = made.fields.add(fieldID=101, name="text", data_type=DataType.VARCHAR)
    text.type_params.add(key="max_length", value="200")
    text.type_params.add(key="enable_analyzer", value="true")
    vector = made.fields.add(
        fieldID=102, name="made", data_type=output, is_function_output=True
    )
    if output == DataType.FLOAT_VECTOR:
        vector.type_params.add(key="dim", value="2")
    made.functions.add(
        name="of_text",
        id=1000,
        type=kind,
        input_field_names=["text"],
        input_field_ids=[101],
        output_field_names=["made"],
        output_field_ids=[102],
    )
    return made


def texts(words: dict[int, str]) -> Insert:
    """Return an insert of these texts, with a column that the function made."""
    ids = schema_pb2.FieldData(field_id=100, field_name="id", type=schema_pb2.Int64)
    ids.scalars.long_data.data.extend(words)
    text = schema_pb2.FieldData(
        field_id=101, field_name="text", type=schema_pb2.VarChar
    )
    text.scalars.string_data.data.extend(words.values())
    made = schema_pb2.FieldData(field_id=102, field_name="made", type=104)
    contents = [struct.pack("<If", 7, 1.5)] * len(words)
    made.vectors.sparse_float_vector.contents.extend(contents)
    columns = tuple(each.SerializeToString() for each in (ids, text, made))
    return Insert(1, "dml_0_1v0", "_default", 1, len(words), columns, size=0)


def test_full_text_search_at_the_target(
    target_lite: EmbeddedLite, lite: MilvusClient
) -> None:
    """The target has the BM25 function, and makes the sparse vectors of the rows itself."""
    serialized = searched(schema_pb2.BM25, DataType.SPARSE_FLOAT_VECTOR)
    definition = defined("texts", serialized.SerializeToString())
    rows = Rows(texts({1: "a red fox", 2: "a blue whale", 3: "the fox, the fox"}))
    with closing(Connection(target_lite.uri, "")) as target:
        create_collection(target, definition, lambda: None)
        assert create_collection(target, definition, lambda: None), (
            "the same schema is the same"
        )
        writer = RowWriter(target, "default", "texts", definition.schema)
        writer.write(Batch(deletes={}, inserts=(rows,)), lambda: None)
        writer.drain()
        serialized.functions[0].output_field_names[:] = ["other"]
        changed = defined("texts", serialized.SerializeToString())
        with pytest.raises(
            OperatorError, match="function of_text: source BM25 of text"
        ):
            create_collection(target, changed, lambda: None)
    indexes = lite.prepare_index_params()
    indexes.add_index("made", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    lite.create_index("texts", indexes, sync=False)
    lite.load_collection("texts")
    found = lite.search("texts", ["fox"], anns_field="made", limit=3)
    assert [each["id"] for each in found[0]] == [3, 1]


def test_a_target_without_functions(
    target_milvus: EmbeddedMilvus, milvus: MilvusClient
) -> None:
    """Milvus 2.3 would create the collection without its function: it is refused."""
    serialized = searched(schema_pb2.TextEmbedding, DataType.FLOAT_VECTOR)
    definition = defined("texts", serialized.SerializeToString())
    with (
        closing(Connection(target_milvus.uri, "")) as target,
        pytest.raises(OperatorError, match=r"knows no functions.*from 2\.6 on"),
    ):
        create_collection(target, definition, lambda: None)
    assert milvus.list_collections() == []
