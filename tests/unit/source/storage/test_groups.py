"""Rows of a 2.6 from files that hold groups of fields, as its log has them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from msgspec import structs
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.changes import Insert
from cdc_actors.errors import CollectionError, TransientError
from cdc_actors.source.storage import parts
from cdc_actors.source.storage.listing import FileSet, Segment
from cdc_actors.source.storage.rows import SegmentReader
from cdc_actors.source.streamed import decode_streamed
from cdc_actors.target.columns import without_nulls
from tests.fakes.recorded_source import RecordedSource
from tests.support.milvus_files import file_of_group, file_of_rows
from tests.support.recorded_life import messages
from tests.support.stored_rows import arrays, groups_of
from tests.unit.source.storage.test_rows import (
    GROUPS,
    KEY,
    NOTE,
    VECTOR,
    MemoryFiles,
    found,
    meta,
    schema,
    segment,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdc_actors.source.catalog.model import CollectionMeta

VERSION = "2.6.20"


@cache
def recorded() -> dict[int, CollectionMeta]:
    """Return what the catalog of a real 2.6.20 had of its collections in the end."""
    source = RecordedSource(VERSION)
    source.play()
    with closing(source.etcd.catalog()) as catalog:
        return catalog.snapshot().collections


@cache
def inserts() -> list[Insert]:
    """Return what was inserted at a real 2.6.20."""
    said = (decode_streamed(m.properties, m.payload) for m in messages(VERSION))
    return [each for each in said if isinstance(each, Insert)]


def of_name(name: str) -> list[Insert]:
    """Return what was inserted into a collection."""
    return [each for each in inserts() if recorded()[each.collection].name == name]


def stored(files: MemoryFiles, insert: Insert, *, in_groups: bool) -> FileSet:
    """Have the rows of an insert in files."""
    times = pa.array([insert.timestamp] * insert.rows, pa.int64())
    columns = {0: times, 1: times, **arrays(insert.columns)}
    return files.add_set(
        columns, list(groups_of(columns).values()) if in_groups else ()
    )


def read(insert: Insert, found: CollectionMeta, *, in_groups: bool) -> list[Insert]:
    """Return the rows of an insert that were written to files and read from there."""
    files = MemoryFiles()
    number = next(
        number
        for number, each in found.partitions.items()
        if each.name == insert.partition
    )
    one = Segment(
        id=1,
        partition=number,
        shard=insert.shard,
        sets=(stored(files, insert, in_groups=in_groups),),
        deletes=(),
    )
    reader = SegmentReader(found, files)
    reader.refuse_unreadable()
    return list(reader.inserts(one, insert.timestamp))


def applied(columns: Sequence[bytes]) -> dict[str, schema_pb2.FieldData]:
    """Return columns by name, without what stands in the place of nulls."""
    made = [schema_pb2.FieldData.FromString(without_nulls(each)) for each in columns]
    return {each.field_name: each for each in made}


@pytest.mark.parametrize("in_groups", [True, False])
def test_columns_are_those_of_the_log(in_groups: bool) -> None:  # noqa: FBT001
    """Every type, nulls and defaults of a real 2.6.20: the same columns from files."""
    kinds = set()
    for insert in inserts():
        of = recorded()[insert.collection]
        if insert.partition not in {each.name for each in of.partitions.values()}:
            continue
        if insert.timestamp <= max(of.truncated):
            assert read(insert, of, in_groups=in_groups) == []
            continue
        [one] = read(insert, of, in_groups=in_groups)
        place = one.collection, one.shard, one.partition, one.timestamp, one.rows
        assert place == (
            insert.collection,
            insert.shard,
            insert.partition,
            insert.timestamp,
            insert.rows,
        )
        wanted, there = applied(insert.columns), applied(one.columns)
        assert {name: there[name] for name in wanted} == wanted
        kinds |= {each.type for each in wanted.values()}
        kinds |= {-each.type for each in wanted.values() if not all(each.valid_data)}
    assert len(kinds) > 25


@pytest.mark.parametrize("in_groups", [True, False])
def test_rows_from_before_a_field_was_added(in_groups: bool) -> None:  # noqa: FBT001
    """They have its default value or null, and what was dropped is left out."""
    insert = min(of_name("every_nullable"), key=lambda each: each.timestamp)
    of = recorded()[insert.collection]
    field = schema_pb2.FieldData.FromString(insert.columns[-1])
    field.field_id, field.field_name = 999, "dropped"
    both = structs.replace(insert, columns=(*insert.columns, field.SerializeToString()))
    [one] = read(both, of, in_groups=in_groups)
    there = {
        each.field_name: each
        for each in map(schema_pb2.FieldData.FromString, one.columns)
    }
    rows = insert.rows
    assert "dropped" not in there
    assert list(there["added"].valid_data) == [False] * rows
    assert list(there["added"].scalars.long_data.data) == [0] * rows
    assert list(there["added_d"].valid_data) == [True] * rows
    assert list(there["added_d"].scalars.string_data.data) == ["ad"] * rows
    vectors = there["addv"]
    assert list(vectors.valid_data) == [False] * rows
    assert (vectors.vectors.dim, vectors.vectors.WhichOneof("data")) == (2, None)
    assert list(there["$meta"].scalars.json_data.data) == [b"{}"] * rows


def test_rows_without_a_value_of_a_field_that_must_have_one() -> None:
    """The field is named."""
    note = schema_pb2.FieldSchema(
        fieldID=NOTE, name="note", data_type=schema_pb2.VarChar
    )
    files = MemoryFiles()
    one = segment(files, [(1, 1)], groups=GROUPS)
    reader = SegmentReader(meta(schema=schema(note)), files)
    with pytest.raises(CollectionError, match=r"no value of the field note"):
        list(reader.inserts(one, 9))


def test_what_bm25_has_computed_is_left_out() -> None:
    """The log does not have it either: the target computes it."""
    [insert] = of_name("bm25")
    of = recorded()[insert.collection]
    output = schema_pb2.FieldData(field_id=102, type=schema_pb2.SparseFloatVector)
    output.vectors.sparse_float_vector.contents.extend([b"12345678"] * insert.rows)
    both = structs.replace(
        insert, columns=(*insert.columns, output.SerializeToString())
    )
    [one] = read(both, of, in_groups=True)
    assert applied(one.columns) == applied(insert.columns)


def test_keys_and_times_are_read_first() -> None:
    """Others are not opened for keys alone, nor where none of the rows is there."""
    files = MemoryFiles()
    rows = [(key, 5) for key in range(7)]
    one = segment(files, rows, [(key, 6) for key in range(7)], groups=GROUPS)
    reader = SegmentReader(meta(), files)
    assert list(reader.inserts(one, 9)) == []
    assert [*reader.keys(one, 5)] == [[0, 1, 2, 3, 4, 5, 6]]
    system = one.sets[0].files[0].path
    assert set(files.opened) == {system}
    assert found(reader, one, until=5).total() == 7
    assert files.opened.count(system) == 3


@pytest.mark.parametrize("size", [1, 10, 10_000])
def test_parts_of_any_size(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows are read at once, others than those deleted are all there once."""
    monkeypatch.setattr(parts, "PART_BYTES", size)
    files = MemoryFiles()
    rows = [(key, 5) for key in range(50)]
    gone = [*range(10, 31), 49]
    one = segment(files, rows, [(key, 6) for key in gone], groups=GROUPS)
    there = found(SegmentReader(meta(), files), one, until=9)
    assert sorted(there) == [(key, 0) for key in range(50) if key not in gone]


