"""A rename whose name is taken at the target, and what the source makes of it later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.pipeline.claims import Claimant
from cdc_actors.tasks import RENAME_COLLECTION, CollectionState
from cdc_actors.tasks.details import RenameDetail
from tests.fakes.fake_target import StoredCollection
from tests.fakes.pipeline import STORE, Pipeline
from tests.support.tasks import SUPERVISOR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.source.catalog.client import CollectionMeta

OTHER = schema_pb2.CollectionSchema(name="novels")


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """Yield a task with a collection and a row."""
    with Pipeline() as pipeline:
        pipeline.start()
        books = pipeline.source.create("books")
        pipeline.source.catalog.tell()
        insert(pipeline, books, 1)
        yield pipeline


def books_of(pipeline: Pipeline) -> CollectionMeta:
    """Return the oldest collection of the source."""
    found = pipeline.source.catalog.snapshot().collections
    return found[min(found)]


def insert(pipeline: Pipeline, meta: CollectionMeta, *keys: int) -> None:
    """Insert rows, and wait until the task has done with them what it does."""
    pipeline.source.insert(meta, keys)
    pipeline.source.tick()
    pipeline.settle()


def rename(pipeline: Pipeline, name: str) -> None:
    """Give the collection another name at the source."""
    pipeline.source.rename(books_of(pipeline), name)
    pipeline.source.catalog.tell()
    pipeline.source.tick()


def take(pipeline: Pipeline, name: str = "novels") -> None:
    """Have the target have another collection of that name, made by hand."""
    with pipeline.target.changed:
        taken = StoredCollection(OTHER)
        pipeline.target.collections["default", name] = taken


def state(pipeline: Pipeline) -> CollectionState:
    """Return where the collection stands."""
    return pipeline.task.task.collections[books_of(pipeline).id].state


def wait_aside(pipeline: Pipeline) -> None:
    """Wait until the collection is set aside."""
    pipeline.wait_until(lambda: state(pipeline) is CollectionState.SET_ASIDE)


def is_equal(pipeline: Pipeline, name: str, *keys: int) -> None:
    """Wait until the target has the collection, and just these keys, once."""
    pipeline.settle()
    pipeline.wait_until(lambda: pipeline.target.rows(name) == dict.fromkeys(keys, 1))
    entry = pipeline.task.task.collections[books_of(pipeline).id]
    assert (entry.state, entry.name) == (CollectionState.LIVE, name)
    assert entry.renaming is None


def begin_rename(pipeline: Pipeline) -> None:
    """Have a run end in the middle of a rename, which is not done."""
    pipeline.target.silence("RenameCollection")
    rename(pipeline, "novels")
    pipeline.wait_until(lambda: pipeline.target.waiting)
    pipeline.kill()
    pipeline.target.speak()


@pytest.mark.parametrize("now", ["books", "tomes"])
@pytest.mark.parametrize("again", [False, True])
def test_one_that_was_begun_and_is_not_wanted_any_more(
    pipeline: Pipeline, now: str, *, again: bool
) -> None:
    """Its collection goes on under the name that the source has; what took the other stays.

    A newer collection of the source that wants the name is set aside, and it alone.
    """
    begin_rename(pipeline)
    take(pipeline)
    rename(pipeline, now)
    if again:
        pipeline.source.create("novels")
    pipeline.start()
    insert(pipeline, books_of(pipeline), 2)
    is_equal(pipeline, now, 1, 2)
    assert pipeline.target.rows("novels") == {}
    if again:
        pipeline.wait_until(lambda: "novels" in pipeline.task.entries)
        reason = pipeline.task.entries["novels"].reason
        assert "another schema" in reason
    pipeline.stop()
    pipeline.start()
    insert(pipeline, books_of(pipeline), 3)
    is_equal(pipeline, now, 1, 2, 3)


def test_a_name_that_it_does_not_get_is_free_for_others(pipeline: Pipeline) -> None:
    """A newer collection of the source comes, once nothing at the target has its name."""
    begin_rename(pipeline)
    pipeline.target.refuse("RenameCollection")
    rename(pipeline, "books")
    novels = pipeline.source.create("novels")
    pipeline.start()
    insert(pipeline, novels, 8)
    insert(pipeline, books_of(pipeline), 2)
    is_equal(pipeline, "books", 1, 2)
    pipeline.wait_until(lambda: pipeline.target.rows("novels") == {8: 1})


@pytest.mark.parametrize("running", [False, True])
def test_one_that_was_refused_and_is_not_wanted_any_more(
    pipeline: Pipeline, *, running: bool
) -> None:
    """The collection is set aside with the reason; undone, a retry brings all of it."""
    take(pipeline)
    rename(pipeline, "novels")
    wait_aside(pipeline)
    assert "novels" in pipeline.task.entries["books"].reason
    insert(pipeline, books_of(pipeline), 2)
    if not running:
        pipeline.stop()
    rename(pipeline, "books")
    if running:
        pipeline.settle()
        pipeline.retry()
    else:
        pipeline.retry_ended()
        pipeline.start()
    is_equal(pipeline, "books", 1, 2)
    assert pipeline.target.rows("novels") == {}


@pytest.mark.parametrize("begun", [False, True])
def test_one_that_is_still_wanted(pipeline: Pipeline, *, begun: bool) -> None:
    """It is done by a retry once the name is free; until then each retry says why not."""
    if begun:
        begin_rename(pipeline)
        take(pipeline)
        pipeline.start()
    else:
        take(pipeline)
        rename(pipeline, "novels")
    wait_aside(pipeline)
    pipeline.retry()
    insert(pipeline, books_of(pipeline), 2)
    wait_aside(pipeline)
    with pipeline.target.changed:
        del pipeline.target.collections["default", "novels"]
    pipeline.retry()
    is_equal(pipeline, "novels", 1, 2)
    assert pipeline.target.rows("books") is None


def test_one_that_was_done_without_an_answer_and_undone(pipeline: Pipeline) -> None:
    """The collection gets its first name back."""
    begin_rename(pipeline)
    target = pipeline.target
    stored = target.collections.pop(("default", "books"))
    stored.schema.name = "novels"
    target.collections["default", "novels"] = stored
    rename(pipeline, "books")
    pipeline.start()
    insert(pipeline, books_of(pipeline), 2)
    is_equal(pipeline, "books", 1, 2)
    assert target.rows("novels") is None


def papers_aside(pipeline: Pipeline, *, made: bool) -> CollectionMeta:
    """Have a second collection set aside that the target does not have.

    Either it was never ``made`` there, or somebody dropped it.
    """
    source, target = pipeline.source, pipeline.target
    if not made:
        target.refuse("CreateCollection")
    papers = source.create("papers")
    source.tick()
    pipeline.settle()
    if made:
        with target.changed:
            del target.collections["default", "papers"]
    insert(pipeline, papers, 5)
    pipeline.wait_until(
        lambda: pipeline.task.entries["papers"].state is CollectionState.SET_ASIDE
    )
    return papers


@pytest.mark.parametrize("made", [False, True])
@pytest.mark.parametrize("killed", [False, True])
def test_one_that_the_target_does_not_have(
    pipeline: Pipeline, *, made: bool, killed: bool
) -> None:
    """Its name is free for others at once; a retry brings it under the new name alone."""
    papers = papers_aside(pipeline, made=made)
    if killed:
        pipeline.kill()
    pipeline.source.rename(papers, "tomes")
    pipeline.source.catalog.tell()
    pipeline.source.tick()
    if killed:
        pipeline.start()
    pipeline.settle()
    again = pipeline.source.create("papers")
    insert(pipeline, again, 8)
    pipeline.wait_until(lambda: pipeline.target.rows("papers") == {8: 1})
    pipeline.retry()
    insert(pipeline, papers, 6)
    pipeline.wait_until(lambda: pipeline.target.rows("tomes") == {5: 1, 6: 1})
    assert pipeline.target.rows("papers") == {8: 1}


def have_made(pipeline: Pipeline, meta: CollectionMeta, name: str) -> None:
    """Have the target have a collection as a creation without an answer leaves it."""
    task = pipeline.task.task
    schema = schema_pb2.CollectionSchema.FromString(meta.schema)
    schema.name = name
    claimant = Claimant(STORE, task.task_id, lambda _mark: True)
    mark = claimant.mark(task.collections[meta.id]).to_properties()
    with pipeline.target.changed:
        pipeline.target.collections["default", name] = StoredCollection(schema, mark)


@pytest.mark.parametrize("dropped", [False, True])
def test_one_that_was_made_without_an_answer(
    pipeline: Pipeline, *, dropped: bool
) -> None:
    """The target keeps nothing under its first name, renamed or dropped when set aside."""
    papers = papers_aside(pipeline, made=False)
    have_made(pipeline, papers, "papers")
    if dropped:
        pipeline.source.drop(papers)
    else:
        pipeline.source.rename(papers, "tomes")
    pipeline.source.catalog.tell()
    pipeline.source.tick()
    pipeline.wait_until(lambda: pipeline.target.rows("papers") is None)
    assert pipeline.target.rows("tomes") == (None if dropped else {})


@pytest.mark.parametrize("there", ["", "papers", "tomes"])
def test_one_that_may_have_been_made_and_whose_rename_was_begun(
    pipeline: Pipeline, there: str
) -> None:
    """A retry brings it under the new name alone, whatever the target has of it."""
    papers = papers_aside(pipeline, made=False)
    target, task = pipeline.target, pipeline.task.task
    entry = task.collections[papers.id]
    pipeline.kill()
    pipeline.source.rename(papers, "tomes")
    detail = RenameDetail(("default", "tomes"), loaded=False).to_json()
    begun = entry.operation(RENAME_COLLECTION, pipeline.source.now, detail)
    task.start_operation(begun, who=SUPERVISOR, why="test")
    if there:
        have_made(pipeline, papers, there)
    pipeline.retry_ended()
    pipeline.start()
    insert(pipeline, papers, 6)
    pipeline.wait_until(lambda: target.rows("tomes") == {5: 1, 6: 1})
    assert target.rows("papers") is None
