"""Rows as the source's files have them, at a moment."""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.config import Storage
from cdc_actors.errors import CollectionError, TransientError
from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.pipeline.work_queue import RunBudget
from cdc_actors.source.catalog.model import CollectionMeta, PartitionMeta
from cdc_actors.source.storage import envelope, parts
from cdc_actors.source.storage.files import FileGoneError, Files, StorageError
from cdc_actors.source.storage.listing import FileSet, Segment, StoredFile
from cdc_actors.source.storage.rows import SegmentReader
from cdc_actors.source.storage.stretch import Stretch
from tests.support.milvus_files import (
    file_of_deletes,
    file_of_group,
    file_of_rows,
    newer_file_of_deletes,
    plain_file_of_deletes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

KEY, VECTOR, NOTE = 100, 101, 102
LIMIT = 256 << 20
GROUPS = ((1, KEY), (VECTOR,))
"""As 2.6 divides fields: what it wants of every row, and each vector."""
Row = tuple[int, int]
"""Key and timestamp."""


class MemoryFiles:
    """Files by path."""

    def __init__(self) -> None:
        self.found: dict[str, bytes] = {}
        self.is_far = False
        self.opened: list[str] = []
        self.read_whole: list[str] = []

    def read(self, path: str) -> pa.Buffer:
        """Return a file."""
        self.read_whole.append(path)
        return pa.py_buffer(self.found[path])

    def open(self, path: str) -> pa.NativeFile:
        """Open a file."""
        self.opened.append(path)
        return pa.BufferReader(self.found[path])

    @contextmanager
    def translated(self, _path: str) -> Iterator[None]:
        """Say what goes wrong as the source's storage does."""
        try:
            yield
        except OSError as error:
            raise StorageError(f"does not give it: {error}") from error

    def add(self, content: bytes, rows: int = 0) -> StoredFile:
        """Keep a file; return what the catalog says of it."""
        path = f"file/{len(self.found)}"
        self.found[path] = content
        return StoredFile(path, rows, len(content))

    def add_set(
        self, columns: Mapping[int, pa.Array], groups: Sequence[Sequence[int]] = ()
    ) -> FileSet:
        """Keep a set of files, of which each has a column, or a group of them."""
        if not groups:
            return FileSet({i: self.add(file_of_rows(c)) for i, c in columns.items()})
        rows = len(next(iter(columns.values())))
        written = {
            number: self.add(file_of_group({i: columns[i] for i in fields}), rows)
            for number, fields in enumerate(groups)
        }
        return FileSet(written, {n: tuple(fields) for n, fields in enumerate(groups)})


def schema(*more: schema_pb2.FieldSchema) -> bytes:
    """Return a schema of a key and a vector, and other fields."""
    key = schema_pb2.FieldSchema(
        fieldID=KEY, name="id", is_primary_key=True, data_type=schema_pb2.Int64
    )
    vector = schema_pb2.FieldSchema(
        fieldID=VECTOR, name="v", data_type=schema_pb2.FloatVector
    )
    vector.type_params.add(key="dim", value="2")
    return schema_pb2.CollectionSchema(
        name="c", fields=[key, vector, *more]
    ).SerializeToString()


def meta(**changes: Any) -> CollectionMeta:
    """Return a collection with one partition."""
    fields: dict[str, Any] = {
        "id": 1,
        "database": "default",
        "name": "c",
        "description": "",
        "created": 1,
        "available": True,
        "dropping": False,
        "schema": schema(),
        "shards": ("dml_0_1v0",),
        "channels": ("dml_0",),
        "start_positions": {},
        "shards_num": 1,
        "consistency_level": 0,
        "properties": {},
        "partitions": {7: PartitionMeta("_default", 1)},
    }
    return CollectionMeta(**(fields | changes))


def segment(
    files: MemoryFiles,
    rows: Sequence[Row],
    deletes: Sequence[Row] = (),
    write_deletes: Callable[[Sequence[Row]], bytes] = file_of_deletes,
    groups: Sequence[Sequence[int]] = (),
    **more: pa.Array,
) -> Segment:
    """Write the files of a segment; return what the catalog says of it."""
    keys, times = [key for key, _ in rows], [time for _, time in rows]
    floats = pa.array([key + 0.5 for key in keys for _ in range(2)], pa.float32())
    vectors = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(8), len(rows), [None, floats.buffers()[1]]
    )
    columns = {1: pa.array(times, pa.int64()), KEY: pa.array(keys, pa.int64())}
    columns |= {VECTOR: vectors, **{int(k[1:]): v for k, v in more.items()}}
    deleted = (files.add(write_deletes(deletes)),) if deletes else ()
    return Segment(
        id=1,
        partition=7,
        shard="dml_0_1v0",
        sets=(files.add_set(columns, groups),),
        deletes=deleted,
    )