def test_a_catalog_that_does_not_say_which_fields_a_group_has() -> None:
    """The files do: so it was in the first of 2.6."""
    files = MemoryFiles()
    one = segment(files, [(1, 1), (2, 1)], groups=GROUPS)
    untold = FileSet(one.sets[0].files, {0: (), 1: ()})
    reader = SegmentReader(meta(), files)
    assert found(reader, replace(one, sets=(untold,)), until=9).total() == 2


@pytest.mark.parametrize("part", ["rows", "field", "footer"])
def test_a_group_that_is_not_what_the_catalog_says(part: str) -> None:
    """It is tried again: the catalog may have been ahead of the files, or a file cut."""
    files = MemoryFiles()
    one = segment(files, [(1, 1), (2, 1)], groups=GROUPS)
    vectors = one.sets[0].files[1]
    if part == "rows":
        files.found[vectors.path] = file_of_group({VECTOR: pa.array([b"12345678"])})
    elif part == "field":
        files.found[vectors.path] = file_of_group({NOTE: pa.array([1, 2])})
    else:
        files.found[vectors.path] = files.found[vectors.path][:-9]
    with pytest.raises(TransientError, match=r"file/1 cannot be read"):
        list(SegmentReader(meta(), files).inserts(one, 9))


def test_files_that_are_encrypted() -> None:
    """Whatever tells it, the reason does: the catalog, a file's head, or its footer."""
    files = MemoryFiles()
    closed = meta(properties={"cipher.enabled": "true"})
    with pytest.raises(CollectionError, match=r"encrypts the files of default\.c"):
        SegmentReader(closed, files).refuse_unreadable()
    own = segment(files, [(1, 1)])
    groups = segment(files, [(1, 1)], groups=GROUPS)
    keys = own.sets[0].files[KEY].path
    files.found[keys] = file_of_rows(pa.array([1]), edek="a key")
    footer = groups.sets[0].files[1].path
    files.found[footer] = files.found[footer][:-4] + b"PARE"
    for each in (own, groups):
        with pytest.raises(CollectionError, match=r"encrypts its files: file/\d"):
            list(SegmentReader(meta(), files).inserts(each, 9))


