"""The fields of a collection that its rows from files have, as rows of the log would.

A segment has no column of a field that was added after its rows were written: they have
the field's default value, or null (Milvus 2.6.18, ``internal/storage/arrow_util.go``). What
a segment has of a field that was dropped is left out, and so is what BM25 has computed: it
is not in the log either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.errors import CollectionError
from cdc_actors.source.storage import columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.source.catalog.model import CollectionMeta

_NO_KEYS = b"{}"
_ENCRYPTED = ("cipher.enabled", "cipher.ezID")
"""Properties of a collection whose files are encrypted (2.6)."""


def stored_fields(meta: CollectionMeta) -> list[schema_pb2.FieldSchema]:
    """Return them, those inside of structs by their names in the log.

    That of dynamic fields comes last: the schema in the catalog lacks it.
    """
    schema = schema_pb2.CollectionSchema.FromString(meta.schema)
    computed = {
        name
        for each in schema.functions
        if each.type == schema_pb2.BM25
        for name in each.output_field_names
    }
    fields = [each for each in schema.fields if each.name not in computed]
    fields += _inside_structs(schema)
    if meta.dynamic_field and schema.enable_dynamic_field:
        dynamic = schema_pb2.FieldSchema.FromString(meta.dynamic_field)
        dynamic.default_value.bytes_data = _NO_KEYS
        fields.append(dynamic)
    return fields


def _inside_structs(
    schema: schema_pb2.CollectionSchema,
) -> Iterator[schema_pb2.FieldSchema]:
    for struct in schema.struct_array_fields:
        for field in struct.fields:
            if not field.name.startswith(f"{struct.name}["):
                field.name = f"{struct.name}[{field.name}]"
            yield field


def refuse_unreadable(meta: CollectionMeta) -> None:
    """See that rows of a collection can be made from its files.

    Raises:
        CollectionError: They cannot.
    """
    name = f"{meta.database}.{meta.name}"
    if any(meta.properties.get(key, "false") != "false" for key in _ENCRYPTED):
        raise CollectionError(
            f"the source encrypts the files of {name}: they cannot be read without its keys"
        )
    for struct in schema_pb2.CollectionSchema.FromString(
        meta.schema
    ).struct_array_fields:
        if struct.nullable or any(each.nullable for each in struct.fields):
            raise CollectionError(
                f"the field {struct.name} of {name} is an array of structs that may be "
                "null, which is not read from files"
            )
    for each in stored_fields(meta):
        if not columns.readable(each.data_type):
            kind = schema_pb2.DataType.Name(each.data_type)
            raise CollectionError(
                f"the field {each.name} of {name} is of the type {kind}, which is not read "
                "from files"
            )


def without_column(
    meta: CollectionMeta, field: schema_pb2.FieldSchema, rows: int
) -> pa.Array:
    """Return the values of a field for rows that were written before it was added.

    Raises:
        CollectionError: It has neither a default value nor nulls.
    """
    if field.HasField("default_value") and field.data_type != schema_pb2.Geometry:
        kind = field.default_value.WhichOneof("data")
        return pa.repeat(pa.scalar(getattr(field.default_value, kind)), rows)
    if field.nullable:
        return pa.nulls(rows, columns.plain_type(field.data_type))
    raise CollectionError(
        f"rows of {meta.database}.{meta.name} have no value of the field {field.name}, "
        "which has no default value"
    )


def with_defaults(field: schema_pb2.FieldSchema, values: pa.Array) -> pa.Array:
    """Return the values of a field; a row without dynamic fields has a value in the log."""
    if field.is_dynamic and values.null_count:
        return values.fill_null(_NO_KEYS)
    return values