def sharing(
    segments: Sequence[Segment], files: MemoryFiles, deletes: Sequence[Row]
) -> list[Segment]:
    """Return segments with deletes that they have in common in a file of its own."""
    shared = ((files.add(file_of_deletes(deletes)),),) if deletes else ()
    return [replace(each, shared=shared) for each in segments]


def found(
    reader: SegmentReader, *segments: Segment, until: int, since: int = 0
) -> Counter[Row]:
    """Return the rows that segments have at a moment, by key and vector's first value."""
    rows: Counter[Row] = Counter()
    for each in segments:
        for insert in reader.inserts(each, until, since):
            fields = {
                field.field_id: field
                for field in map(schema_pb2.FieldData.FromString, insert.columns)
            }
            keys = fields[KEY].scalars.long_data.data
            floats = fields[VECTOR].vectors.float_vector.data
            assert [key + 0.5 for key in keys for _ in range(2)] == list(floats)
            assert insert.rows == len(keys)
            assert insert.timestamp <= until
            rows.update((key, 0) for key in keys)
    return rows


messages = st.lists(
    st.tuples(
        st.sampled_from(["insert", "delete", "upsert"]),
        st.integers(0, 3),
        st.integers(0, 2),
        st.sampled_from(["file", "shared", "", "_default"]),
    ),
    max_size=20,
)


@given(
    messages,
    st.integers(0, 25),
    st.integers(0, 25),
    st.lists(st.sampled_from([(), GROUPS]), min_size=3, max_size=3),
    st.integers(1, 1000),
    st.sampled_from([1, 300, 10_000]),
    st.sampled_from([0, LIMIT]),
)
def test_rows_are_those_of_the_log_at_that_moment(
    said, until, since, forms, size, at_once, limit
):
    """Whatever was inserted and deleted in which segment, each row is there once.

    Deletes are in files of a segment or of all, or known from the log: of one partition, or
    of all. Segments have
    a file a field, or for a group of them, read at once or not, in parts of any size.
    """
    expected: list[Row] = []
    rows: dict[int, list[Row]] = {0: [], 1: [], 2: []}
    deletes: dict[str, list[Row]] = {"file": [], "shared": []}
    logged: dict[tuple[str, str], dict[int, int]] = {}
    for time, (kind, key, place, where) in enumerate(said, start=1):
        if kind != "insert" and where in deletes:
            deletes[where].append((key, time))
        elif kind != "insert" and time <= until:
            logged.setdefault(("dml_0_1v0", where), {})[key] = time
        if kind != "delete":
            rows[place].append((key, time))
        if time > until:
            continue
        if kind != "insert":
            expected = [row for row in expected if row[0] != key]
        if kind != "delete":
            expected.append((key, time))
    files = MemoryFiles()
    segments = [
        segment(files, each, deletes["file"], groups=forms[place])
        for place, each in rows.items()
        if each
    ]
    segments = sharing(segments, files, deletes["shared"])
    beyond = {key: until for key, _ in expected}
    logged |= {("dml_0_1v0", "old"): beyond, ("dml_0_1v1", ""): beyond}
    said = {place: (list(d), list(d.values())) for place, d in logged.items()}
    reader = SegmentReader(meta(), files).knowing(said)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_BYTES", size)
        patch.setattr(envelope, "READ_BYTES", at_once)
        memory = RunBudget(MemoryBudget(limit).quota(2.0))
        with reader.ahead(segments, memory, lambda: None, whole=True) as lent:
            assert found(lent, *segments, until=until, since=since) == Counter(
                (key, 0) for key, time in expected if time >= since
            )


