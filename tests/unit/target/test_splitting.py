"""Rows and keys divided among requests: each once, in order, no request too large."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.changes import Rows
from cdc_actors.target import splitting
from cdc_actors.target.request_size import RequestSize
from tests.support.changes import insert

INSERT = RequestSize(splitting.MAX_INSERT_BYTES)


@given(st.lists(st.integers(0, 600_000).map("k".__mul__) | st.integers(), max_size=12))
def test_a_delete_names_every_key_once_and_stays_small(keys: list) -> None:
    """Long keys are spread over requests, in order; only one key alone may be larger."""
    size = RequestSize(splitting.MAX_DELETE_BYTES)
    chunks = list(splitting.key_chunks(keys, size))
    assert [key for chunk in chunks for key in chunk] == keys
    for chunk in chunks:
        text = sum(len(key) for key in chunk if isinstance(key, str))
        assert text <= splitting.MAX_DELETE_BYTES or len(chunk) == 1


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 9 << 20)), max_size=12))
def test_requests_keep_a_partition_s_rows_in_order_and_bounded(parts: list) -> None:
    """Rows are grouped by partition up to the size limit; one insert may be larger."""
    inserts = [
        Rows(replace(insert(i, partition=partition), size=size))
        for i, (partition, size) in enumerate(parts)
    ]
    groups = list(splitting.row_groups(inserts, INSERT))
    for partition in "ab":
        stamps = [
            r.insert.timestamp
            for g in groups
            for r in g
            if r.insert.partition == partition
        ]
        assert stamps == [i for i, (p, _) in enumerate(parts) if p == partition]
    for group in groups:
        size = sum(each.insert.size for each in group)
        assert size <= INSERT.limit or len(group) == 1


@given(
    st.integers(1, 50),
    st.integers(1, 100 << 20),
    st.none() | st.sets(st.integers(0, 49), min_size=1),
)
def test_an_insert_larger_than_a_request_is_split_by_rows(
    count: int, size: int, chosen: set[int] | None
) -> None:
    """Each row comes once, in order; no request holds more rows than fit, but one."""
    whole = replace(insert(1, keys=range(count)), size=size)
    keep = None if chosen is None else tuple(sorted(i for i in chosen if i < count))
    if keep == ():
        return
    groups = list(splitting.row_groups([Rows(whole, keep)], INSERT))
    parts = [part for group in groups for part in group]
    if len(parts) > 1:
        kept = [row for part in parts for row in part.keep or ()]
        assert kept == list(keep or range(count))
    for part in parts:
        its = count if part.keep is None else len(part.keep)
        assert its == 1 or its * size / count <= INSERT.limit + size / count


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_halves_are_all_of_the_rows(counts: list[int], data: st.DataObject) -> None:
    """Halved again and again, rows come apart one by one, in order, and each once."""
    chosen = [
        data.draw(st.none() | st.sets(st.integers(0, n - 1), min_size=1).map(sorted))
        for n in counts
    ]
    rows = [
        Rows(insert(i, keys=range(n)), None if keep is None else tuple(keep))
        for i, (n, keep) in enumerate(zip(counts, chosen, strict=True))
    ]
    single: list[tuple[int, int]] = []

    def divide(some: list[Rows]) -> None:
        parts = splitting.halves(some)
        for part in parts:
            divide(part)
        if not parts:
            assert [len(splitting.kept(each)) for each in some] == [1]
            single.append((some[0].insert.timestamp, splitting.kept(some[0])[0]))

    divide(rows)
    assert single == [
        (i, row)
        for i, (n, keep) in enumerate(zip(counts, chosen, strict=True))
        for row in (range(n) if keep is None else keep)
    ]


def named(name: str) -> bytes:
    """Return a column of another name than the key's."""
    field = schema_pb2.FieldData.FromString(insert(1).columns[0])
    field.field_name = name
    return field.SerializeToString()


@pytest.mark.parametrize("name", ["more", "m" * 150])
@pytest.mark.parametrize("dropped", [(), ("less",), ("m" * 149 + "n",)])
def test_rows_with_other_columns_go_apart(dropped: tuple[str, ...], name: str) -> None:
    """Those from before fields were added or dropped have no values of one, or others."""
    one, other = insert(1), insert(2)
    columns = *one.columns, *map(named, dropped)
    before = Rows(replace(one, columns=columns))
    after = Rows(replace(other, columns=(*other.columns, named(name))))
    groups = list(splitting.row_groups([before, after, before, after], INSERT))
    assert groups == [[before, before], [after, after]]
