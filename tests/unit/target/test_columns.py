"""Columns joined and chosen as bytes are what parsing them would give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from cdc_actors.changes import Rows
from cdc_actors.errors import CollectionError
from cdc_actors.field_data import DYNAMIC
from cdc_actors.target import columns, insert_pb2
from tests.support.changes import KEY_FIELD, insert, key_column

if TYPE_CHECKING:
    from collections.abc import Iterable

DIM = 16
KINDS = [
    "bool_data",
    "int_data",
    "long_data",
    "float_data",
    "double_data",
    "string_data",
    "json_data",
    "array_data",
    "float_vector",
    "binary_vector",
    "float16_vector",
    "sparse_float_vector",
    "vector_array",
]
VALUES: dict[str, Any] = {
    "bool_data": lambda i: i % 2 == 0,
    "int_data": lambda i: -i,
    "long_data": lambda i: i << 40,
    "float_data": lambda i: i / 3,
    "double_data": lambda i: i / 7,
    "string_data": lambda i: "é" * i,
    "json_data": lambda i: b'{"x": %d}' % i,
    "array_data": lambda i: schema_pb2.ScalarField(
        long_data=schema_pb2.LongArray(data=range(i % 4))
    ),
}
BYTES_TYPES = {"binary_vector": 100, "float16_vector": 102}


def column(kind: str, numbers: list[int]) -> bytes:
    """Return a column of one kind whose value in each row depends on its number."""
    field = schema_pb2.FieldData(field_name="f", field_id=101)
    if kind in VALUES:
        data = getattr(field.scalars, kind).data
        data.extend([VALUES[kind](i) for i in numbers])
    elif kind == "float_vector":
        field.type = schema_pb2.FloatVector
        field.vectors.dim = DIM
        field.vectors.float_vector.data.extend(
            i + j for i in numbers for j in range(DIM)
        )
    elif kind == "vector_array":
        field.type = schema_pb2.ArrayOfVector
        field.vectors.vector_array.SetInParent()
        for i in numbers:
            values = schema_pb2.FloatArray(data=range(i % 4))
            field.vectors.vector_array.data.add(dim=1, float_vector=values)
    elif kind == "sparse_float_vector":
        field.vectors.sparse_float_vector.contents.extend(b"%08d" % i for i in numbers)
    else:
        field.type = BYTES_TYPES[kind]
        field.vectors.dim = DIM
        width = DIM // 8 if kind == "binary_vector" else DIM * 2
        setattr(
            field.vectors, kind, b"".join(bytes([i % 256]) * width for i in numbers)
        )
    return field.SerializeToString()


numbers = st.lists(st.integers(0, 200), min_size=1, max_size=6)


@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(numbers, min_size=1, max_size=4))
def test_joined_columns_parse_as_one(kind: str, parts: list[list[int]]) -> None:
    """A request of joined columns holds every row of every part, in order."""
    joined = columns.join([column(kind, part) for part in parts])
    every = [i for part in parts for i in part]
    request = milvus_pb2.InsertRequest.FromString(
        columns.insert_request("db", "c", "p", len(every), [joined])
    )
    expected = schema_pb2.FieldData.FromString(column(kind, every))
    assert list(request.fields_data) == [expected]
    assert (request.db_name, request.collection_name) == ("db", "c")
    assert (request.partition_name, request.num_rows) == ("p", len(every))


@pytest.mark.parametrize("kind", KINDS)
@given(numbers, st.data())
def test_chosen_rows_are_those_rows(
    kind: str, rows: list[int], data: st.DataObject
) -> None:
    """Choosing rows gives the column that was made of only these."""
    keep = data.draw(
        st.lists(st.sampled_from(range(len(rows))), unique=True).map(sorted)
    )
    chosen = columns.select(column(kind, rows), keep, len(rows))
    expected = column(kind, [rows[i] for i in keep])
    assert schema_pb2.FieldData.FromString(chosen) == schema_pb2.FieldData.FromString(
        expected
    )


@pytest.mark.parametrize("kind", KINDS)
@given(numbers, st.data())
def test_a_stretch_of_rows_is_those_rows(
    kind: str, rows: list[int], data: st.DataObject
) -> None:
    """A range of rows gives what their indexes one by one give."""
    start = data.draw(st.integers(0, len(rows) - 1))
    stretch = range(start, data.draw(st.integers(start + 1, len(rows))))
    written = column(kind, rows)
    chosen = columns.select(written, stretch, len(rows))
    assert chosen == columns.select(written, list(stretch), len(rows))


@given(st.lists(st.text(), min_size=1) | st.lists(st.integers(0, 1 << 60), min_size=1))
def test_keys_are_read_whatever_they_are(keys: list) -> None:
    """Primary keys come back in order, numbers and any text."""
    try:
        change = insert(1, keys)
    except UnicodeEncodeError:
        return
    assert list(columns.primary_keys(change, KEY_FIELD)) == keys


@given(
    st.lists(st.lists(st.integers(0, 1 << 60), min_size=1), min_size=1, max_size=5),
    st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_keys_of_many_inserts_are_those_of_each(
    parts: list[list[int]], further: list[bool]
) -> None:
    """Read at once, they come insert by insert, wherever their column stands."""
    other = column("bool_data", [1])
    changes = [insert(1, keys) for keys in parts]
    changes = [
        replace(each, columns=(other, *each.columns)) if behind else each
        for each, behind in zip(changes, further, strict=False)
    ]
    assert columns.keys_of_each(changes, KEY_FIELD) == parts


def test_a_missing_key_column_is_said() -> None:
    """An insert without the key's column names the field that lacks."""
    with pytest.raises(LookupError, match="no field 7"):
        columns.primary_keys(insert(1), 7)


