"""A collection of the target has one task that writes it: its mark says which."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.marks import PROPERTY, RIVAL, Mark
from cdc_actors.pipeline import claims, mark_rounds
from cdc_actors.tasks import CollectionState
from tests.fakes.fake_target import StoredCollection
from tests.fakes.pipeline import STORE, Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.source.catalog.client import CollectionMeta

THEIRS = Mark(store="0e1d", task="f00", collection_id=7, source="shop.books")
BOOKS = ("default", "books")


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """Yield a task that has begun and looks at marks before each write."""
    monkeypatch.setattr(claims, "CHECK_SECONDS", 0)
    monkeypatch.setattr(claims, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(mark_rounds, "ROUND_SECONDS", 0)
    monkeypatch.setattr(mark_rounds, "STEP_SECONDS", 0)
    with Pipeline() as pipeline:
        yield pipeline.start()


def begin(pipeline: Pipeline, *keys: int) -> CollectionMeta:
    """Create a collection at the source, with rows, and let the task take it."""
    books = pipeline.source.create("books")
    pipeline.source.catalog.tell()
    write(pipeline, books, *keys)
    return books


def write(pipeline: Pipeline, books: CollectionMeta, *keys: int) -> None:
    """Insert rows, and wait until the task has done with them what it does."""
    pipeline.source.insert(books, keys)
    pipeline.source.tick()
    pipeline.settle()


def seed(pipeline: Pipeline, mark: Mark | None = None) -> None:
    """Have an empty collection at the target that the task has not made."""
    schema = schema_pb2.CollectionSchema(name="books")
    schema.fields.add(name="id", is_primary_key=True, data_type=schema_pb2.Int64)
    pipeline.target.collections[BOOKS] = StoredCollection(schema)
    put_mark(pipeline, mark)


def put_mark(pipeline: Pipeline, mark: Mark | None) -> None:
    """Write a mark as another service does, or remove it as an operator does."""
    given = mark.to_properties() if mark else {PROPERTY: ""}
    pipeline.target.collections[BOOKS].properties.update(given)


def mark_of(pipeline: Pipeline) -> Mark | None:
    """Return what the target's collection is marked with."""
    return Mark.of(pipeline.target.collections[BOOKS].properties)


def own_mark(pipeline: Pipeline, books: CollectionMeta) -> Mark:
    """Return the mark that the task writes."""
    task_id = pipeline.task.task.task_id
    return Mark(
        store=STORE, task=task_id, collection_id=books.id, source="default.books"
    )


def test_a_created_collection_has_the_mark_from_the_beginning(
    pipeline: Pipeline,
) -> None:
    """No moment passes in which it has none, and nothing is altered."""
    books = begin(pipeline, 1)
    write(pipeline, books, 2)
    assert mark_of(pipeline) == own_mark(pipeline, books)
    assert "alter books" not in pipeline.target.asked


def test_a_collection_without_a_mark_is_taken(pipeline: Pipeline) -> None:
    """One of an earlier version gets its mark with its next rows, once."""
    books = begin(pipeline, 1)
    pipeline.stop()
    collections = pipeline.task.task.collections
    collections[books.id] = dataclasses.replace(collections[books.id], marked=False)
    del pipeline.target.collections[BOOKS].properties[PROPERTY]
    pipeline.start()
    for key in (2, 3):
        write(pipeline, books, key)
    assert pipeline.target.rows("books") == dict.fromkeys([1, 2, 3], 1)
    assert mark_of(pipeline).is_same(own_mark(pipeline, books))
    assert pipeline.target.asked.count("alter books") == 2


def test_what_another_task_has_written_meanwhile_comes_once(pipeline: Pipeline) -> None:
    """Whoever takes a collection does not know what is there, also after a restart.

    The rows between were in the other task's hands.
    """
    books = begin(pipeline, 1)
    pipeline.stop()
    put_mark(pipeline, None)
    pipeline.source.insert(books, [2])
    pipeline.source.insert(books, [3])
    pipeline.source.tick()
    pipeline.target.collections[BOOKS].partitions["_default"].update([2, 3])
    pipeline.target.silence("Insert")
    pipeline.begin()
    pipeline.wait_until(lambda: pipeline.target.waiting)
    pipeline.kill()
    pipeline.target.speak()
    pipeline.start()
    pipeline.settle()
    assert pipeline.target.rows("books") == dict.fromkeys([1, 2, 3], 1)


