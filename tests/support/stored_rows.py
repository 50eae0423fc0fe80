"""Columns of the log as Milvus writes them into files: Arrow's arrays, by field id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pymilvus.grpc_gen import schema_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_TYPES = {
    schema_pb2.Bool: pa.bool_(),
    schema_pb2.Int8: pa.int8(),
    schema_pb2.Int16: pa.int16(),
    schema_pb2.Int32: pa.int32(),
    schema_pb2.Int64: pa.int64(),
    schema_pb2.Float: pa.float32(),
    schema_pb2.Double: pa.float64(),
    schema_pb2.VarChar: pa.string(),
    schema_pb2.Timestamptz: pa.int64(),
}


def arrays(columns: Iterable[bytes]) -> dict[int, pa.Array]:
    """Return serialized columns (``schema.FieldData``) as a file has them.

    One of nulls alone says nothing of its type: it becomes one of bytes.
    """
    fields = map(schema_pb2.FieldData.FromString, columns)
    return {field.field_id: _array(field) for field in fields}


def groups_of(columns: Mapping[int, pa.Array]) -> dict[int, list[int]]:
    """Return how 2.6 divides fields: ids of them by group's id.

    What it wants of every row is together, the key (100) among it, then all that is short;
    vectors of one size are apart.
    """
    system = [0, 1, 100]
    others = [each for each in columns if each not in system]
    wide = [e for e in others if pa.types.is_fixed_size_binary(columns[e].type)]
    short = [each for each in others if each not in wide]
    groups = {0: system, 1: short, **{each: [each] for each in wide}}
    return {group: fields for group, fields in groups.items() if fields}


def _array(field: schema_pb2.FieldData) -> pa.Array:
    if field.type == schema_pb2.ArrayOfVector:
        return _lists(field.vectors.vector_array)
    if field.HasField("vectors"):
        vectors = _vectors(field.vectors, len(field.valid_data))
        if field.valid_data or field.type == schema_pb2.SparseFloatVector:
            return pa.array(_spread(vectors, field.valid_data), pa.binary())
        return pa.array(vectors, pa.binary(len(vectors[0])))
    kind = field.scalars.WhichOneof("data")
    values: list[Any] = list(getattr(field.scalars, kind).data)
    if kind == "array_data":
        values = [each.SerializeToString() for each in values]
    if field.valid_data:
        pairs = zip(values, field.valid_data, strict=True)
        values = [value if valid else None for value, valid in pairs]
    return pa.array(values, _TYPES.get(field.type, pa.binary()))


def _lists(arrays: schema_pb2.VectorArray) -> pa.Array:
    """Return the vectors of each row: one for each of its structs."""
    rows = [_vectors(each, 1) for each in arrays.data]
    width = max(len(vector) for row in rows for vector in row)
    return pa.array(rows, pa.list_(pa.binary(width)))


def _vectors(vectors: schema_pb2.VectorField, rows: int) -> list[bytes]:
    """Return the vectors that there are, each as bytes."""
    kind = vectors.WhichOneof("data")
    if kind is None:
        assert rows
        return []
    if kind == "sparse_float_vector":
        return list(vectors.sparse_float_vector.contents)
    if kind == "float_vector":
        whole = pa.array(vectors.float_vector.data, pa.float32()).buffers()[1]
        return _cut(
            whole.to_pybytes()[: 4 * len(vectors.float_vector.data)], 4 * vectors.dim
        )
    widths = {"binary_vector": vectors.dim // 8, "int8_vector": vectors.dim}
    return _cut(getattr(vectors, kind), widths.get(kind, 2 * vectors.dim))


def _cut(data: bytes, width: int) -> list[bytes]:
    return [data[begin : begin + width] for begin in range(0, len(data), width)]


def _spread(vectors: Sequence[bytes], valid: Sequence[bool]) -> list[bytes | None]:
    """Put nulls between the vectors of rows that have one; of a log all if it says so."""
    left = iter(vectors)
    return [next(left) if each else None for each in valid] if valid else list(vectors)