@pytest.mark.parametrize(("limit", "times"), [(LIMIT, 2), (200, 6), (0, 6)])
def test_deletes_that_segments_have_in_common(limit: int, times: int) -> None:
    """Files are read once, and count as memory; where there is no room, again."""
    files = MemoryFiles()
    made = [segment(files, [(1, 1), (2, 1)]) for _ in range(3)]
    of_both = sharing(made, files, [(1, 3)]), sharing(made, files, [(2, 3)])
    in_turn = [each for both in zip(*of_both, strict=True) for each in both]
    memory = MemoryBudget(limit)
    run = RunBudget(memory.quota(2.0))
    reader = SegmentReader(meta(), files)
    with reader.ahead(in_turn, run, lambda: None, whole=True) as lent:
        rows = found(lent, *in_turn, until=9)
        assert rows == Counter({(1, 0): 3, (2, 0): 3})
        assert (0 < memory.used <= limit // 8) == (limit > 0)
    assert len(files.read_whole) == times
    assert memory.used == 0


@pytest.mark.parametrize("form", [newer_file_of_deletes, plain_file_of_deletes])
def test_newer_forms_of_deletes(form):
    """Deletes in a column for the keys and one for the times are read, too."""
    files = MemoryFiles()
    one = segment(files, [(1, 1), (2, 1)], [(2, 3)], form)
    assert found(SegmentReader(meta(), files), one, until=9) == Counter({(1, 0): 1})


def test_many_rows_come_in_pieces(monkeypatch):
    """A set of files becomes several inserts, so that little is held at once."""
    monkeypatch.setattr("cdc_actors.source.storage.rows.PIECE_BYTES", 100)
    files = MemoryFiles()
    one = segment(files, [(key, 1) for key in range(40)])
    reader = SegmentReader(meta(), files)
    assert len(list(reader.inserts(one, 9))) > 3
    assert found(reader, one, until=9).total() == 40


def test_nulls_are_said_as_in_the_log():
    """A nullable column has a value for every row, and says which are null."""
    note = schema_pb2.FieldSchema(
        fieldID=NOTE, name="note", data_type=schema_pb2.VarChar, nullable=True
    )
    files = MemoryFiles()
    texts = pa.array(["a", None, "c"])
    one = segment(files, [(1, 1), (2, 1), (3, 1)], f102=texts)
    reader = SegmentReader(meta(schema=schema(note)), files)
    [insert] = reader.inserts(one, 9)
    column = schema_pb2.FieldData.FromString(insert.columns[2])
    assert list(column.valid_data) == [True, False, True]
    assert list(column.scalars.string_data.data) == ["a", "", "c"]


@pytest.mark.parametrize(
    ("kind", "attribute", "width"),
    [
        (schema_pb2.BinaryVector, "binary_vector", 2),
        (schema_pb2.Float16Vector, "float16_vector", 32),
        (schema_pb2.BFloat16Vector, "bfloat16_vector", 32),
        (schema_pb2.Int8Vector, "int8_vector", 16),
    ],
)
def test_vectors_that_are_bytes(kind, attribute, width):
    """They are the file's, byte for byte, of the rows that are left alone."""
    field = schema_pb2.FieldSchema(fieldID=NOTE, name="bytes", data_type=kind)
    field.type_params.add(key="dim", value="16")
    files = MemoryFiles()
    values = [bytes([number]) * width for number in range(3)]
    one = segment(
        files,
        [(1, 1), (2, 1), (3, 1)],
        [(2, 5)],
        f102=pa.array(values, pa.binary(width)),
    )
    [insert] = SegmentReader(meta(schema=schema(field)), files).inserts(one, 9)
    column = schema_pb2.FieldData.FromString(insert.columns[2])
    assert column.vectors.dim == 16
    assert getattr(column.vectors, attribute) == values[0] + values[2]


def test_partition_that_is_dropped():
    """Nothing comes of a partition that the catalog does not have any more."""
    files = MemoryFiles()
    one = segment(files, [(1, 1)])
    assert not list(SegmentReader(meta(partitions={}), files).inserts(one, 9))


@pytest.mark.parametrize("at_once", [10_000, 300, 1])
@pytest.mark.parametrize("damage", [b"", b"{}", None])
def test_damaged_file_is_tried_again(damage, at_once, monkeypatch):
    """A file that is not whole is no reason to give up: it may be written just now."""
    monkeypatch.setattr(envelope, "READ_BYTES", at_once)
    files = MemoryFiles()
    one = segment(files, [(1, 1)])
    path = one.sets[0].files[KEY].path
    files.found[path] = files.found[path][:-40] if damage is None else damage
    with pytest.raises(TransientError, match="cannot be read"):
        list(SegmentReader(meta(), files).inserts(one, 9))


def test_large_file_that_vanishes_while_it_is_read(tmp_path, monkeypatch):
    """One of a folder is read to its end; where a store gives no more, it is told gone."""
    monkeypatch.setattr(envelope, "READ_BYTES", 100)
    monkeypatch.setattr(parts, "PART_BYTES", 1000)
    memory = MemoryFiles()
    one = segment(memory, [(key, 1) for key in range(400)])
    (tmp_path / "insert_log").mkdir()
    (tmp_path / "file").mkdir()
    for path, content in memory.found.items():
        (tmp_path / path).write_bytes(content)
    storage = Storage(type="local", path=str(tmp_path))
    reader = SegmentReader(meta(), Files(storage))
    inserts = reader.inserts(one, 9)
    rows = next(inserts).rows
    shutil.move(tmp_path / "file", tmp_path / "moved")
    assert rows < rows + sum(each.rows for each in inserts) == 400

    def gone(*_: object) -> None:
        shutil.rmtree(tmp_path / "file")
        raise OSError("404")

    shutil.move(tmp_path / "moved", tmp_path / "file")
    monkeypatch.setattr(Stretch, "read", gone)
    with pytest.raises(FileGoneError):
        next(reader.inserts(one, 9))


def test_type_that_is_not_read_from_files():
    """A column of a type that cannot be read is named."""
    odd = schema_pb2.FieldSchema(fieldID=NOTE, name="when", data_type=200)
    with pytest.raises(CollectionError, match=r"the field when of default\.c"):
        SegmentReader(meta(schema=schema(odd)), MemoryFiles()).refuse_unreadable()