@pytest.mark.parametrize("when", ["before", "later"])
def test_a_collection_of_another_service_is_not_written(
    pipeline: Pipeline, when: str
) -> None:
    """Whether its mark was there before or came over ours, and nothing of it changes."""
    if when == "before":
        seed(pipeline, THEIRS)
        books = begin(pipeline, 1)
    else:
        books = begin(pipeline, 1)
        put_mark(pipeline, THEIRS)
    write(pipeline, books, 2)
    entry = pipeline.task.entries["books"]
    assert entry.state is CollectionState.SET_ASIDE
    assert "written by task f00 of store 0e1d from its shop.books" in entry.reason
    assert PROPERTY in entry.reason
    pipeline.source.drop(books)
    pipeline.source.tick()
    pipeline.settle()
    assert pipeline.target.rows("books") == ({} if when == "before" else {1: 1})
    assert mark_of(pipeline) == THEIRS


@pytest.mark.parametrize("alive", [True, False])
def test_a_mark_of_a_task_of_the_same_store_counts_while_that_is_there(
    pipeline: Pipeline, *, alive: bool
) -> None:
    """A target may be known to two tasks by two addresses; a deleted one holds nothing."""
    other = replace(THEIRS, store=STORE)
    seed(pipeline, other)
    pipeline.alive = {other.task} if alive else set()
    begin(pipeline, 1)
    assert pipeline.target.rows("books") == ({} if alive else {1: 1})


