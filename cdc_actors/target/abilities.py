"""What only newer versions of Milvus can hold, or nobody that is given it by the log.

An older one is not asked: it passes over what it does not know, and creates the collection
without it. One of 2.3.5 takes a field of a type that came later, and ends once that
collection is loaded. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import schema_pb2

from cdc_actors.errors import CollectionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    Version = tuple[int, ...]
    Reason = tuple[str, str]
    """The name of a field, and why it cannot be there."""

VECTORS = frozenset(
    {
        schema_pb2.BinaryVector,
        schema_pb2.FloatVector,
        schema_pb2.Float16Vector,
        schema_pb2.BFloat16Vector,
        schema_pb2.SparseFloatVector,
        schema_pb2.Int8Vector,
    }
)
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
_NOT_IN_LITE = (VECTORS | {schema_pb2.Text}) - {
    schema_pb2.FloatVector,
    schema_pb2.SparseFloatVector,
}
_LITE = "milvus_lite"
_FUNCTIONS_SINCE = {schema_pb2.BM25: (2, 5), schema_pb2.TextEmbedding: (2, 6)}
_STRUCTS_SINCE = (2, 6)
_NULLABLE_SINCE = (2, 5)
_NULLABLE_VECTORS_SINCE = (2, 6)
_VECTORS_SINCE = (2, 4)
"""Since when a collection may have more than one."""


def refuse_unknown(version: str, schema: Any, name: str) -> None:
    """Raise CollectionError if a Milvus of this version cannot hold a collection.

    ``version`` is as Milvus tells it; one that names no numbers may hold anything. No
    target is given what the log has not, or has in a form that no insert takes. The text
    names the first field that is a reason.
    """
    if schema.external_source:
        raise CollectionError(
            f"{name} is an external collection, whose rows the log does not have: make one "
            "over the same files at the target by hand, and leave it out of the task"
        )
    if schema.enable_namespace:
        raise CollectionError(
            f"{name} has namespaces, which are not replicated: leave it out of the task, "
            "or make one at the source that has a partition key in their place"
        )
    for field, why in unsupported(version, schema):
        raise CollectionError(
            f"{name} has the field {field}, {why}. With extra_info.skip_unsupported_fields "
            "it comes without that"
        )


def unsupported(version: str, schema: Any) -> Iterator[Reason]:
    """Yield the fields of a CollectionSchema that a Milvus of a version cannot hold."""
    lite = version.startswith(_LITE)
    numbers = () if lite else tuple(map(int, re.findall(r"\d+", version)[:3]))
    for field, what, since in _needed(schema):
        if since is None:
            yield field, what
        elif numbers < since[: len(numbers)]:
            first = ".".join(map(str, since))
            why = f"and the target, Milvus {version}, knows no {what}"
            yield field, f"{why}: Milvus has them from {first} on"
    if lite:
        yield from _not_in_lite(schema)


def _not_in_lite(schema: Any) -> Iterator[Reason]:
    """It refuses some of it in words that do not say so (3.2.2)."""
    for field in schema.fields:
        if field.data_type in _NOT_IN_LITE:
            yield field.name, f"of the type {_type(field)}, which Milvus Lite lacks"
    for struct in schema.struct_array_fields:
        yield struct.name, "an array of structs, which Milvus Lite does not know"
    for function in schema.functions:
        if function.type != schema_pb2.BM25:
            for each in function.output_field_names:
                yield each, f"which {function.name} makes: Milvus Lite knows only BM25"


def _needed(schema: Any) -> Iterator[tuple[str, str, Version | None]]:
    """Yield fields with what they need, and since when there is that; None: nowhere."""
    vectors = 0
    for field in schema.fields:
        vectors += field.data_type in VECTORS
        if field.data_type not in _TYPES:
            what = f"of the type {_type(field)}, which is not replicated"
            yield field.name, what, None
        if since := _TYPES_SINCE.get(field.data_type):
            yield field.name, f"fields of type {_type(field)}", since
        if field.nullable:
            yield field.name, "nullable fields", _NULLABLE_SINCE
        if field.nullable and field.data_type in VECTORS:
            yield field.name, "nullable vectors", _NULLABLE_VECTORS_SINCE
        if field.data_type in VECTORS and vectors > 1:
            yield field.name, "collections of several vectors", _VECTORS_SINCE
    for struct in schema.struct_array_fields:
        yield struct.name, "arrays of structs", _STRUCTS_SINCE
        if struct.nullable or any(field.nullable for field in struct.fields):
            why = "an array of structs which may be null: that is not replicated"
            yield struct.name, why, None
    for function in schema.functions:
        yield from _needed_for(function)


def _needed_for(function: Any) -> Iterator[tuple[str, str, Version | None]]:
    """The log has what a text embedding has made; of other functions that is not known."""
    since = _FUNCTIONS_SINCE.get(function.type)
    kind = schema_pb2.FunctionType.Name(function.type)
    made_by = f"which the function {function.name} makes: {kind} is not replicated"
    for each in function.output_field_names or [function.name]:
        yield each, f"functions ({kind})" if since else made_by, since


def _type(field: Any) -> str:
    names = schema_pb2.DataType.DESCRIPTOR.values_by_number
    known = names.get(field.data_type)
    return known.name if known else str(field.data_type)