def test_an_array_of_structs_that_may_be_null() -> None:
    """It is named; others are read."""
    [of] = [each for each in recorded().values() if each.name == "structs"]
    changed = schema_pb2.CollectionSchema.FromString(of.schema)
    changed.struct_array_fields[0].fields[1].nullable = True
    nullable = replace(of, schema=changed.SerializeToString())
    SegmentReader(of, MemoryFiles()).refuse_unreadable()
    with pytest.raises(
        CollectionError, match=r"the field st of default\.structs is an"
    ):
        SegmentReader(nullable, MemoryFiles()).refuse_unreadable()


@pytest.mark.parametrize(
    ("kind", "data", "width"),
    [
        (schema_pb2.FloatVector, "float_vector", 64),
        (schema_pb2.BinaryVector, "binary_vector", 2),
        (schema_pb2.Float16Vector, "float16_vector", 32),
        (schema_pb2.Int8Vector, "int8_vector", 16),
    ],
)
def test_vectors_inside_of_structs(kind: int, data: str, width: int) -> None:
    """A row has as many as it has structs; they are called as in the log."""
    given = schema_pb2.CollectionSchema.FromString(schema())
    inside = schema_pb2.FieldSchema(
        fieldID=NOTE, name="e", data_type=schema_pb2.ArrayOfVector, element_type=kind
    )
    inside.type_params.add(key="dim", value="16")
    given.struct_array_fields.add(name="st", fields=[inside])
    vectors = [[bytes(width), b"\x01" * width], [], [b"\x02" * width]]
    files = MemoryFiles()
    values = pa.array(vectors, pa.list_(pa.binary(width)))
    groups = (*GROUPS, (NOTE,))
    one = segment(files, [(1, 1), (2, 1), (3, 1)], groups=groups, f102=values)
    reader = SegmentReader(meta(schema=given.SerializeToString()), files)
    [insert] = reader.inserts(one, 9)
    column = schema_pb2.FieldData.FromString(insert.columns[2])
    arrays = column.vectors.vector_array
    assert (column.field_name, arrays.dim, arrays.element_type) == ("st[e]", 16, kind)
    assert [each.WhichOneof("data") for each in arrays.data] == [data] * 3
    if kind != schema_pb2.FloatVector:
        assert [getattr(e, data) for e in arrays.data] == list(map(b"".join, vectors))


def test_rows_that_were_committed_later_than_they_say() -> None:
    """Those of a bulk import (3.0) are there, and are deleted, by that time."""
    files = MemoryFiles()
    one = segment(files, [(1, 2), (2, 3)], [(1, 5), (2, 9)], groups=GROUPS)
    committed = replace(one, committed=7)
    reader = SegmentReader(meta(), files)
    assert not found(reader, committed, until=6)
    assert [*found(reader, committed, until=8)] == [(1, 0), (2, 0)]
    assert [*found(reader, committed, until=9)] == [(1, 0)]


def test_what_was_truncated_is_gone() -> None:
    """Also where its files are there still; what came later is not."""
    files = MemoryFiles()
    one = segment(files, [(1, 5), (2, 6)], groups=GROUPS)
    reader = SegmentReader(meta(truncated=(5,)), files)
    assert [*found(reader, one, until=9)] == [(2, 0)]
    assert [*reader.keys(one, 9)] == [[2]]
