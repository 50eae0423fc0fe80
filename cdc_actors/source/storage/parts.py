"""Some rows of a set of files at a time, field by field: what is not asked for is not read.

Until 2.5 each field has a file of its own, with one row group. From 2.6 on (storage version
2) a file has the fields of a group: plain Parquet in many row groups, of which those are
read that are needed. Source of the rules: Milvus 2.6.18, ``internal/storage/schema.go``,
``record_writer.go``, ``internal/storagecommon``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from contextlib import ExitStack, closing, contextmanager
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from cdc_actors.errors import CollectionError
from cdc_actors.source.storage import envelope
from cdc_actors.source.storage.files import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from cdc_actors.source.storage.files import FileReader
    from cdc_actors.source.storage.listing import FileSet, StoredFile

_Parsed = TypeVar("_Parsed")

PART_BYTES = 16 << 20
"""About how many bytes of a set's files hold the rows of one part, where a file has several
fields: such files may be as large as a segment."""

ROWS_OF_UNKNOWN_SIZE = 10_000

TIMESTAMP = 1
"""The field of when rows were written."""

_FIELD_ID = b"PARQUET:field_id"


class Part(Protocol):
    """Some rows of a set of files, one after another.

    Methods raise ``StorageError`` where a file is gone or damaged, or its store away, and
    CollectionError where it cannot be read.
    """

    @property
    def fields(self) -> Collection[int]:
        """Return the ids of the fields that have values."""
        ...

    def values(self, field: int) -> pa.Array:
        """Return the values of a field, one a row, in Arrow's types."""
        ...


def parts(files: FileReader, found: FileSet) -> Iterator[Part]:
    """Yield all rows of a set of files; each part is to be done with before the next."""
    with ExitStack() as opened:
        if found.groups is None:
            own = _OwnFiles(files, found, opened)
            yield from _parts(own, own.rows, found)
        else:
            yield from _parts(_Groups(files, found, opened), found.rows, found)


