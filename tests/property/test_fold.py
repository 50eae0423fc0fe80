"""A folded batch does what the changes do one by one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from cdc_actors.changes import Batch, Delete, Insert
from cdc_actors.replication.fold import fold
from cdc_actors.target.columns import named_columns, primary_keys
from tests.support.changes import KEY_FIELD, delete, insert

if TYPE_CHECKING:
    from collections.abc import Sequence

Rows = Counter[tuple[str, int, int]]


def keys_of_each(changes: Sequence[Insert]) -> list[list[int]]:
    return list(map(keys_of, changes))


def keys_of(change: Insert) -> list[int]:
    return list(primary_keys(change, KEY_FIELD))


def remove(rows: Rows, partition: str, keys: tuple[int, ...]) -> None:
    for row in list(rows):
        if row[1] in keys and partition in ("", row[0]):
            del rows[row]


def one_by_one(rows: Rows, changes: list[Insert | Delete]) -> None:
    """Apply changes as Milvus does: an insert adds, a delete removes what is there."""
    for change in changes:
        if isinstance(change, Delete):
            remove(rows, change.partition, change.keys)
        else:
            for key in keys_of(change):
                rows[change.partition, key, change.timestamp] += 1


def as_batch(rows: Rows, batch: Batch) -> None:
    """Apply a batch as the target does: deletes, then inserts."""
    for partition, keys in batch.deletes.items():
        remove(rows, partition, keys)
    for part in batch.inserts:
        column = named_columns(part)["id"]
        kept = insert(0, [0])
        kept = Insert(
            kept.collection,
            kept.shard,
            part.insert.partition,
            part.insert.timestamp,
            0,
            (column,),
            0,
        )
        for key in keys_of(kept):
            rows[kept.partition, key, kept.timestamp] += 1


partitions = st.sampled_from(["a", "b"])
inserts = st.builds(
    lambda keys, partition: (insert, keys, partition),
    st.lists(st.integers(0, 6), min_size=1, max_size=5),
    partitions,
)
deletes = st.builds(
    lambda keys, partition: (delete, keys, partition),
    st.lists(st.integers(0, 6), min_size=1, max_size=4, unique=True),
    st.sampled_from(["", "a", "b"]),
)
histories = st.lists(inserts | deletes, max_size=20).map(
    lambda made: [
        make(stamp, keys, partition=partition)
        for stamp, (make, keys, partition) in enumerate(made, 1)
    ]
)


@given(histories, st.integers(0, 20))
def test_a_batch_is_the_changes_one_by_one(changes: list, cut: int) -> None:
    """Whatever was there before, folding a stretch ends as applying it in order."""
    before, stretch = changes[:cut], changes[cut:]
    expected: Rows = Counter()
    one_by_one(expected, before)
    actual = expected.copy()
    one_by_one(expected, stretch)
    as_batch(actual, fold(stretch, keys_of_each))
    assert actual == expected


@given(histories, st.integers(0, 20), st.integers(0, 20))
def test_applied_again_nothing_is_doubled(changes: list, done: int, saved: int) -> None:
    """From any checkpoint, over any prefix applied since, the rows end equal.

    Keys are unique at the source: each insert follows a delete of its keys.
    """
    unique = [
        each
        for change in changes
        for each in (
            [delete(change.timestamp, keys_of(change)), _distinct(change)]
            if isinstance(change, Insert)
            else [change]
        )
    ]
    saved, done = min(saved, done), max(saved, done)
    expected: Rows = Counter()
    one_by_one(expected, unique)
    actual: Rows = Counter()
    one_by_one(actual, unique[:done])
    as_batch(actual, fold(unique[saved:], keys_of_each, may_exist=True))
    assert {row[:2] for row in actual} == {row[:2] for row in expected}
    assert max(actual.values(), default=1) == 1


def _distinct(change: Insert) -> Insert:
    keys = list(dict.fromkeys(keys_of(change)))
    return insert(change.timestamp, keys, partition=change.partition)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_without_a_delete_rows_stay_as_they_are(keys: list[int]) -> None:
    """Two inserts of one key stay two, and no key is even read."""

    def unread(_: Insert) -> list[int]:
        raise AssertionError("keys were read for nothing")

    batch = fold([insert(1, keys), insert(2, keys)], unread)
    assert [part.insert.timestamp for part in batch.inserts] == [1, 2]
    assert not batch.deletes