def request_of(group: Iterable[Rows]) -> milvus_pb2.InsertRequest:
    """Return the request of a group, made as the writer of rows makes it."""
    named = [columns.named_columns(each) for each in group]
    joined = [columns.join([each[name] for each in named]) for name in named[0]]
    return milvus_pb2.InsertRequest.FromString(
        columns.insert_request("db", "c", "p", 1, joined)
    )


@pytest.mark.parametrize("kind", KINDS)
@given(
    st.lists(
        st.tuples(numbers, st.sampled_from(["none", "all", "some"])),
        min_size=1,
        max_size=5,
    )
)
def test_small_inserts_that_become_one_make_the_same_request(
    kind: str, parts: list[tuple[list[int], str]]
) -> None:
    """Whatever their columns are, and whether they say which rows have a value."""
    group = []
    for rows, said in parts:
        field = schema_pb2.FieldData.FromString(column(kind, rows))
        if said != "none":
            field.valid_data.extend(said == "all" or i % 2 == 0 for i in rows)
        made = (key_column(rows), field.SerializeToString())
        group.append(Rows(replace(insert(1, rows), columns=made)))
    assert request_of(columns.merged(group)) == request_of(group)


def test_columns_are_known_by_name() -> None:
    """Columns come by name, with only the rows that are kept."""
    named = columns.named_columns(Rows(insert(1, [5, 6, 7]), (0, 2)))
    assert named == {"id": key_column([5, 7])}


def test_computed_columns_are_left_out() -> None:
    """What the target computes itself is not sent, though the log may have it."""
    change = insert(1, [5, 6])
    sparse = column("sparse_float_vector", [5, 6])
    rows = Rows(replace(change, columns=(*change.columns, sparse)))
    assert columns.named_columns(rows).keys() == {"id", "f"}
    assert columns.named_columns(rows, {"f"}) == {"id": key_column([5, 6])}


flagged = st.lists(st.tuples(st.integers(1, 200), st.booleans()), min_size=1)


@pytest.mark.parametrize("told", [False, True])
def test_what_no_field_is_for_is_said_to_be_that(told: bool) -> None:  # noqa: FBT001
    """Also where the log does not say it (2.2.16), of all rows and of some."""
    field = schema_pb2.FieldData(field_name=DYNAMIC, is_dynamic=told)
    field.scalars.json_data.data.extend([b"{}", b'{"x": 1}'])
    written = replace(insert(1, [1, 2]), columns=(field.SerializeToString(),))
    for rows, count in ((Rows(written), 2), (Rows(written, [1]), 1)):
        [column] = columns.named_columns(rows).values()
        sent = schema_pb2.FieldData.FromString(column)
        assert (sent.is_dynamic, len(sent.scalars.json_data.data)) == (True, count)