def _parts(columns: _Columns, rows: int, found: FileSet) -> Iterator[Part]:
    size = sum(each.size for each in found.files.values())
    step = max(rows * PART_BYTES // size if size else ROWS_OF_UNKNOWN_SIZE, 1)
    for first in range(0, rows, step):
        yield _Rows(columns, first, min(step, rows - first))


def parsed(
    files: FileReader, file: StoredFile, parse: Callable[[pa.Buffer], _Parsed]
) -> _Parsed:
    """Return what a whole file holds; raises as a ``Part`` does."""
    with _reading(files, file.path):
        return parse(files.read(file.path))


@contextmanager
def _reading(files: FileReader, path: str) -> Iterator[None]:
    """Raise as a ``Part`` does for what goes wrong while a file is read."""
    try:
        with files.translated(path):
            yield
    except (pa.ArrowException, envelope.DamagedFileError) as error:
        raise _damaged(path, error) from error
    except envelope.EncryptedFileError as error:
        raise _encrypted(path) from error


class _Columns(Protocol):
    """The rows of a set of files; those of each field are asked for in order."""

    @property
    def fields(self) -> Collection[int]: ...

    def values(self, field: int, first: int, rows: int) -> pa.Array: ...


class _Rows:
    """Some rows of a set."""

    def __init__(self, columns: _Columns, first: int, rows: int) -> None:
        self._columns = columns
        self._first, self._rows = first, rows

    @property
    def fields(self) -> Collection[int]:
        return self._columns.fields

    def values(self, field: int) -> pa.Array:
        return self._columns.values(field, self._first, self._rows)


class _OwnFiles:
    """The files of a set of which each field has one, read when it is asked for."""

    def __init__(self, files: FileReader, found: FileSet, opened: ExitStack) -> None:
        """``opened`` closes what is opened."""
        self._files = files
        self._found = found.files
        self._opened = opened
        self._open: dict[int, _OwnFile] = {}

    @property
    def rows(self) -> int:
        """How many rows there are; those of times are read in any case."""
        return self._file(
            TIMESTAMP if TIMESTAMP in self._found else min(self._found)
        ).rows

    @property
    def fields(self) -> Collection[int]:
        return self._found.keys()

    def values(self, field: int, first: int, rows: int) -> pa.Array:
        return self._file(field).values(first, rows)

    def _file(self, field: int) -> _OwnFile:
        if field not in self._open:
            file = _OwnFile(self._files, self._found[field])
            self._open[field] = self._opened.enter_context(closing(file))
        return self._open[field]


class _OwnFile:
    """The file of one field, of which a part is read and decoded at a time.

    The rows that were asked for last are kept.
    """

    def __init__(self, files: FileReader, stored: StoredFile) -> None:
        self._files, self._path = files, stored.path
        with _reading(files, stored.path), ExitStack() as failed:
            self._source = failed.enter_context(files.open(stored.path))
            self._parquet = envelope.column(self._source)
            failed.pop_all()
        self._batches: Iterator[pa.RecordBatch] | None = None
        self._begin = 0
        self._kept: list[pa.Array] = []

    def close(self) -> None:
        self._source.close()

    def values(self, first: int, rows: int) -> pa.Array:
        """Return the values of some rows, which begin no earlier than any before."""
        end = self._begin + sum(map(len, self._kept))
        while end < first + rows:
            if end <= first:
                self._begin, self._kept = end, []
            self._kept.append(self._next(rows))
            end += len(self._kept[-1])
        self._kept = _without_first(self._kept, first - self._begin)
        self._begin = first
        found = pa.chunked_array(self._kept).slice(0, rows)
        return found.chunk(0) if found.num_chunks == 1 else found.combine_chunks()

    @property
    def rows(self) -> int:
        return int(self._parquet.metadata.num_rows)

    def _next(self, rows: int) -> pa.Array:
        """Decode so many rows more, which all but the last part have."""
        if self._batches is None:
            self._batches = self._parquet.iter_batches(rows, use_threads=False)
        with _reading(self._files, self._path):
            batch = next(self._batches, None)
        if batch is None:
            raise _damaged(self._path, "it lacks rows")
        return batch.column(0)


class _Groups:
    """The files of one set, each opened when a field of its is asked for."""

    def __init__(self, files: FileReader, found: FileSet, opened: ExitStack) -> None:
        """``opened`` closes what is opened."""
        self._files = files
        self._found = found.files
        self._opened = opened
        self._open: dict[int, _GroupFile] = {}
        self._of: dict[int, int] = {}
        for group, told in (found.groups or {}).items():
            fields = told or self._file(group).fields
            self._of |= dict.fromkeys(fields, group)

    @property
    def fields(self) -> Collection[int]:
        return self._of.keys()

    def values(self, field: int, first: int, rows: int) -> pa.Array:
        return self._file(self._of[field]).values(field, first, rows)

    def _file(self, group: int) -> _GroupFile:
        if group not in self._open:
            file = _GroupFile(self._files, self._found[group])
            self._open[group] = self._opened.enter_context(closing(file))
        return self._open[group]


class _GroupFile:
    """One open file, whose rows are read in order, if at all.

    Of each field the rows that were asked for last are kept, and those of their last row
    group.
    """

    def __init__(self, files: FileReader, stored: StoredFile) -> None:
        self._files, self._path = files, stored.path
        with _reading(files, stored.path), ExitStack() as failed:
            self._source = failed.enter_context(files.open(stored.path))
            self._parquet = self._parsed()
            failed.pop_all()
        about = self._parquet.metadata
        counts = (about.row_group(n).num_rows for n in range(about.num_row_groups))
        self._begins = [0, *accumulate(counts)]
        self._names = {
            int((each.metadata or {}).get(_FIELD_ID, -1)): each.name
            for each in self._parquet.schema_arrow
        }
        self._kept: dict[int, tuple[int, list[pa.Array]]] = {}
        if about.num_rows != stored.rows:
            self.close()
            raise _damaged(self._path, f"{about.num_rows} rows of {stored.rows}")

    @property
    def fields(self) -> Collection[int]:
        return self._names.keys()

    def close(self) -> None:
        self._source.close()

    def values(self, field: int, first: int, rows: int) -> pa.Array:
        """Return the values of some rows, which begin no earlier than any before."""
        if field not in self._names:
            raise _damaged(self._path, f"it has no field {field}")
        begin, chunks = self._kept.get(field, (first, []))
        end = max(begin + sum(map(len, chunks)), first)
        kept = _without_first(chunks, first - begin)
        if end < first + rows:
            since = bisect_right(self._begins, end) - 1
            until = bisect_left(self._begins, first + rows)
            read = self._read(field, range(since, until))
            kept += _without_first(read, end - self._begins[since])
        self._kept[field] = first, kept
        return pa.chunked_array(kept).slice(0, rows).combine_chunks()

    def _read(self, field: int, groups: range) -> list[pa.Array]:
        names = [self._names[field]]
        with _reading(self._files, self._path):
            table = self._parquet.read_row_groups(groups, names, use_threads=False)
        return list(table.column(0).chunks)

    def _parsed(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self._source, pre_buffer=True)
        except OSError as error:
            if "encrypted" in str(error):
                raise _encrypted(self._path) from error
            raise


def _without_first(chunks: list[pa.Array], rows: int) -> list[pa.Array]:
    """Return chunks without so many rows at their beginning."""
    left = []
    for each in chunks:
        if rows < len(each):
            left.append(each.slice(max(rows, 0)))
        rows -= len(each)
    return left


def _damaged(path: str, why: object) -> StorageError:
    return StorageError(f"{path} cannot be read: {why}")


def _encrypted(path: str) -> CollectionError:
    return CollectionError(
        f"the source encrypts its files: {path} cannot be read without its keys"
    )
