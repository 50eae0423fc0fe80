"""What is known of serialized columns (``schema.FieldData``), wherever they come from."""

from __future__ import annotations

from pymilvus.grpc_gen import schema_pb2

DYNAMIC = "$meta"
"""The column of what no field is for, where the schema allows that."""

BYTES_VECTORS = {
    schema_pb2.BinaryVector: "binary_vector",
    schema_pb2.Float16Vector: "float16_vector",
    schema_pb2.BFloat16Vector: "bfloat16_vector",
    schema_pb2.Int8Vector: "int8_vector",
}
"""The attributes of ``schema.VectorField`` that hold vectors as bytes, by data type."""


def varint(value: int) -> bytes:
    """Return a number that is not negative as protobuf writes it."""
    encoded = bytearray()
    while value >= 0x80:  # noqa: PLR2004 - seven bits a byte, the eighth says "more"
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def whole_field(column: str) -> str:
    """Return the field that has a column of the log: of ``st[n]`` the struct ``st``."""
    return column.partition("[")[0]
