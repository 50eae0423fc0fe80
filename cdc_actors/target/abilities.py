"""What only newer versions of Milvus can hold.

An older one is not asked: it passes over what it does not know, and creates the collection
without it. One of 2.3.5 takes a field of a type that came later, and ends once that
collection is loaded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import schema_pb2

from cdc_actors.errors import CollectionError

if TYPE_CHECKING:
    from collections.abc import Iterator

_TYPES_SINCE = {
    schema_pb2.Float16Vector: (2, 4),
    schema_pb2.BFloat16Vector: (2, 4),
    schema_pb2.SparseFloatVector: (2, 4),
    schema_pb2.Geometry: (2, 5, 18),
    schema_pb2.Int8Vector: (2, 6),
    schema_pb2.Timestamptz: (2, 6),
    schema_pb2.Text: (3,),
}
_TYPES = {
    schema_pb2.Bool,
    schema_pb2.Int8,
    schema_pb2.Int16,
    schema_pb2.Int32,
    schema_pb2.Int64,
    schema_pb2.Float,
    schema_pb2.Double,
    schema_pb2.String,
    schema_pb2.VarChar,
    schema_pb2.Array,
    schema_pb2.JSON,
    schema_pb2.BinaryVector,
    schema_pb2.FloatVector,
    *_TYPES_SINCE,
}
_STRUCTS_SINCE = (2, 6)
_NULLABLE_SINCE = _FUNCTIONS_SINCE = (2, 5)


def refuse_unknown(version: str, schema: Any, name: str) -> None:
    """Raise CollectionError if a Milvus of this version cannot hold a collection.

    ``version`` is as Milvus tells it; one that names no numbers may hold anything. Milvus
    Lite refuses by itself. No target is given what the log has not, or has in a form that
    no insert takes, nor what a function has computed that is not BM25: the log has it, and
    the target would compute it once more.
    """
    if schema.external_source:
        raise CollectionError(
            f"{name} is an external collection, whose rows the log does not have"
        )
    if schema.enable_namespace:
        raise CollectionError(f"{name} has namespaces, which are not replicated")
    for field in schema.fields:
        if field.data_type not in _TYPES:
            raise CollectionError(
                f"{name} has the field {field.name} of the type {_type(field)}, which is "
                "not replicated"
            )
    for struct in schema.struct_array_fields:
        _check_struct(version, struct, name)
    if not version.startswith("milvus_lite"):
        _refuse_newer(version, schema, name)
    for function in schema.functions:
        if function.type != schema_pb2.BM25:
            raise CollectionError(
                f"{name} has the function {function.name}, whose output is not replicated: "
                "only BM25 is"
            )


def _check_struct(version: str, struct: Any, name: str) -> None:
    """Milvus Lite refuses them in words that do not say so."""
    shown = f"{name} has the array of structs {struct.name}"
    if version.startswith("milvus_lite"):
        raise CollectionError(f"{shown}, which Milvus Lite does not know")
    if struct.nullable or any(field.nullable for field in struct.fields):
        raise CollectionError(f"{shown}, which may be null: that is not replicated")


def _type(field: Any) -> str:
    names = schema_pb2.DataType.DESCRIPTOR.values_by_number
    known = names.get(field.data_type)
    return known.name if known else str(field.data_type)


def _refuse_newer(version: str, schema: Any, name: str) -> None:
    numbers = tuple(map(int, re.findall(r"\d+", version)[:3]))
    for what, since in _needed(schema):
        if numbers < since[: len(numbers)]:
            raise CollectionError(
                f"the target, Milvus {version}, knows no {what}, and {name} has some: "
                f"Milvus has them from {'.'.join(map(str, since))} on"
            )


def _needed(schema: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    if schema.functions:
        yield "functions", _FUNCTIONS_SINCE
    if schema.struct_array_fields:
        yield "arrays of structs", _STRUCTS_SINCE
    for field in schema.fields:
        if since := _TYPES_SINCE.get(field.data_type):
            yield f"fields of type {schema_pb2.DataType.Name(field.data_type)}", since
        if field.nullable:
            yield "nullable fields", _NULLABLE_SINCE
