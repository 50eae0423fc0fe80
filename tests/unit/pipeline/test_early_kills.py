"""Kills between the requests of rows that do not wait for ticks, each in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from cdc_actors.errors import TransientError
from cdc_actors.pipeline import send_horizon
from tests.fakes.fake_source import A, B
from tests.fakes.fake_target import FakeTarget
from tests.fakes.pipeline import Pipeline
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.source.catalog.client import CollectionMeta
    from tests.fakes.fake_source import FakeSource

EARLY = structs.replace(SPEC, consistency="early")
REQUESTS = 11
"""How many requests the story takes."""

STORY: tuple[Callable[[FakeSource, CollectionMeta], object], ...] = (
    lambda source, books: source.upsert(books, [1], A),
    lambda source, _: source.write_out(A),
    lambda source, _: source.write_out(A),
    lambda source, books: source.delete(books, [2], A),
    lambda source, books: source.insert(books, [2], A, "p"),
    lambda source, _: source.write_out(A, 1),
    lambda source, _: source.tick(B),
    lambda source, _: source.write_out(A),
    lambda source, books: source.delete(books, [3], B),
    lambda source, _: source.write_out(B),
    lambda source, _: source.tick(A),
    lambda source, books: source.insert(books, [4], A),
    lambda source, books: source.delete(books, [4], A),
    lambda source, _: source.write_out(A, 1),
    lambda source, _: source.write_out(A),
    lambda source, _: (source.tick(), source.next()),
    lambda source, books: source.insert(books, [5], B),
    lambda source, _: source.write_out(B),
    lambda source, books: source.insert(books, [6], B),
    lambda source, _: source.write_out(B),
    lambda source, books: source.insert(books, [7], A),
    lambda source, _: source.write_out(A),
)
"""Halves of upserts and rows of one key, in the order of the log and against it."""

EXPECTED = {"_default": {1: 1, 5: 1, 6: 1, 7: 1}, "p": {2: 1}}


@pytest.mark.parametrize("is_saved", [True, False])
@pytest.mark.parametrize("is_done", [True, False])
@pytest.mark.parametrize("number", range(1, REQUESTS + 1))
def test_a_kill_at_each_request(
    number: int,
    *,
    is_done: bool,
    is_saved: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Done or not, with or without the checkpoints of then: the rows end equal."""
    monkeypatch.setattr(send_horizon, "HORIZON_STEP", 1)
    with Pipeline(EARLY) as pipeline:
        source = pipeline.start().source
        books = source.create("books")
        source.create_partition(books, "p")
        source.insert(books, [1, 2], A)
        source.insert(books, [3], B)
        source.catalog.tell()
        source.tick()
        pipeline.settle()
        die_at(number, monkeypatch, is_done=is_done)
        source.slow = True
        for act in STORY:
            act(source, books)
            take(pipeline, pipeline.wait_for_steps, is_saved=is_saved)
        source.tick()
        take(pipeline, pipeline.settle, is_saved=is_saved)
        source.tick()
        take(pipeline, pipeline.settle, is_saved=is_saved)
        stored = pipeline.target.collections["default", "books"].partitions
        assert {name: dict(rows) for name, rows in stored.items()} == EXPECTED


def die_at(number: int, monkeypatch: pytest.MonkeyPatch, *, is_done: bool) -> None:
    """Have the run fail with a request for rows, before or after it is done."""
    answer = FakeTarget.answer
    asked: list[str] = []

    def failing(
        target: FakeTarget, method: str, request: Any, cancelled: Callable[[], bool]
    ) -> Any:
        if method not in {"Insert", "Delete"}:
            return answer(target, method, request, cancelled)
        asked.append(method)
        if len(asked) != number:
            return answer(target, method, request, cancelled)
        if is_done:
            answer(target, method, request, cancelled)
        raise TransientError("it is killed here")

    monkeypatch.setattr(FakeTarget, "answer", failing)


def take(pipeline: Pipeline, step: Callable[[], None], *, is_saved: bool) -> None:
    """Take a step; where the run has failed, kill it and begin another."""
    try:
        step()
    except TransientError:
        if is_saved:
            pipeline.task.checkpoints |= pipeline.run.checkpoints()
        pipeline.kill()
        pipeline.start()
        step()
