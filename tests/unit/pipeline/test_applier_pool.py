"""How many threads the collections of one run take, and who waits for whom."""

from __future__ import annotations

import threading
from threading import Semaphore
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from cdc_actors.pipeline.applier_pool import (
    OPERATIONS_AT_ONCE,
    ROWS_AT_ONCE,
    ApplierPool,
)
from cdc_actors.shared_threads import FEW
from tests.fakes.fake_source import A
from tests.fakes.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.source.catalog.client import CollectionMeta

MANY = 60
SHARED_THREADS = FEW + 1
"""Those of the process: some for the actors, one for the alarms."""


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """Return a task that has begun, with nothing at its source."""
    with Pipeline() as pipeline:
        yield pipeline.start()


def fill(pipeline: Pipeline) -> list[CollectionMeta]:
    """Create many collections at the source, with a row each."""
    made = [pipeline.source.create(f"c{number}", A) for number in range(MANY)]
    for meta in made:
        pipeline.source.insert(meta, [1])
    pipeline.source.catalog.tell()
    pipeline.source.tick()
    return made


def appliers(before: set[threading.Thread]) -> int:
    """Return how many threads appliers have: the process has others come and go."""
    since = set(threading.enumerate()) - before
    return sum(each.name.startswith("applier-") for each in since)


def test_threads_do_not_grow_with_collections() -> None:
    """Neither while all wait for the target, nor afterwards, when all are idle."""
    before = set(threading.enumerate())
    with Pipeline() as pipeline:
        target = pipeline.start().target
        target.silence("Insert")
        fill(pipeline)
        pipeline.wait_until(lambda: target.waiting >= ROWS_AT_ONCE)
        most = ROWS_AT_ONCE + OPERATIONS_AT_ONCE
        assert appliers(before) <= most
        assert len(set(threading.enumerate()) - before) <= most + SHARED_THREADS
        target.speak()
        pipeline.settle()
        found = [target.rows(f"c{number}") for number in range(MANY)]
        assert found == [{1: 1}] * MANY
        pipeline.wait_until(lambda: not appliers(before))


def test_creations_go_out_a_few_at_a_time(pipeline: Pipeline) -> None:
    """And the rows of what is there already do not wait for them."""
    source, target = pipeline.source, pipeline.target
    books = source.create("books", A)
    source.catalog.tell()
    source.tick()
    pipeline.settle()
    target.silence("CreateCollection")
    fill(pipeline)
    pipeline.wait_until(lambda: target.waiting == OPERATIONS_AT_ONCE)
    source.insert(books, [1])
    source.tick()
    pipeline.wait_until(lambda: target.rows("books") == {1: 1})
    assert target.waiting == OPERATIONS_AT_ONCE
    target.speak()
    pipeline.settle()
    assert [target.rows(f"c{number}") for number in range(MANY)] == [{1: 1}] * MANY


def test_who_always_has_work_leaves_room_for_others() -> None:
    """As many as there are threads never come to an end; one more has its turn."""
    pool, done = ApplierPool(), threading.Event()

    def applier(step) -> SimpleNamespace:
        return SimpleNamespace(has_operation_next=False, step=step, pause=0.0)

    for _ in range(ROWS_AT_ONCE):
        pool.submit(applier(lambda: not done.is_set()))
    pool.submit(applier(done.set))
    assert done.wait(60)


def test_who_pauses_has_its_turn_later_and_one_thread_waits() -> None:
    """However many pause; none of them goes on once the pool is at its end."""
    pool, turns = ApplierPool(), Semaphore(0)
    before = set(threading.enumerate())

    def turn() -> bool:
        turns.release()
        return True

    for seconds in [0.001] * MANY:
        applier = SimpleNamespace(has_operation_next=False, step=turn, pause=seconds)
        pool.submit_later(applier, seconds)
    for _ in range(3 * MANY):
        assert turns.acquire(timeout=60)
    assert appliers(before) <= ROWS_AT_ONCE + 1
    pool.join(60)
    while appliers(before):
        turns.acquire(timeout=0.01)
