"""A collection in whose place at the target are rows of one that left the task before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from cdc_actors.marks import PROPERTY, Mark
from cdc_actors.tasks import CollectionState
from tests.fakes.pipeline import STORE, Pipeline
from tests.support.tasks import CLIENT, SPEC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.source.catalog.client import CollectionMeta


@pytest.fixture(params=["ids", "marks"])
def pipeline(request: pytest.FixtureRequest) -> Iterator[Pipeline]:
    """Yield a task without a collection that it had; the target gives ids or none."""
    with Pipeline(replace(SPEC, collection_infos=("books", "maps"))) as pipeline:
        if request.param == "ids":
            pipeline.target.give_ids()
        pipeline.start()
        for name in ("maps", "books"):
            insert(pipeline, pipeline.source.create(name), 1, 2)
        update(pipeline, "maps")
        yield pipeline


def update(pipeline: Pipeline, *names: str) -> None:
    """Give the task another selection; its mark goes from what leaves it."""
    pipeline.stop()
    task = pipeline.task.task
    stored = pipeline.target.collections
    if "books" not in names and ("default", "books") in stored:
        stored["default", "books"].properties[PROPERTY] = ""
    spec = replace(task.spec, collection_infos=names)
    checkpoints = pipeline.task.checkpoints.values()
    task.update(spec, checkpoints, secret=None, who=CLIENT, why="test")
    pipeline.start()


def insert(pipeline: Pipeline, meta: CollectionMeta, *keys: int) -> None:
    """Insert rows, and wait until the task has done with them what it does."""
    pipeline.source.catalog.tell()
    pipeline.source.insert(meta, keys)
    pipeline.source.tick()
    pipeline.settle()


def books_of(pipeline: Pipeline) -> CollectionMeta:
    """Return the newest collection of the source."""
    found = pipeline.source.catalog.snapshot().collections
    return found[max(found)]


def make_anew(pipeline: Pipeline, *keys: int) -> CollectionMeta:
    """Drop the collection at the source while it is not selected, and make another."""
    pipeline.source.drop(books_of(pipeline))
    pipeline.source.tick()
    pipeline.settle()
    made = pipeline.source.create("books")
    pipeline.source.insert(made, keys)
    return made


def is_aside(pipeline: Pipeline) -> bool:
    """Tell whether the collection is set aside."""
    entry = pipeline.task.entries.get("books")
    return entry is not None and entry.state is CollectionState.SET_ASIDE


def has(pipeline: Pipeline, *keys: int) -> None:
    """Wait until the collection is replicated, and has these keys, each once."""
    pipeline.settle()
    pipeline.wait_until(lambda: pipeline.target.rows("books") == dict.fromkeys(keys, 1))
    assert pipeline.task.entries["books"].state is CollectionState.LIVE


@pytest.mark.parametrize("restarted", [False, True])
def test_another_collection_is_not_mixed_with_it(
    pipeline: Pipeline, *, restarted: bool
) -> None:
    """It is set aside with what to do; once the old rows are gone a retry brings it."""
    made = make_anew(pipeline, 7)
    update(pipeline, "maps", "books")
    pipeline.source.tick()
    pipeline.wait_until(lambda: is_aside(pipeline))
    if restarted:
        pipeline.kill()
        pipeline.start()
    reason = pipeline.task.entries["books"].reason
    assert "default.books" in reason
    assert "drop or rename it at the target, then `retry`" in reason
    pipeline.retry()
    insert(pipeline, made, 8)
    pipeline.wait_until(lambda: is_aside(pipeline))
    assert pipeline.target.rows("books") == {1: 1, 2: 1}
    with pipeline.target.changed:
        del pipeline.target.collections["default", "books"]
    pipeline.retry()
    has(pipeline, 7, 8)


def test_the_same_collection_goes_on(pipeline: Pipeline) -> None:
    """What the target has of it is its own; nothing is there twice."""
    insert(pipeline, books_of(pipeline), 3)
    update(pipeline, "maps", "books")
    insert(pipeline, books_of(pipeline), 4)
    if is_aside(pipeline):
        pipeline.retry()
    has(pipeline, 1, 2, 3, 4)


def test_what_an_operator_has_made_there_since_is_taken_over(
    pipeline: Pipeline,
) -> None:
    """It has nothing of the former collection, whose rows went with it."""
    target = pipeline.target
    target.make_anew("books")
    target.collections["default", "books"].partitions["_default"].update([9])
    make_anew(pipeline, 7)
    update(pipeline, "maps", "books")
    pipeline.source.tick()
    has(pipeline, 7, 9)


def test_what_was_taken_over_once_is_no_former_one(pipeline: Pipeline) -> None:
    """It is dropped and made anew at the source as any other."""
    with pipeline.target.changed:
        del pipeline.target.collections["default", "books"]
    make_anew(pipeline, 7)
    update(pipeline, "maps", "books")
    pipeline.source.tick()
    has(pipeline, 7)
    make_anew(pipeline, 8)
    pipeline.source.catalog.tell()
    pipeline.source.tick()
    has(pipeline, 8)
    pipeline.kill()
    pipeline.start()
    has(pipeline, 8)


def test_a_creation_that_was_begun_is_finished(pipeline: Pipeline) -> None:
    """After a kill what the target has by the name is the new collection."""
    target = pipeline.target
    del target.collections["default", "books"]
    make_anew(pipeline, 7)
    target.fail("CreateCollection", is_done=True)
    update(pipeline, "maps", "books")
    pipeline.source.tick()
    pipeline.wait_for_failure()
    pipeline.start()
    has(pipeline, 7)


def test_what_the_task_itself_has_begun_to_bring_is_no_former_one(
    pipeline: Pipeline,
) -> None:
    """Its mark says so where no event does yet: files are read before it is noted."""
    made = make_anew(pipeline, 7)
    stored = pipeline.target.collections["default", "books"]
    stored.partitions["_default"].clear()
    own = {"store": STORE, "task": pipeline.task.task.task_id}
    mark = Mark(**own, collection_id=made.id, source="default.books")
    stored.properties.update(mark.to_properties())
    update(pipeline, "maps", "books")
    pipeline.source.tick()
    has(pipeline, 7)
