"""Columns as the files have them, made what the log has: serialized ``FieldData``.

Vectors are copied as they are, from Arrow's buffer behind the message's head. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.field_data import BYTES_VECTORS, varint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_VECTORS_TAG = b"\x22"  # Field 4 of schema.FieldData.
_FLOATS_TAG = b"\x12"  # Field 2 of schema.VectorField.
_DATA_TAG = b"\x0a"  # Field 1 of schema.FloatArray, packed.

_NUMBERS = frozenset(
    {
        schema_pb2.Int8,
        schema_pb2.Int16,
        schema_pb2.Int32,
        schema_pb2.Int64,
        schema_pb2.Float,
        schema_pb2.Double,
        schema_pb2.Timestamptz,
    }
)

_VECTORS = frozenset(
    {schema_pb2.FloatVector, schema_pb2.SparseFloatVector, *BYTES_VECTORS}
)

_SCALARS = {
    schema_pb2.Bool: "bool_data",
    schema_pb2.Int8: "int_data",
    schema_pb2.Int16: "int_data",
    schema_pb2.Int32: "int_data",
    schema_pb2.Int64: "long_data",
    schema_pb2.Float: "float_data",
    schema_pb2.Double: "double_data",
    schema_pb2.VarChar: "string_data",
    schema_pb2.JSON: "json_data",
    schema_pb2.Geometry: "geometry_data",
    schema_pb2.Timestamptz: "timestamptz_data",
}


def readable(kind: int) -> bool:
    """Tell whether columns of a ``schema.DataType`` can be made from a file."""
    return kind in _MAKERS


def plain_type(kind: int) -> pa.DataType:
    """Return an Arrow type that may hold values of a ``schema.DataType``."""
    if kind == schema_pb2.VarChar:
        return pa.string()
    if kind == schema_pb2.Bool:
        return pa.bool_()
    if kind in _NUMBERS:
        return pa.int64()
    return pa.binary()


def field_data(field: schema_pb2.FieldSchema, values: pa.Array) -> bytes:
    """Return the column of a field, of as many rows as there are values, as in the log.

    There a null is said by ``valid_data``. Some value stands in its place, but for vectors
    (2.6), which have none.
    """
    made = schema_pb2.FieldData(
        type=field.data_type,
        field_name=field.name,
        field_id=field.fieldID,
        is_dynamic=field.is_dynamic,
    )
    if field.nullable:
        made.valid_data.extend(values.is_valid().to_pylist())
        is_vector = field.data_type in _VECTORS
        values = _only_valid(values) if is_vector else _filled(values)
    return _MAKERS[field.data_type](made, field, values)


def _only_valid(values: pa.Array) -> pa.Array:
    """Return vectors without nulls; a file has nullable ones of fixed size as bytes."""
    return values.drop_null() if values.null_count else values


def _filled(values: pa.Array) -> pa.Array:
    """Return the values with those that are null replaced by one of their type."""
    if not values.null_count:
        return values
    plain: Any = b"" if pa.types.is_binary(values.type) else 0
    plain = "" if pa.types.is_string(values.type) else plain
    return pc.fill_null(values, pa.scalar(plain).cast(values.type))


def _scalars(made: Any, field: Any, values: pa.Array) -> bytes:
    kind = _SCALARS[field.data_type]
    getattr(made.scalars, kind).data.extend(values.to_pylist())
    return bytes(made.SerializeToString())


def _arrays(made: Any, field: Any, values: pa.Array) -> bytes:
    arrays = made.scalars.array_data
    arrays.element_type = field.element_type
    for value in values.to_pylist():
        arrays.data.add().MergeFromString(value)
    return bytes(made.SerializeToString())


def _floats(made: Any, field: Any, values: pa.Array) -> bytes:
    """The vectors go behind the message's head in one piece."""
    dim = schema_pb2.VectorField(dim=_dim(field)).SerializeToString()
    vectors = [dim]
    if len(values):
        data = _raw(values)
        array = [_DATA_TAG, varint(len(data)), data]
        vectors += [_FLOATS_TAG, varint(sum(map(len, array))), *array]
    size = sum(map(len, vectors))
    return b"".join([made.SerializeToString(), _VECTORS_TAG, varint(size), *vectors])


def _bytes_vectors(made: Any, field: Any, values: pa.Array) -> bytes:
    made.vectors.dim = _dim(field)
    if len(values):
        setattr(made.vectors, BYTES_VECTORS[field.data_type], bytes(_raw(values)))
    return bytes(made.SerializeToString())


def _sparse(made: Any, _field: Any, values: pa.Array) -> bytes:
    contents: Sequence[bytes] = values.to_pylist()
    made.vectors.SetInParent()
    if not contents:
        return bytes(made.SerializeToString())
    made.vectors.sparse_float_vector.contents.extend(contents)
    # An index and a value, four bytes each; the last index is the largest.
    ends = (int.from_bytes(each[-8:-4], "little") for each in contents if each)
    made.vectors.sparse_float_vector.dim = max(ends, default=-1) + 1
    return bytes(made.SerializeToString())


def _vector_arrays(made: Any, field: Any, values: pa.Array) -> bytes:
    """Of a field of structs: as many vectors a row as it has structs."""
    arrays = made.vectors.vector_array
    arrays.dim, arrays.element_type = _dim(field), field.element_type
    for vectors in values.to_pylist():
        row, data = arrays.data.add(dim=arrays.dim), b"".join(vectors)
        if field.element_type == schema_pb2.FloatVector:
            row.float_vector.SetInParent()
            row.float_vector.data.extend(memoryview(data).cast("f"))
        else:
            setattr(row, BYTES_VECTORS[field.element_type], data)
    return bytes(made.SerializeToString())


def _raw(values: pa.Array) -> memoryview:
    """Return the bytes of vectors, one behind the other."""
    if pa.types.is_binary(values.type):
        values = values.cast(pa.binary(len(values[0].as_py())))
    width = values.type.byte_width
    whole = values.buffers()[1]
    return memoryview(whole)[
        values.offset * width : (values.offset + len(values)) * width
    ]


def _dim(field: schema_pb2.FieldSchema) -> int:
    return next(int(pair.value) for pair in field.type_params if pair.key == "dim")


_MAKERS: dict[int, Callable[[Any, Any, pa.Array], bytes]] = {
    **dict.fromkeys(_SCALARS, _scalars),
    **dict.fromkeys(BYTES_VECTORS, _bytes_vectors),
    schema_pb2.Array: _arrays,
    schema_pb2.ArrayOfVector: _vector_arrays,
    schema_pb2.FloatVector: _floats,
    schema_pb2.SparseFloatVector: _sparse,
}
