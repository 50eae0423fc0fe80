"""A collection without the fields that its target cannot hold. Pure.

With a field goes the function that makes it or is made from it, and what that makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import schema_pb2

from cdc_actors.errors import CollectionError
from cdc_actors.field_data import whole_field
from cdc_actors.target.abilities import VECTORS, unsupported
from cdc_actors.target.structs import columns_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence


def skipped_fields(version: str, schema: bytes, name: str) -> tuple[str, ...]:
    """Return the names of fields that are left out for a target of a version, in order.

    ``schema`` is a serialized ``schema.CollectionSchema``.

    Raises:
        CollectionError: One of them is the primary key, the partition key, or the last
            vector.
    """
    parsed = _with_outputs(schema_pb2.CollectionSchema.FromString(schema))
    reasons: dict[str, str] = {}
    left = parsed
    # Without one field another may do: the second vector of two.
    while found := next(unsupported(version, left), None):
        field, why = found
        reasons |= dict.fromkeys(_with_functions(left, field), why)
        left = _without(parsed, reasons)
        _refuse_if_needed(parsed, left, f"{name} has the field {field}, {why}")
    order = (*parsed.fields, *parsed.struct_array_fields)
    return tuple(each.name for each in order if each.name in reasons)


def held_schema(schema: bytes, skipped: Collection[str]) -> bytes:
    """Return a serialized schema without some fields."""
    if not skipped:
        return schema
    parsed = schema_pb2.CollectionSchema.FromString(schema)
    return bytes(_without(parsed, skipped).SerializeToString())


def skipped_columns(schema: bytes, skipped: Collection[str]) -> set[str]:
    """Return what the log calls the columns of fields that are left out."""
    if not skipped:
        return set()
    columns = columns_of(schema_pb2.CollectionSchema.FromString(schema))
    inside = {column for column, (struct, _) in columns.items() if struct in skipped}
    return {*skipped, *inside}


def is_skipped(field: str, skipped: Collection[str]) -> bool:
    """Tell whether a field, or one inside of a struct, is left out."""
    return whole_field(field) in skipped


def without(fields: Collection[str]) -> str:
    """Return what is said of something that is done without some fields."""
    word = "field" if len(fields) == 1 else "fields"
    return f"without the {word} {', '.join(fields)}, which the target cannot hold"


def _with_outputs(schema: Any) -> Any:
    """Return a schema with those functions alone that make fields.

    Others have none to go with: they stay, and the target's refusal names them.
    """
    return _with_only(schema, [f for f in schema.functions if f.output_field_names])


def _with_functions(schema: Any, field: str) -> set[str]:
    """Return a field and what is made of it or with it."""
    gone = {field}
    for _ in schema.functions:
        for function in schema.functions:
            if _touches(function, gone):
                gone.update(function.output_field_names)
    return gone


def _without(schema: Any, skipped: Collection[str]) -> Any:
    left = schema_pb2.CollectionSchema()
    left.CopyFrom(schema)
    for fields in (left.fields, left.struct_array_fields):
        kept = [each for each in fields if each.name not in skipped]
        del fields[:]
        fields.extend(kept)
    kept = [each for each in left.functions if not _touches(each, skipped)]
    return _with_only(left, kept)


def _with_only(schema: Any, functions: Sequence[Any]) -> Any:
    del schema.functions[:]
    schema.functions.extend(functions)
    return schema


def _touches(function: Any, skipped: Collection[str]) -> bool:
    """A function may have the name of a field that it has nothing to do with."""
    names = (*function.input_field_names, *function.output_field_names)
    return any(name in skipped for name in names)


def _refuse_if_needed(whole: Any, left: Any, said: str) -> None:
    """Raise CollectionError if ``whole`` has what no collection is without in ``left``."""
    needed: dict[str, Callable[[Any], bool]] = {
        "primary key": lambda field: field.is_primary_key,
        "partition key": lambda field: field.is_partition_key,
        "vector": lambda field: field.data_type in VECTORS,
    }
    for what, is_one in needed.items():
        if any(map(is_one, whole.fields)) and not any(map(is_one, left.fields)):
            raise CollectionError(
                f"{said}; it cannot be skipped: the collection has no other {what}"
            )
