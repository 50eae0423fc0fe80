"""The form of Milvus's files but for those of groups: events around a Parquet file.

Source of the rules: Milvus 2.3.5, ``internal/storage/event_writer.go`` and
``data_codec.go``, and 2.6.18, ``event_data.go``; files of 2.2.16, 2.3.0 and 2.3.5 were
read. Pure: bytes in, values out.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from cdc_actors.changes import Key

_MAGIC = 0x00FFFABC
_START = struct.Struct("<i")
_HEADER = struct.Struct("<Qbii")
"""Timestamp, type, length of the event, offset of the next."""
_STAMPS = struct.Struct("<QQ")
_DESCRIPTOR_BODY = 52 + 8
_COLUMN = "val"
_PARQUET = b"PAR1"
_ENCRYPTED = b'"edek"'
"""Stands in the descriptor of what is encrypted: the name of its key."""


class DamagedFileError(ValueError):
    """A file is not what Milvus writes, or not all of it is there."""


class EncryptedFileError(ValueError):
    """Milvus has encrypted a file."""


def column(data: pa.Buffer) -> pq.ParquetFile:
    """Return a file of rows, whose only column has a value for each, in Arrow's types.

    Raises:
        DamagedFileError: It is no such file.
        EncryptedFileError: It is one that cannot be read.
    """
    try:
        return pq.ParquetFile(pa.BufferReader(_payload(data)))
    except (pa.ArrowException, OSError, struct.error) as error:
        raise DamagedFileError(str(error)) from error


def deletes(data: pa.Buffer) -> tuple[list[Key], list[int]]:
    """Return the keys of a file of deletes, and when each was deleted (hybrid timestamps).

    Raises:
        DamagedFileError: It is no such file.
        EncryptedFileError: It is one that cannot be read.
    """
    if data.slice(0, len(_PARQUET)) == _PARQUET:
        return _plain_deletes(data)
    table = _table(data)
    if _COLUMN not in table.column_names:
        return table.column("pk").to_pylist(), table.column("ts").to_pylist()
    keys: list[Key] = []
    times: list[int] = []
    for text in table.column(_COLUMN).to_pylist():
        key, time = _delete(text)
        keys.append(key)
        times.append(time)
    return keys, times


def _plain_deletes(data: pa.Buffer) -> tuple[list[Key], list[int]]:
    """Of 3.0: a group of the fields 0 and 1, key and time, without names."""
    keys, times = _read(data).columns
    return keys.to_pylist(), times.to_pylist()


def _delete(text: str) -> tuple[Key, int]:
    """Old files (2.2) have ``<key>,<timestamp>``, with numbers for keys."""
    try:
        if text.startswith("{"):
            parsed: dict[str, Any] = json.loads(text)
            return parsed["pk"], parsed["ts"]
        key, _, time = text.rpartition(",")
        return int(key), int(time)
    except (ValueError, KeyError) as error:
        raise DamagedFileError("a line of a file of deletes cannot be read") from error


def _table(data: pa.Buffer) -> pa.Table:
    try:
        return _read(_payload(data))
    except struct.error as error:
        raise DamagedFileError(str(error)) from error


def _read(payload: pa.Buffer) -> pa.Table:
    try:
        return pq.ParquetFile(pa.BufferReader(payload)).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DamagedFileError(str(error)) from error


def _payload(data: pa.Buffer) -> pa.Buffer:
    """Return the Parquet file of the first event behind the descriptor."""
    if data.size < _START.size or _START.unpack_from(data)[0] != _MAGIC:
        raise DamagedFileError("it does not begin as Milvus's files do")
    _, _, length, _ = _HEADER.unpack_from(data, _START.size)
    begin = _START.size + length
    if _ENCRYPTED in bytes(data.slice(_START.size, max(length, 0))):
        raise EncryptedFileError
    _, _, size, _ = _HEADER.unpack_from(data, begin)
    head = _HEADER.size + _STAMPS.size
    # The newer form of deletes (2.5) does not say how long it is.
    end = begin + size if size > head else data.size
    if length < _HEADER.size + _DESCRIPTOR_BODY or end > data.size:
        raise DamagedFileError(f"{data.size} bytes of {end} are there")
    return data.slice(begin + head, end - begin - head)
