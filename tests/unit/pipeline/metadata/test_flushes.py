"""Flushes of the source's clients: merged while they wait, and nothing waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cdc_actors.pipeline.metadata import flushes
from tests.fakes.fake_source import REQUESTS, A
from tests.fakes.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.changes import Position
    from cdc_actors.source.catalog.client import CollectionMeta

FLUSHED = "flush books"


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """Return a task that has begun, with nothing at its source."""
    with Pipeline() as pipeline:
        yield pipeline.start()


@pytest.fixture
def books(pipeline: Pipeline) -> CollectionMeta:
    """Return a collection that is at both sides."""
    books = pipeline.source.create("books", A)
    pipeline.source.catalog.tell()
    pipeline.source.tick()
    pipeline.settle()
    return books


def wait_read(pipeline: Pipeline) -> None:
    """Wait until the checkpoint has passed every request of the source's clients."""
    newest = number(pipeline.source.log_end(REQUESTS)) - 1

    def is_read() -> bool:
        stood = pipeline.run.checkpoints().get(REQUESTS)
        return stood is not None and number(stood.position) >= newest

    pipeline.wait_until(is_read)


def number(position: Position) -> int:
    """Return which record of its channel a position is."""
    return int.from_bytes(position.id, "little")


@pytest.mark.parametrize("often", [1, 2, 100])
def test_flushes_that_wait_are_one(
    pipeline: Pipeline, books: CollectionMeta, often: int
) -> None:
    """A hundred of them before their rows are covered by a tick are asked once."""
    source, target = pipeline.source, pipeline.target
    source.insert(books, [1])
    for _ in range(often):
        source.flush(books)
    pipeline.wait_for_steps()
    assert FLUSHED not in target.asked
    source.tick()
    pipeline.wait_until(lambda: FLUSHED in target.asked)
    wait_read(pipeline)
    pipeline.wait_for_steps()
    assert target.asked == ["create books", "insert books", FLUSHED]


def test_the_oldest_keeps_its_turn(pipeline: Pipeline, books: CollectionMeta) -> None:
    """Were it put off for each newer one, a busy client's flushes would never come."""
    source, target = pipeline.source, pipeline.target
    source.flush(books)
    source.tick()
    source.flush(books)
    pipeline.wait_until(lambda: FLUSHED in target.asked)


@pytest.mark.parametrize("pause", [0.0, 3600.0])
def test_a_limited_flush_is_asked_later(
    pipeline: Pipeline,
    books: CollectionMeta,
    monkeypatch: pytest.MonkeyPatch,
    pause: float,
) -> None:
    """Rows and operations pass it by, and so does the checkpoint of the requests."""
    monkeypatch.setattr(flushes, "RETRY_SECONDS", pause)
    source, target = pipeline.source, pipeline.target
    target.limit("Flush")
    source.flush(books)
    source.tick()
    source.insert(books, [1])
    source.rename(books, "tomes")
    source.catalog.tell()
    source.tick()
    pipeline.wait_until(lambda: target.rows("tomes") == {1: 1})
    wait_read(pipeline)
    if pause:
        assert not [each for each in target.asked if each.startswith("flush")]
    else:
        pipeline.wait_until(lambda: {FLUSHED, "flush tomes"}.intersection(target.asked))


def test_a_later_flush_stands_for_a_refused_one(
    pipeline: Pipeline, books: CollectionMeta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the limit lets one through, nothing is left to be asked."""
    monkeypatch.setattr(flushes, "RETRY_SECONDS", 0.0)
    source, target = pipeline.source, pipeline.target
    target.limit("Flush")
    target.silence("Flush")
    source.flush(books)
    source.tick()
    pipeline.wait_until(lambda: target.waiting)
    source.flush(books)
    pipeline.wait_for_steps()
    source.tick()
    with target.changed:
        target._silent.clear()
        target.changed.notify_all()
    pipeline.wait_until(lambda: FLUSHED in target.asked)
    wait_read(pipeline)
    pipeline.wait_for_steps()
    assert target.asked.count(FLUSHED) == 1


def test_a_flush_of_what_was_dropped_is_forgotten(
    pipeline: Pipeline, books: CollectionMeta
) -> None:
    """It keeps no checkpoint back."""
    source = pipeline.source
    source.flush(books)
    pipeline.wait_for_steps()
    source.drop(books)
    source.catalog.tell()
    source.tick()
    pipeline.settle()
    wait_read(pipeline)
    assert pipeline.target.rows("books") is None
