"""Parameters of a collection's fields, such as how long a text may be: 2.5 alters them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from cdc_actors.field_data import DYNAMIC
from cdc_actors.target.collections import key_values
from cdc_actors.target.properties import apart

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cdc_actors.target.connection import Connection


def params_of(schema: bytes) -> dict[str, dict[str, str]]:
    """Return the parameters of each field in a serialized ``schema.CollectionSchema``.

    A struct array is one, whatever there is in it, and so is what has no field.
    """
    parsed = schema_pb2.CollectionSchema.FromString(schema)
    found = {
        field.name: {pair.key: pair.value for pair in field.type_params}
        for field in (*parsed.fields, *parsed.struct_array_fields)
    }
    return found | ({DYNAMIC: {}} if parsed.enable_dynamic_field else {})


def numbers_of(schema: bytes) -> dict[str, int]:
    """Return the numbers of what ``params_of`` has, which no later field is given again."""
    parsed = schema_pb2.CollectionSchema.FromString(schema)
    fields = (*parsed.fields, *parsed.struct_array_fields)
    found = {field.name: field.fieldID for field in fields}
    return found | ({DYNAMIC: 0} if parsed.enable_dynamic_field else {})


def altered_schema(
    schema: bytes,
    field_name: str,
    altered: Mapping[str, str],
    dropped: Collection[str],
) -> bytes:
    """Return a serialized schema after a field of it was altered."""
    parsed = schema_pb2.CollectionSchema.FromString(schema)
    fields = (*parsed.fields, *parsed.struct_array_fields)
    [field] = [each for each in fields if each.name == field_name]
    params = {pair.key: pair.value for pair in field.type_params} | dict(altered)
    kept = {key: value for key, value in params.items() if key not in dropped}
    del field.type_params[:]
    field.type_params.extend(key_values(kept))
    return bytes(parsed.SerializeToString())


def alter_field(
    target: Connection,
    name: tuple[str, str],
    field_name: str,
    altered: Mapping[str, str],
    dropped: Collection[str],
) -> None:
    """Set some parameters of a field, and drop others.

    Raises:
        OperationRefusedError: The target refuses, or is older than 2.5.
    """
    names = {"db_name": name[0], "collection_name": name[1], "field_name": field_name}
    for members in apart(altered, dropped):
        request = milvus_pb2.AlterCollectionFieldRequest(**names, **members)
        target.call("AlterCollectionField", request, name[0])
