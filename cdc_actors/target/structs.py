"""Arrays of structs (Milvus 2.6): in the log each of their fields has a column of its own.

Milvus calls the field ``n`` of the struct ``st`` by ``st[n]``, in its catalog and its log;
clients name the struct, and the field inside of it (2.6.20, 3.0.0). Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import schema_pb2

from cdc_actors.field_data import varint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Chunks = list[bytes]
"""A serialized message in parts."""

# Of schema.FieldData, but for the last, which is of schema.StructArrayField.
_TYPE_TAG = b"\x08"
_NAME_TAG = b"\x12"
_STRUCT_TAG = b"\x42"
_FIELD_TAG = b"\x0a"


def field_of(struct: Any, field: Any) -> str:
    """Return what clients call a field of a struct, which Milvus may have as ``st[n]``."""
    return str(field.name).removeprefix(f"{struct.name}[").removesuffix("]")


def columns_of(schema: Any) -> dict[str, tuple[str, str]]:
    """Return which field of which struct the log's columns are, by their names."""
    return {
        f"{struct.name}[{field_of(struct, field)}]": (
            struct.name,
            field_of(struct, field),
        )
        for struct in schema.struct_array_fields
        for field in struct.fields
    }


def fold(
    columns: Mapping[str, Sequence[bytes]], structs: Mapping[str, tuple[str, str]]
) -> Iterator[Sequence[bytes]]:
    """Yield columns as an insert has them: those of a struct in one.

    They are given in chunks by name. ``structs`` are those of ``columns_of``.
    """
    folded: dict[str, Chunks] = {}
    for name, chunks in columns.items():
        if name in structs:
            struct, field = structs[name]
            # Of a name that is said twice the last one counts.
            renamed = [*chunks, *_length_delimited(_NAME_TAG, [field.encode()])]
            folded.setdefault(struct, []).extend(_length_delimited(_FIELD_TAG, renamed))
        else:
            yield chunks
    for struct, fields in folded.items():
        yield [
            _TYPE_TAG + varint(schema_pb2.ArrayOfStruct),
            *_length_delimited(_NAME_TAG, [struct.encode()]),
            *_length_delimited(_STRUCT_TAG, fields),
        ]


def _length_delimited(tag: bytes, chunks: Iterable[bytes]) -> Chunks:
    parts = list(chunks)
    return [tag + varint(sum(map(len, parts))), *parts]