def test_the_last_of_two_who_write_at_once_has_it(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written is looked at: who finds another mark does not go on."""
    alter = pipeline.target._alter_collection

    def overtaken(request: object) -> None:
        alter(request)
        put_mark(pipeline, THEIRS)

    monkeypatch.setattr(pipeline.target, "_alter_collection", overtaken)
    seed(pipeline)
    begin(pipeline, 1)
    assert pipeline.task.entries["books"].state is CollectionState.SET_ASIDE
    assert pipeline.target.rows("books") == {}


def test_a_target_that_takes_no_properties_is_written_all_the_same(
    pipeline: Pipeline,
) -> None:
    """It holds no mark, so that nothing can be told by it."""
    seed(pipeline)
    pipeline.target.refuse("AlterCollection")
    begin(pipeline, 1)
    assert pipeline.target.rows("books") == {1: 1}


def test_a_mark_that_cannot_be_read_is_nobodys(pipeline: Pipeline) -> None:
    """A newer version may write another: the collection is not written."""
    seed(pipeline)
    pipeline.target.collections[BOOKS].properties[PROPERTY] = '{"store": 5}'
    begin(pipeline, 1)
    assert "cannot be read" in pipeline.task.entries["books"].reason
    assert pipeline.target.rows("books") == {}


@pytest.mark.parametrize("ours", [True, False])
def test_the_mark_of_the_source_is_not_replicated(
    pipeline: Pipeline, *, ours: bool
) -> None:
    """A source that is a target itself has marks of its own; other properties come.

    What it was marked with is told as where the rows come from.
    """
    properties = {"ttl": "1", **(THEIRS.to_properties() if ours else {})}
    books = pipeline.source.create("books", properties=properties)
    pipeline.source.catalog.tell()
    write(pipeline, books, 1)
    at_target = pipeline.target.collections[BOOKS].properties
    mark = replace(own_mark(pipeline, books), origin=THEIRS if ours else None)
    assert at_target == {"ttl": "1", **mark.to_properties()}


HERE = 77
"""The id that the target gives its collection."""


def copied(pipeline: Pipeline, mark: Mark) -> CollectionMeta:
    """Create a collection at the source that another service has made there."""
    books = pipeline.source.create("books", properties=mark.to_properties())
    pipeline.source.catalog.tell()
    write(pipeline, books, 1)
    return books


def test_a_copy_is_not_brought_back_to_where_it_comes_from(pipeline: Pipeline) -> None:
    """Nothing is written there, no mark either, and a drop of the copy drops nothing."""
    seed(pipeline)
    pipeline.target.collections[BOOKS].collection_id = HERE
    books = copied(pipeline, replace(THEIRS, collection_id=HERE))
    reason = pipeline.task.entries["books"].reason
    assert "default.books is itself written by task f00 of store 0e1d" in reason
    assert "rows would go round for ever" in reason
    pipeline.source.drop(books)
    pipeline.source.tick()
    pipeline.settle()
    assert pipeline.target.rows("books") == {}
    assert mark_of(pipeline) is None


def test_a_copy_goes_on_to_a_third(pipeline: Pipeline) -> None:
    """From A to B, and from B to C."""
    seed(pipeline)
    pipeline.target.collections[BOOKS].collection_id = HERE
    books = copied(pipeline, replace(THEIRS, collection_id=HERE + 1))
    assert pipeline.target.rows("books") == {1: 1}
    assert mark_of(pipeline).is_same(own_mark(pipeline, books))


@pytest.mark.parametrize("store", ["0000", "ffff"])
def test_of_two_that_began_at_once_one_goes_on(pipeline: Pipeline, store: str) -> None:
    """Each has marked the other's source; both decide alike which of them that is."""
    books = begin(pipeline, 1)
    pipeline.target.collections[BOOKS].collection_id = HERE
    mark = replace(THEIRS, store=store, collection_id=HERE)
    pipeline.source.catalog.put(
        dataclasses.replace(books, properties=mark.to_properties())
    )
    pipeline.source.catalog.tell()
    pipeline.wait_for_steps()
    write(pipeline, books, 2)
    goes_on = store > STORE
    assert pipeline.target.rows("books") == ({1: 1, 2: 1} if goes_on else {1: 1})
    assert mark_of(pipeline) == (own_mark(pipeline, books) if goes_on else None)


def chained(*ids: int) -> Mark:
    """Return the mark of a copy whose rows have come through collections of these ids.

    The last one is where clients write.
    """
    mark = None
    for each in reversed(ids):
        task = f"t{each}"
        mark = replace(THEIRS, task=task, collection_id=each, origin=mark)
    return mark


def put_origin(pipeline: Pipeline, books: CollectionMeta, mark: Mark | None) -> None:
    """Have another service mark the source's collection, or give it up."""
    properties = mark.to_properties() if mark else {PROPERTY: ""}
    pipeline.source.catalog.put(dataclasses.replace(books, properties=properties))
    pipeline.source.catalog.tell()
    pipeline.wait_for_steps()


def test_a_copy_of_a_copy_is_not_brought_back_to_where_it_comes_from(
    pipeline: Pipeline,
) -> None:
    """From A to B to C, and from C to A: the way of the rows is in the mark at C."""
    seed(pipeline)
    pipeline.target.collections[BOOKS].collection_id = HERE
    copied(pipeline, chained(5, HERE, 6))
    reason = pipeline.task.entries["books"].reason
    assert (
        "is itself written by task t5 of store 0e1d from its shop.books, and" in reason
    )
    assert "and that by task t77 of store 0e1d from its shop.books, which is" in reason
    assert "t6" not in reason
    assert pipeline.target.rows("books") == {}
    assert mark_of(pipeline) is None


def test_the_mark_tells_the_whole_way_of_the_rows(pipeline: Pipeline) -> None:
    """From the creation on, and whenever a part of the way has come to be another."""
    books = copied(pipeline, chained(5, 6))
    mark = own_mark(pipeline, books)
    assert mark_of(pipeline) == replace(mark, origin=chained(5, 6))
    assert "alter books" not in pipeline.target.asked
    for origin in (chained(5, 7), None):
        put_origin(pipeline, books, origin)
        wanted = replace(mark, origin=origin)
        pipeline.wait_until(lambda wanted=wanted: mark_of(pipeline) == wanted)
    write(pipeline, books, 2)
    assert pipeline.target.rows("books") == {1: 1, 2: 1}


def test_a_way_that_has_become_another_is_told_at_once(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the next rows, though its own mark was looked at a moment ago."""
    monkeypatch.setattr(claims, "CHECK_SECONDS", 1000)
    books = begin(pipeline, 1)
    put_origin(pipeline, books, chained(5))
    write(pipeline, books, 2)
    assert mark_of(pipeline).origin == chained(5)


@pytest.mark.parametrize("store", ["0000", "ffff"])
def test_of_three_that_began_at_once_two_go_on(pipeline: Pipeline, store: str) -> None:
    """All three know the whole circle, and alike which task ends it.

    What a mark tells of the way ends before the collection that has the mark.
    """
    books = begin(pipeline, 1)
    pipeline.target.collections[BOOKS].collection_id = HERE
    circle = replace(chained(5, HERE, 6), store=store)
    put_origin(pipeline, books, replace(circle, origin=chained(HERE, 6)))
    write(pipeline, books, 2)
    goes_on = store > STORE
    assert pipeline.target.rows("books") == ({1: 1, 2: 1} if goes_on else {1: 1})
    mark = replace(own_mark(pipeline, books), origin=replace(circle, origin=None))
    assert mark_of(pipeline) == (mark if goes_on else None)


def test_who_is_refused_leaves_word_for_who_writes(pipeline: Pipeline) -> None:
    """It names itself beside the mark."""
    seed(pipeline, THEIRS)
    books = begin(pipeline, 1)
    properties = pipeline.target.collections[BOOKS].properties
    assert Mark.of(properties, RIVAL) == own_mark(pipeline, books)
    assert Mark.of(properties) == THEIRS


def test_who_writes_says_that_another_wanted_to(pipeline: Pipeline) -> None:
    """Once, although nothing is written just then, and goes on."""
    books = begin(pipeline, 1)
    at_target = pipeline.target.collections[BOOKS].properties
    at_target.update(THEIRS.to_properties(RIVAL))
    pipeline.wait_until(lambda: not at_target[RIVAL])
    write(pipeline, books, 2)
    (told,) = pipeline.task.task.claims.values()
    assert told.refused == (
        "task f00 of store 0e1d from its shop.books wanted to write it, too, and was "
        "refused"
    )
    assert pipeline.target.rows("books") == {1: 1, 2: 1}


def test_who_wanted_it_and_has_it_now_was_not_refused_by_itself(
    pipeline: Pipeline,
) -> None:
    """What it left when another had the collection says nothing any more."""
    seed(pipeline, THEIRS)
    begin(pipeline, 1)
    put_mark(pipeline, None)
    pipeline.retry("books")
    pipeline.settle()
    pipeline.wait_until(lambda: pipeline.target.rows("books") == {1: 1})
    pipeline.source.tick()
    pipeline.settle()
    assert not pipeline.task.task.claims


def test_an_idle_collection_that_was_lost_is_set_aside(pipeline: Pipeline) -> None:
    """Its mark is looked at in turn, also when there is nothing to write."""
    begin(pipeline, 1)
    put_mark(pipeline, THEIRS)
    state = CollectionState.SET_ASIDE
    pipeline.wait_until(lambda: pipeline.task.entries["books"].state is state)


@pytest.mark.parametrize("was_there", [True, False])
def test_what_another_had_is_taken_up_again_once_its_mark_is_gone(
    pipeline: Pipeline, *, was_there: bool
) -> None:
    """Also what the other has written meanwhile is there once, and nothing is missing."""
    if was_there:
        seed(pipeline, THEIRS)
        books = begin(pipeline, 1)
    else:
        books = begin(pipeline, 1)
        put_mark(pipeline, THEIRS)
    write(pipeline, books, 2)
    assert pipeline.task.entries["books"].state is CollectionState.SET_ASIDE
    rows = pipeline.target.collections[BOOKS].partitions["_default"]
    rows.update({1, 2} - rows.keys())
    put_mark(pipeline, None)
    pipeline.retry("books")
    pipeline.settle()
    write(pipeline, books, 3)
    assert pipeline.target.rows("books") == dict.fromkeys([1, 2, 3], 1)
