"""What a batch becomes on its way to the target."""

from __future__ import annotations

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
