"""The form of Milvus's files but for those of groups: events around a Parquet file.

Source of the rules: Milvus 2.3.5, ``internal/storage/event_writer.go`` and
``data_codec.go``, and 2.6.18, ``event_data.go``; files of 2.2.16, 2.3.0 and 2.3.5 were
read. Bytes in, values out.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from cdc_actors.source.storage.stretch import Stretch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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

LINES_AT_ONCE = 50_000
"""How many deletes are parsed at a time: as texts they take many times as much."""

_HEAD_BYTES = 64 << 10
"""More than what comes before the rows."""

READ_BYTES = 4 << 20
"""A larger file is read so much at a time."""


class DamagedFileError(ValueError):
    """A file is not what Milvus writes, or not all of it is there."""


class EncryptedFileError(ValueError):
    """Milvus has encrypted a file."""


def column(file: pa.NativeFile) -> pq.ParquetFile:
    """Return a file of rows, whose only column has a value for each, in Arrow's types.

    A small one is read at once, a large one as its rows are asked for.

    Raises:
        OSError, pa.ArrowException: The storage does not give it, or it is damaged.
        DamagedFileError: It is no such file.
        EncryptedFileError: It is one that cannot be read.
    """
    if file.size() <= READ_BYTES:
        return _parquet(_payload(file.read_buffer()))
    begin, size = _place(pa.py_buffer(file.read_at(_HEAD_BYTES, 0)), file.size())
    stretch = pa.PythonFile(Stretch(file, begin, size), mode="r")
    return pq.ParquetFile(stretch, buffer_size=READ_BYTES, pre_buffer=False)


def deletes(data: pa.Buffer) -> tuple[pa.Array, pa.Array]:
    """Return the keys of a file of deletes, and when each was deleted (hybrid timestamps).

    Raises:
        DamagedFileError: It is no such file.
        EncryptedFileError: It is one that cannot be read.
    """
    if data.slice(0, len(_PARQUET)) == _PARQUET:
        # Of 3.0: a group of the fields 0 and 1, key and time, without names.
        keys, times = _read(data).columns
        return keys.combine_chunks(), times.combine_chunks()
    file = _parquet(_payload(data))
    names = file.schema_arrow.names
    parts = [_keys_and_times(batch, names) for batch in _batches(file)]
    if not parts:
        return pa.array([], pa.int64()), pa.array([], pa.uint64())
    keys, times = zip(*parts, strict=True)
    return pa.concat_arrays(keys), pa.concat_arrays(times)


def _batches(file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    try:
        yield from file.iter_batches(LINES_AT_ONCE, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DamagedFileError(str(error)) from error


def _keys_and_times(
    batch: pa.RecordBatch, names: Sequence[str]
) -> tuple[pa.Array, pa.Array]:
    if _COLUMN not in names:
        return batch.column("pk"), batch.column("ts").cast(pa.uint64())
    said = [_delete(line) for line in batch.column(_COLUMN).to_pylist()]
    keys, times = zip(*said, strict=True)
    return pa.array(keys), pa.array(times, pa.uint64())


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


def _read(payload: pa.Buffer) -> pa.Table:
    try:
        return _parquet(payload).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DamagedFileError(str(error)) from error


def _parquet(payload: pa.Buffer) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(pa.BufferReader(payload))
    except (pa.ArrowException, OSError) as error:
        raise DamagedFileError(str(error)) from error


def _payload(data: pa.Buffer) -> pa.Buffer:
    """Return the Parquet file of the first event behind the descriptor."""
    return data.slice(*_place(data, data.size))


def _place(head: pa.Buffer, whole: int) -> tuple[int, int]:
    """Return where that begins, and its size, in a file of so many bytes.

    Raises:
        DamagedFileError: Nowhere.
        EncryptedFileError: It is one that cannot be read.
    """
    try:
        return _rows_at(head, whole)
    except struct.error as error:
        raise DamagedFileError(str(error)) from error


def _rows_at(head: pa.Buffer, whole: int) -> tuple[int, int]:
    if head.size < _START.size or _START.unpack_from(head)[0] != _MAGIC:
        raise DamagedFileError("it does not begin as Milvus's files do")
    _, _, length, _ = _HEADER.unpack_from(head, _START.size)
    begin = _START.size + length
    if _ENCRYPTED in bytes(head.slice(_START.size, max(length, 0))):
        raise EncryptedFileError
    _, _, size, _ = _HEADER.unpack_from(head, begin)
    before = _HEADER.size + _STAMPS.size
    # The newer form of deletes (2.5) does not say how long it is.
    end = begin + size if size > before else whole
    if length < _HEADER.size + _DESCRIPTOR_BODY or end > whole:
        raise DamagedFileError(f"{whole} bytes of {end} are there")
    return begin + before, end - begin - before
