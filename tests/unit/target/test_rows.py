"""What a batch becomes on its way to the target."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import nullcontext, suppress
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from cdc_actors.changes import Batch, Rows
from cdc_actors.errors import CollectionError, TransientError, UnclearAnswerError
from cdc_actors.target import rows
from cdc_actors.target.answers import TooLargeError
from cdc_actors.target.request_size import RequestSize
from tests.support.changes import insert, key_schema


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


class Answering:
    """A target that takes each insert with success, or is found away when it is asked."""

    is_lite = False

    def __init__(self, outcomes: list[bool]) -> None:
        self.insert_size = RequestSize(1 << 20)
        self.delete_size = RequestSize(1 << 20)
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
        key_schema(),
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


def test_a_column_that_the_schema_has_no_field_for() -> None:
    """It is not left to the target to refuse it: not every one does."""
    target = Answering([True])
    writer = rows.RowWriter(target, "default", "books", key_schema())  # type: ignore[arg-type]
    added = schema_pb2.FieldData(field_name="added", field_id=102)
    known = insert(1)
    change = replace(known, columns=(*known.columns, added.SerializeToString()))
    with pytest.raises(CollectionError, match="rows have added, which the source's"):
        writer.write(Batch({}, (Rows(change),)))


@given(st.integers(1, 9), st.integers(0, 9))
def test_a_delete_that_was_not_taken_is_no_success(keys: int, taken: int) -> None:
    """An answer of success that counts fewer keys than were named is asked again."""
    target = Answering([])
    target.call = lambda *_: SimpleNamespace(delete_cnt=taken)  # type: ignore[method-assign]
    writer = rows.RowWriter(target, "default", "books", key_schema())  # type: ignore[arg-type]
    batch = Batch({"": tuple(range(keys))}, ())
    with pytest.raises(TransientError) if taken < keys else nullcontext():
        writer.write(batch, lambda: None)


class Narrow(Answering):
    """A target that takes a few keys a request, and sees what it has afterwards.

    A ``queue`` that refuses writes what comes before the row that it refuses.
    """

    def __init__(self, most: int, *, queue: bool) -> None:
        super().__init__([])
        self.has: Counter[int] = Counter()
        self.refused = 0
        self._most = most
        self._queue = queue

    def call(self, method: str, request: Any, _database: str) -> Any:
        """Delete keys, or say what partitions there are."""
        if method == "ShowPartitions":
            return SimpleNamespace(partition_names=["_default"])
        keys = [int(key) for key in re.findall(r"\d+", request.expr)]
        self._refuse(keys)
        for key in keys:
            self.has.pop(key, None)
        return SimpleNamespace(delete_cnt=len(keys))

    def begin_insert(self, request: bytes, _database: str) -> Any:
        """Return the request for an answer."""
        return milvus_pb2.InsertRequest.FromString(request)

    def finish(self, answer: Any, _method: str) -> None:
        """Take the rows, all or some or none of them."""
        keys = answer.fields_data[0].scalars.long_data.data
        assert len(keys) == answer.num_rows
        if len(keys) > self._most and self._queue:
            self.has.update(keys[: self._most])
        self._refuse(keys)
        self.has.update(keys)

    def _refuse(self, keys: list[int]) -> None:
        if len(keys) > self._most:
            self.refused += 1
            raise TooLargeError("message larger than max", may_be_done=self._queue)


def narrow_writer(most: int, *, queue: bool = False) -> tuple[Narrow, rows.RowWriter]:
    """Return a target that takes so many keys a request, and what writes to it."""
    target = Narrow(most, queue=queue)
    return target, rows.RowWriter(target, "default", "books", key_schema())  # type: ignore[arg-type]


@pytest.mark.parametrize("queue", [False, True])
@given(
    st.integers(1, 9),
    st.lists(st.integers(1, 20), min_size=1, max_size=6),
    st.lists(st.integers(1000, 1099), unique=True, max_size=30),
)
def test_what_is_too_large_arrives_in_parts(
    queue: bool,  # noqa: FBT001 - a parameter of the test
    most: int,
    sizes: list[int],
    deletes: list[int],
) -> None:
    """Every row is there once, even if parts of what was refused were; deletes are done."""
    target, writer = narrow_writer(most, queue=queue)
    target.has.update(deletes)
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    inserts = [
        Rows(insert(i, keys=range(end - size, end)))
        for i, (size, end) in enumerate(zip(sizes, ends, strict=True))
    ]
    done: list[bool] = []
    writer.write(Batch({"": tuple(deletes)}, tuple(inserts)), lambda: done.append(True))
    writer.drain()
    assert target.has == dict.fromkeys(range(ends[-1]), 1)
    assert done == [True]


def test_the_size_that_was_refused_is_remembered() -> None:
    """What is written afterwards is no larger than what was taken, for all collections."""
    target, writer = narrow_writer(100)
    for start in (0, 10_000, 20_000):
        keys = [(1 << 60) + key for key in range(start, start + 1600)]
        batch = Batch({}, (Rows(insert(1, keys=keys)),))
        writer.write(batch, lambda: None)
        writer.drain()
        if not start:
            first = target.refused
    assert len(target.has) == 4800
    assert 0 < first < 10
    assert target.refused == first


def test_a_row_that_does_not_fit_is_named_by_its_key() -> None:
    """It is the collection's matter, says the size, and nothing behind it is done."""
    target, writer = narrow_writer(0)
    done: list[bool] = []
    writer.write(Batch({}, (Rows(insert(1, keys=[7])),)), lambda: done.append(True))
    with pytest.raises(CollectionError, match=r"row with the key 7 takes \d+ bytes"):
        writer.drain()
    assert not done
    assert not target.has


@pytest.mark.parametrize("key", [8, "k" * 60_000])
def test_a_key_that_does_not_fit_is_named(key: Any) -> None:
    """However long it is: the reason is for people to read."""
    target, writer = narrow_writer(0)
    target.call = lambda *_: target._refuse([1])  # type: ignore[method-assign]
    with pytest.raises(CollectionError, match="delete of the row with the key") as no:
        writer.write(Batch({"": (key,)}, ()), lambda: None)
    assert repr(key)[:90] in str(no.value)
    assert len(str(no.value)) < 400


def test_a_size_that_was_taken_before_is_no_reason() -> None:
    """A proxy that calls everything too large for a moment costs no collection."""
    target, writer = narrow_writer(5)
    writer.write(Batch({}, (Rows(insert(1, keys=range(5))),)), lambda: None)
    writer.drain()
    target._most = 0
    limit = target.insert_size.limit
    writer.write(Batch({}, (Rows(insert(1, keys=[9])),)), lambda: None)
    with pytest.raises(UnclearAnswerError, match="were taken before"):
        writer.drain()
    assert target.insert_size.limit == limit