@pytest.mark.parametrize("kind", VALUES)
@given(st.lists(flagged, min_size=1, max_size=3), st.data())
def test_nulls_have_no_values(
    kind: str, parts: list[list[tuple[int, bool]]], data: st.DataObject
) -> None:
    """Of a nullable column the request has every row's flag, and the valid rows' values."""
    kept, chunks = [], []
    for rows in parts:
        dense = schema_pb2.FieldData.FromString(column(kind, [i for i, _ in rows]))
        dense.valid_data.extend(is_valid for _, is_valid in rows)
        keep = data.draw(st.sets(st.sampled_from(range(len(rows))), min_size=1))
        chosen = columns.select(dense.SerializeToString(), sorted(keep), len(rows))
        chunks.append(columns.without_nulls(chosen))
        kept += [rows[i] for i in sorted(keep)]
    joined = schema_pb2.FieldData.FromString(b"".join(columns.join(chunks)))
    values = schema_pb2.FieldData.FromString(column(kind, [i for i, ok in kept if ok]))
    assert list(joined.valid_data) == [is_valid for _, is_valid in kept]
    assert getattr(joined.scalars, kind).data == getattr(values.scalars, kind).data


VECTORS = ["float_vector", "binary_vector", "float16_vector", "sparse_float_vector"]


@pytest.mark.parametrize("kind", VECTORS)
@given(st.lists(flagged, min_size=1, max_size=3), st.data())
def test_nullable_vectors_have_none_in_the_log(
    kind: str, parts: list[list[tuple[int, bool]]], data: st.DataObject
) -> None:
    """Those of the chosen rows are sent, whatever rows before them are null."""
    kept, chunks = [], []
    for rows in parts:
        there = [i for i, is_valid in rows if is_valid]
        compact = schema_pb2.FieldData.FromString(column(kind, there))
        if not there:
            compact.vectors.ClearField(kind)
        compact.valid_data.extend(is_valid for _, is_valid in rows)
        keep = data.draw(st.sets(st.sampled_from(range(len(rows))), min_size=1))
        chosen = columns.select(compact.SerializeToString(), sorted(keep), len(rows))
        chunks.append(columns.without_nulls(chosen))
        kept += [rows[i] for i in sorted(keep)]
    joined = schema_pb2.FieldData.FromString(b"".join(columns.join(chunks)))
    values = schema_pb2.FieldData.FromString(column(kind, [i for i, ok in kept if ok]))
    assert list(joined.valid_data) == [is_valid for _, is_valid in kept]
    found, wanted = getattr(joined.vectors, kind), getattr(values.vectors, kind)
    if kind == "sparse_float_vector":
        assert list(found.contents) == list(wanted.contents)
    else:
        assert found == wanted


def test_sparse_vectors_have_the_dimensions_of_the_largest() -> None:
    """Joined sparse columns say the most dimensions that one of them has."""
    parts = []
    for dim in (9, 4):
        part = schema_pb2.FieldData(type=schema_pb2.SparseFloatVector, field_name="f")
        part.vectors.sparse_float_vector.contents.append(b"%08d" % dim)
        part.vectors.dim = part.vectors.sparse_float_vector.dim = dim
        parts.append(part.SerializeToString())
    joined = schema_pb2.FieldData.FromString(b"".join(columns.join(parts)))
    sparse = joined.vectors.sparse_float_vector
    assert list(sparse.contents) == [b"00000009", b"00000004"]
    assert (sparse.dim, joined.vectors.dim) == (9, 9)


def test_times_are_sent_as_text() -> None:
    """Null ones are left out; what no text is for is said."""
    times = schema_pb2.FieldData(type=schema_pb2.Timestamptz, field_name="tz")
    times.scalars.timestamptz_data.data.extend([-1, 0, 1709184600000000])
    times.valid_data.extend([True, False, True])
    change = replace(insert(1, [5, 6, 7]), columns=(times.SerializeToString(),))
    sent = schema_pb2.FieldData.FromString(columns.named_columns(Rows(change))["tz"])
    assert list(sent.valid_data) == [True, False, True]
    assert list(sent.scalars.string_data.data) == [
        "1969-12-31T23:59:59.999999+00:00",
        "2024-02-29T05:30:00+00:00",
    ]
    times.scalars.timestamptz_data.data.append(1 << 62)
    with pytest.raises(CollectionError, match="in no year from 1 to 9999"):
        columns.as_times(times.SerializeToString())


@pytest.mark.parametrize(
    "validity",
    [
        insert_pb2.ColumnHead(scalars=insert_pb2.ScalarValidity(valid_data=[True])),
        insert_pb2.ColumnHead(vectors=insert_pb2.VectorValidity(valid_data=[False])),
    ],
    ids=["scalars", "vectors"],
)
def test_validity_inside_of_values(validity: insert_pb2.ColumnHead) -> None:
    """It would be taken for no validity at all: later versions have it there."""
    rows = insert(1)
    column = rows.columns[0] + validity.SerializeToString()
    with pytest.raises(CollectionError, match="the column id says inside its values"):
        columns.named_columns(Rows(replace(rows, columns=(column,))))
