"""One row that the target never takes: found by its key, beside rows that it takes."""

from __future__ import annotations

from math import ceil, log2
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_actors.changes import Rows
from cdc_actors.errors import OperationRefusedError, RowRefusedError, UnclearAnswerError
from cdc_actors.pipeline import attempts
from cdc_actors.pipeline.refused_row import write_apart
from cdc_actors.tasks import CollectionState
from tests.fakes.fake_source import A
from tests.fakes.pipeline import Pipeline
from tests.support.changes import insert

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cdc_actors.changes import Batch, Insert


UNCLEAR = UnclearAnswerError("code 6", 6)
CLEAR = OperationRefusedError("code 1100", 1100)


class Writer:
    """Takes rows, but for those of some keys. Stands for ``RowWriter``."""

    def __init__(
        self,
        refused: set[int],
        refusal: UnclearAnswerError | OperationRefusedError = UNCLEAR,
    ) -> None:
        self._refusal = refusal
        self.rows: list[int] = []
        self.requests = 0
        self._refused = refused

    def keys_of(self, inserts: Sequence[Insert]) -> list[list[int]]:
        """Return the keys of inserts, which their test has put there."""
        return [KEYS[each.timestamp] for each in inserts]

    def write(self, batch: Batch) -> None:
        """Delete, then insert all or nothing."""
        self.requests += 1
        deleted = {key for keys in batch.deletes.values() for key in keys}
        self.rows = [key for key in self.rows if key not in deleted]
        keys = [key for each in batch.inserts for key in self._kept(each)]
        if self._refused & set(keys):
            raise self._refusal
        self.rows += keys

    def _kept(self, each: Rows) -> list[int]:
        [keys] = self.keys_of([each.insert])
        return keys if each.keep is None else [keys[row] for row in each.keep]

    def drain(self) -> None:
        """Have nothing to wait for."""

    abandon = drain


KEYS: dict[int, list[int]] = {}


def inserts(sizes: list[int]) -> list[Rows]:
    """Return inserts of so many rows each, with keys from 0 on."""
    KEYS.clear()
    first = 0
    for size in sizes:
        KEYS[first] = list(range(first, first + size))
        first += size
    return [Rows(insert(at, keys=keys)) for at, keys in KEYS.items()]


sizes = st.lists(st.integers(1, 30), min_size=1, max_size=20)


@given(sizes, st.data(), st.sampled_from([UNCLEAR, CLEAR]))
def test_the_row_is_found_and_the_others_are_written(
    sizes: list[int],
    data: st.DataObject,
    refusal: UnclearAnswerError | OperationRefusedError,
) -> None:
    """Each other row is there once, and few requests were asked for it."""
    count = sum(sizes)
    key = data.draw(st.integers(0, count - 1))
    writer = Writer({key}, refusal)
    kind = RowRefusedError if count > 1 else type(refusal)
    with pytest.raises(kind, match=f"the key {key}:"):
        write_apart(writer, inserts(sizes))  # type: ignore[arg-type]
    assert sorted(writer.rows) == [each for each in range(count) if each != key]
    halvings = ceil(log2(len(sizes))) + ceil(log2(max(sizes)))
    assert writer.requests <= 2 * (halvings + 1) + 2


@given(sizes.filter(lambda sizes: sum(sizes) > 1))
def test_no_row_is_to_blame_where_all_are_refused(sizes: list[int]) -> None:
    """Nor where none is: then all are there, each once."""
    rows = inserts(sizes)
    every = {key for keys in KEYS.values() for key in keys}
    with pytest.raises(UnclearAnswerError):
        write_apart(Writer(every), rows)  # type: ignore[arg-type]
    writer = Writer(set())
    write_apart(writer, rows)  # type: ignore[arg-type]
    assert sorted(writer.rows) == sorted(every)


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """Yield a task that has begun."""
    with Pipeline() as pipeline:
        yield pipeline.start()


@pytest.mark.parametrize("clearly", [False, True])
def test_that_collection_alone_is_set_aside(
    monkeypatch: pytest.MonkeyPatch, *, clearly: bool
) -> None:
    """Its reason names the key, with the target's words; the neighbour goes on."""
    monkeypatch.setattr(attempts, "LONGEST_DELAY", 0.01)
    with Pipeline() as pipeline:
        source, target, task = pipeline.source, pipeline.target, pipeline.task.task
        pipeline.start()
        books, papers = source.create("books", A), source.create("papers", A)
        source.catalog.tell()
        target.refuse_row(5, clearly=clearly)
        source.insert(books, list(range(9)))
        source.insert(papers, [10])
        source.tick()
        is_aside = CollectionState.SET_ASIDE
        pipeline.wait_until(
            lambda: (
                books.id in task.collections
                and task.collections[books.id].state is is_aside
            )
        )
        source.insert(papers, [11])
        source.tick()
        pipeline.settle()
        reason = task.collections[books.id].reason or ""
        code = 1100 if clearly else 6
        said = f"not the row with the key 5: Insert is answered with code {code}"
        assert said in reason
        assert target.rows("papers") == {10: 1, 11: 1}
        assert target.rows("books") == {key: 1 for key in range(9) if key != 5}
        pipeline.wait_until(lambda: pipeline.memory.used == 0)


def test_a_clear_refusal_of_a_row_alone(pipeline: Pipeline) -> None:
    """It is named as well; once the target takes it, a retry brings it."""
    source, target = pipeline.source, pipeline.target
    books = source.create("books", A)
    source.catalog.tell()
    target.refuse_row(5, clearly=True)
    source.insert(books, [5])
    source.tick()
    entries = pipeline.task.task.collections
    aside = CollectionState.SET_ASIDE
    pipeline.wait_until(
        lambda: books.id in entries and entries[books.id].state is aside
    )
    said = "the row with the key 5: Insert is answered with code 1100"
    assert said in (entries[books.id].reason or "")
    target.speak()
    pipeline.retry()
    pipeline.settle()
    pipeline.wait_until(lambda: target.rows("books") == {5: 1})


def test_a_clear_refusal_that_does_not_come_again(pipeline: Pipeline) -> None:
    """Nothing is set aside, and what was sent a second time is there once."""
    source, target = pipeline.source, pipeline.target
    books = source.create("books", A)
    source.catalog.tell()
    source.tick()
    pipeline.settle()
    target.refuse("Insert")
    for key in range(4):
        source.insert(books, [key])
    source.tick()
    pipeline.settle()
    assert target.rows("books") == dict.fromkeys(range(4), 1)
    assert pipeline.task.entries["books"].state is CollectionState.LIVE
