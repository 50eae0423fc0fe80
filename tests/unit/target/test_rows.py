"""What a batch becomes on its way to the target."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext, suppress
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.changes import Batch, Rows
from cdc_actors.errors import TransientError
from cdc_actors.target import rows
from tests.support.changes import KEY_FIELD, insert


@given(st.lists(st.integers(0, 600_000).map("k".__mul__) | st.integers(), max_size=12))
def test_a_delete_names_every_key_once_and_stays_small(keys: list) -> None:
    """Long keys are spread over requests, in order; only one key alone may be larger."""
    chunks = list(rows._chunks(keys))
    assert [key for chunk in chunks for key in chunk] == keys
    for chunk in chunks:
        text = sum(len(key) for key in chunk if isinstance(key, str))
        assert text <= rows.MAX_DELETE_CHARACTERS or len(chunk) == 1


def test_a_key_is_quoted_whatever_it_holds() -> None:
    """Quotes, backslashes and line ends are escaped, everything else stays."""
    expression = rows.key_expression("id", ['a"b', "c\\d", "e\nf", "g'h", "é😀"])
    assert expression == 'id in ["a\\"b","c\\\\d","e\\nf","g\'h","é😀"]'


def test_the_smallest_key_is_written_as_each_target_reads_it() -> None:
    """Milvus cannot parse it, but folds a difference; Lite is the other way round."""
    smallest = -(2**63)
    assert rows.key_expression("id", [smallest]) == "id in [-9223372036854775807-1]"
    lite = rows.key_expression("id", [smallest], lite=True)
    assert lite == "id in [-9223372036854775808]"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 9 << 20)), max_size=12))
def test_requests_keep_a_partition_s_rows_in_order_and_bounded(parts: list) -> None:
    """Rows are grouped by partition up to the size limit; one insert may be larger."""
    inserts = [
        Rows(dataclasses.replace(insert(i, partition=partition), size=size))
        for i, (partition, size) in enumerate(parts)
    ]
    groups = list(rows._groups(inserts))
    for partition in "ab":
        stamps = [r.insert.timestamp for p, g in groups if p == partition for r in g]
        assert stamps == [i for i, (p, _) in enumerate(parts) if p == partition]
    for _, group in groups:
        size = sum(each.insert.size for each in group)
        assert size <= rows.MAX_REQUEST_BYTES or len(group) == 1


@given(
    st.integers(1, 50),
    st.integers(1, 100 << 20),
    st.none() | st.sets(st.integers(0, 49), min_size=1),
)
def test_an_insert_larger_than_a_request_is_split_by_rows(
    count: int, size: int, chosen: set[int] | None
) -> None:
    """Each row comes once, in order; no request holds more rows than fit, but one."""
    whole = dataclasses.replace(insert(1, keys=range(count)), size=size)
    keep = None if chosen is None else tuple(sorted(i for i in chosen if i < count))
    if keep == ():
        return
    groups = list(rows._groups([Rows(whole, keep)]))
    parts = [part for _, group in groups for part in group]
    if len(parts) > 1:
        kept = [row for part in parts for row in part.keep or ()]
        assert kept == list(keep or range(count))
    for part in parts:
        its = count if part.keep is None else len(part.keep)
        assert its == 1 or its * size / count <= rows.MAX_REQUEST_BYTES + size / count


def schema() -> bytes:
    """Return the schema of a collection that has only a key."""
    made = schema_pb2.CollectionSchema()
    made.fields.add(
        fieldID=KEY_FIELD, name="id", is_primary_key=True, data_type=schema_pb2.Int64
    )
    return made.SerializeToString()


class Answering:
    """A target that takes each insert with success, or is found away when it is asked."""

    is_lite = False

    def __init__(self, outcomes: list[bool]) -> None:
        self._outcomes = outcomes
        self._sent = 0

    def wait(self, _seconds: float) -> None:
        """Let no time pass."""

    def call(self, *_: object) -> Any:
        """Say what partitions there are."""
        return SimpleNamespace(partition_names=["_default"])

    def begin_insert(self, _request: bytes, _database: str) -> int:
        """Return the number of the insert for an answer."""
        self._sent += 1
        return self._sent - 1

    def finish(self, answer: int, method: str) -> None:
        """Fail, however often it is asked, if the insert did."""
        if not self._outcomes[answer]:
            raise TransientError(f"{method} got no answer")


@given(st.lists(st.booleans(), max_size=12), st.integers(0, 3))
def test_nothing_behind_a_failed_insert_is_called_done(
    outcomes: list[bool], asked_again: int
) -> None:
    """What is done is what came before the first failure, however often one drains."""
    writer = rows.RowWriter(
        Answering(outcomes),  # type: ignore[arg-type]
        "default",
        "books",
        schema(),
    )
    done: list[int] = []
    with suppress(TransientError):
        for i in range(len(outcomes)):
            batch = Batch({}, (Rows(insert(i, keys=[i])),))
            writer.write(batch, lambda i=i: done.append(i))  # type: ignore[misc]
    for _ in range(asked_again + all(outcomes)):
        with suppress(TransientError):
            writer.drain()
    first_failure = outcomes.index(False) if False in outcomes else len(outcomes)
    assert done == list(range(first_failure))[: len(done)]
    if asked_again or all(outcomes):
        assert len(done) == first_failure


@given(st.integers(1, 9), st.integers(0, 9))
def test_a_delete_that_was_not_taken_is_no_success(keys: int, taken: int) -> None:
    """An answer of success that counts fewer keys than were named is asked again."""
    target = Answering([])
    target.call = lambda *_: SimpleNamespace(delete_cnt=taken)  # type: ignore[method-assign]
    writer = rows.RowWriter(target, "default", "books", schema())  # type: ignore[arg-type]
    batch = Batch({"": tuple(range(keys))}, ())
    with pytest.raises(TransientError) if taken < keys else nullcontext():
        writer.write(batch, lambda: None)
