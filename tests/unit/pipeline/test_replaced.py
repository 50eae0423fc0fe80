"""A collection that was made by hand at the target in the place of the task's own."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from cdc_actors.errors import FailureClass
from cdc_actors.pipeline import claims, mark_rounds
from cdc_actors.tasks import CollectionState
from tests.fakes.fake_target import ROW_TRIES
from tests.fakes.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.source.catalog.client import CollectionMeta


@pytest.fixture(params=["ids", "marks"])
def pipeline(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pipeline]:
    """Yield a task with rows at a target that gives ids, as Milvus, or none, as Lite."""
    monkeypatch.setattr(claims, "CHECK_SECONDS", 0)
    monkeypatch.setattr(mark_rounds, "ROUND_SECONDS", 0)
    monkeypatch.setattr(mark_rounds, "STEP_SECONDS", 0)
    with Pipeline() as pipeline:
        if request.param == "ids":
            pipeline.target.give_ids()
        pipeline.start()
        books = pipeline.source.create("books")
        pipeline.source.catalog.tell()
        insert(pipeline, books, 1, 2)
        yield pipeline


def books_of(pipeline: Pipeline) -> CollectionMeta:
    """Return what the source has."""
    (books,) = pipeline.source.catalog.snapshot().collections.values()
    return books


def insert(pipeline: Pipeline, books: CollectionMeta, *keys: int) -> None:
    """Insert rows, and wait until the task has done with them what it does."""
    pipeline.source.insert(books, keys)
    pipeline.source.tick()
    pipeline.settle()


def is_aside(pipeline: Pipeline) -> bool:
    """Tell whether the collection is set aside."""
    return pipeline.task.entries["books"].state is CollectionState.SET_ASIDE


def has(pipeline: Pipeline, *keys: int) -> None:
    """Wait until the collection is replicated, and has these keys, each once."""
    pipeline.settle()
    pipeline.wait_until(lambda: pipeline.target.rows("books") == dict.fromkeys(keys, 1))
    assert pipeline.task.entries["books"].state is CollectionState.LIVE


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("running", [False, True])
def test_it_is_shown_and_a_retry_brings_every_row(
    pipeline: Pipeline, *, written: bool, running: bool
) -> None:
    """Whether it was done while the task ran or not, and rows come for it or not."""
    target, books = pipeline.target, books_of(pipeline)
    if not running:
        pipeline.stop()
    target.make_anew("books")
    if written:
        pipeline.source.insert(books, [3])
        pipeline.source.tick()
    if not running:
        pipeline.start()
    pipeline.wait_until(lambda: is_aside(pipeline))
    reason = pipeline.task.entries["books"].reason
    assert "default.books at the target is not the one that the task has made" in reason
    assert "`retry`" in reason
    assert not target.rows("books")
    pipeline.retry("books")
    has(pipeline, 1, 2, *([3] if written else []))
    insert(pipeline, books, 4)
    pipeline.stop()
    pipeline.start()
    has(pipeline, 1, 2, 4, *([3] if written else []))


def test_what_is_in_it_stays_and_nothing_is_there_twice(pipeline: Pipeline) -> None:
    """A key of the source's is the source's row, whatever was there by that key."""
    pipeline.target.make_anew("books")
    pipeline.target.collections["default", "books"].partitions["_default"].update(
        [1, 9]
    )
    pipeline.wait_until(lambda: is_aside(pipeline))
    pipeline.retry()
    has(pipeline, 1, 2, 9)


def test_it_is_not_dropped_with_the_source(pipeline: Pipeline) -> None:
    """It is the operator's as long as nobody has asked for a retry."""
    pipeline.target.make_anew("books")
    pipeline.wait_until(lambda: is_aside(pipeline))
    pipeline.source.drop(books_of(pipeline))
    pipeline.source.tick()
    dropped = CollectionState.DROPPED
    pipeline.wait_until(lambda: pipeline.task.entries["books"].state is dropped)
    assert pipeline.target.rows("books") == {}


def test_once_more_while_it_is_set_aside(pipeline: Pipeline) -> None:
    """A retry of another reason finds it, too."""
    books = books_of(pipeline)
    pipeline.target.refuse("Insert", ROW_TRIES)
    insert(pipeline, books, 3)
    pipeline.wait_until(lambda: is_aside(pipeline))
    pipeline.target.make_anew("books")
    pipeline.retry()
    has(pipeline, 1, 2, 3)


def test_without_its_beginning_in_the_log_it_stays_set_aside(
    pipeline: Pipeline,
) -> None:
    """The reason says that rows are lost; no retry mixes what is left of them."""
    source = pipeline.source
    for channel in books_of(pipeline).channels:
        source.log.truncate(channel, source.log_end(channel))
    pipeline.target.make_anew("books")
    pipeline.wait_until(lambda: is_aside(pipeline))
    pipeline.retry()
    lost = FailureClass.POSITION_LOST
    pipeline.wait_until(lambda: pipeline.task.entries["books"].failure_class is lost)
    assert "no longer holds its beginning" in pipeline.task.entries["books"].reason


def test_a_mark_that_is_emptied_is_written_again(pipeline: Pipeline) -> None:
    """So do operators as they are told to, where two services want one collection."""
    properties = pipeline.target.collections["default", "books"].properties
    with pipeline.target.changed:
        mark = dict(properties)
        properties.update(dict.fromkeys(mark, ""))
    insert(pipeline, books_of(pipeline), 3)
    pipeline.wait_until(lambda: all(properties[key] for key in mark))
    has(pipeline, 1, 2, 3)


def test_one_of_an_earlier_version_is_known_by_its_mark_once_it_is_seen(
    pipeline: Pipeline,
) -> None:
    """The log has neither its id nor that it was marked; what the run saw counts."""
    pipeline.stop()
    collections = pipeline.task.task.collections
    for number, entry in collections.items():
        collections[number] = dataclasses.replace(entry, marked=False, target_id=0)
    pipeline.start()
    insert(pipeline, books_of(pipeline), 3)
    pipeline.target.make_anew("books")
    pipeline.wait_until(lambda: is_aside(pipeline))
