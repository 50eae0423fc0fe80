"""Files as Milvus (2.2 to 2.6) writes them: see ``envelope`` and ``parts``."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cdc_actors.changes import Key

_HEADER = struct.Struct("<Qbii")
_DESCRIPTOR, _INSERT, _DELETE = 0, 1, 2


def file_of_rows(values: pa.Array, **extras: str) -> bytes:
    """Return a file of one column's values, one a row."""
    return _file(pa.table({"val": values}), _INSERT, extras=extras)


def file_of_deletes(deletes: Iterable[tuple[Key, int]]) -> bytes:
    """Return a file of keys and when each was deleted."""
    lines = [
        json.dumps({"pk": key, "ts": time, "pkType": 5 if isinstance(key, int) else 21})
        for key, time in deletes
    ]
    return _file(pa.table({"val": pa.array(lines, pa.string())}), _DELETE)


def newer_file_of_deletes(deletes: Iterable[tuple[Key, int]]) -> bytes:
    """Return the same in the form that 2.5 may have, which does not say how long it is."""
    keys, times = zip(*deletes, strict=True)
    table = pa.table({"pk": pa.array(keys), "ts": pa.array(times, pa.int64())})
    return _file(table, _DELETE, 0, {"version": "MULTI_FIELD"})


def file_of_group(
    columns: Mapping[int, pa.Array], rows: int = 3, name: str = "f{}"
) -> bytes:
    """Return a file of a group's columns, by field id, so many rows in a row group."""
    told = "PARQUET:field_id"
    fields = [
        pa.field(name.format(field), values.type, metadata={told: str(field)})
        for field, values in columns.items()
    ]
    table = pa.table(list(columns.values()), pa.schema(fields))
    body = pa.BufferOutputStream()
    pq.write_table(table, body, compression="zstd", row_group_size=rows)
    return bytes(body.getvalue())


def plain_file_of_deletes(deletes: Iterable[tuple[Key, int]]) -> bytes:
    """Return the same as 3.0 has it: a group of the fields 0 and 1, without names."""
    keys, times = zip(*deletes, strict=True)
    columns = {0: pa.array(keys), 1: pa.array(times, pa.int64())}
    return file_of_group(columns, name="")


def _file(
    table: pa.Table,
    kind: int,
    size: int | None = None,
    extras: Mapping[str, Any] | None = None,
) -> bytes:
    body = pa.BufferOutputStream()
    pq.write_table(table, body, compression="zstd")
    payload = body.getvalue().to_pybytes()
    told = json.dumps({"original_size": str(len(payload)), **(extras or {})}).encode()
    described = bytes(52) + bytes([52, *[16] * 7]) + struct.pack("<i", len(told))
    length = 17 + len(described) + len(told)
    whole = 17 + 16 + len(payload)
    parts: list[Any] = [
        struct.pack("<i", 0x00FFFABC),
        _HEADER.pack(1, _DESCRIPTOR, length, 4 + length),
        described,
        told,
        _HEADER.pack(1, kind, whole if size is None else size, 4 + length + whole),
        bytes(16),
        payload,
    ]
    return b"".join(parts)
