"""What the target refuses in the middle of a run: for whom, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cdc_actors.errors import AccessRefusedError, KindRefusedError
from cdc_actors.tasks import CollectionState
from tests.fakes.fake_source import A
from tests.fakes.fake_target import ROW_TRIES
from tests.fakes.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """Yield a task that runs."""
    with Pipeline() as pipeline:
        yield pipeline.start()


@pytest.mark.parametrize("method", ["Insert", "CreateCollection", "CreateAlias"])
def test_refused_login_costs_nothing(pipeline: Pipeline, method: str) -> None:
    """The run ends with the task's error; the next one does what this one could not."""
    source, target = pipeline.source, pipeline.target
    target.refuse_login(method)
    books = source.create("books", A)
    source.insert(books, [1, 2])
    source.point("volumes", books)
    source.catalog.tell()
    source.tick()
    assert isinstance(pipeline.wait_for_failure(), AccessRefusedError)
    task = pipeline.task.task
    assert task.refused == 0
    assert all(
        c.state is not CollectionState.SET_ASIDE for c in task.collections.values()
    )
    pipeline.start()
    source.tick()
    pipeline.settle()
    pipeline.wait_until(lambda: target.aliases)
    assert target.rows("books") == {1: 1, 2: 1}


def test_collection_that_the_target_does_not_rename(pipeline: Pipeline) -> None:
    """Set aside, it keeps its name there: the next collection of that name is excluded."""
    source, target, task = pipeline.source, pipeline.target, pipeline.task.task
    target.refuse("Insert", ROW_TRIES)
    target.refuse("RenameCollection")
    first = source.create("books", A)
    source.insert(first, [1])
    source.tick()
    source.catalog.tell()
    pipeline.settle()
    source.rename(first, "tomes")
    second = source.create("books", A)
    source.insert(second, [2])
    source.catalog.tell()
    source.tick()
    pipeline.wait_until(lambda: second.id in task.collections)
    pipeline.settle()
    reason = task.collections[second.id].reason
    assert "which a collection that the target does not rename or drop is" in reason
    assert "rename or drop that one at the target" in reason
    assert target.rows("books") == {}


def test_a_target_that_flushes_nothing(pipeline: Pipeline) -> None:
    """It is said once for all collections and runs, until one is flushed; rows go on."""
    source, target, task = pipeline.source, pipeline.target, pipeline.task.task
    books, papers = (source.create(name, A) for name in ("books", "papers"))
    source.catalog.tell()
    for number in range(2):
        target.refuse("Flush", refusal=KindRefusedError("no flush here"))
        for each in (books, papers):
            source.insert(each, [number])
            source.flush(each)
            source.tick()
            pipeline.settle()
        wanted = dict.fromkeys(range(number + 1), 1)
        pipeline.wait_until(lambda rows=wanted: target.rows("papers") == rows)
        pipeline.wait_until(lambda: task.refused)
        assert (task.refused, list(task.refused_kinds)) == (1, ["Flush"])
        assert "flush papers" not in target.asked
        pipeline.stop()
        pipeline.start()
    source.flush(papers)
    source.tick()
    pipeline.wait_until(lambda: "flush papers" in target.asked)
    pipeline.wait_until(lambda: not task.refused_kinds)
    assert task.refused == 1


def test_a_target_without_aliases(pipeline: Pipeline) -> None:
    """It is said once, and matters; rows go on, and an alias that succeeds settles it."""
    source, target, task = pipeline.source, pipeline.target, pipeline.task.task
    books, papers = (source.create(name, A) for name in ("books", "papers"))
    target.refuse("CreateAlias", refusal=KindRefusedError("no aliases here"))
    for alias, meta in (("volumes", books), ("sheets", papers)):
        source.point(alias, meta)
        source.insert(meta, [1])
        source.catalog.tell()
        source.tick()
        pipeline.settle()
    pipeline.wait_until(lambda: task.refused)
    pipeline.wait_until(lambda: target.rows("papers") == {1: 1})
    assert list(task.unresolved) == [("kind", "CreateAlias")]
    assert target.aliases == {}
    pipeline.stop()
    target.speak()
    pipeline.start()
    pipeline.wait_until(lambda: len(target.aliases) == 2)
    pipeline.wait_until(lambda: not task.unresolved)
    assert task.refused == 1
