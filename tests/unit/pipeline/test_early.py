"""Rows that do not wait for ticks, from log to target, by the real actors, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from cdc_actors.pipeline import early_rows, send_horizon
from tests.fakes.fake_source import A, B
from tests.fakes.memory_log import MemoryReader
from tests.fakes.pipeline import Pipeline
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.changes import Record
    from cdc_actors.source.catalog.client import CollectionMeta

EARLY = structs.replace(SPEC, consistency="early")


@pytest.fixture(autouse=True)
def _short_horizon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a horizon end soon after what was sent, by this source's small steps."""
    monkeypatch.setattr(send_horizon, "HORIZON_STEP", 5)


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """Return a task that is at the end of its source's log."""
    with Pipeline(EARLY) as pipeline:
        yield pipeline.start()


@pytest.fixture
def books(pipeline: Pipeline) -> CollectionMeta:
    """Return a collection on both channels, of which rows may be early."""
    made = pipeline.source.create("books")
    pipeline.source.catalog.tell()
    go_on(pipeline)
    return made


def go_on(pipeline: Pipeline) -> None:
    """Cover what there is, and whatever an earlier run may have sent."""
    pipeline.source.now += send_horizon.HORIZON_STEP
    pipeline.source.tick()
    pipeline.settle()


def wait_for_rows(pipeline: Pipeline, expected: dict[int, int]) -> None:
    """Wait until the target has rows."""
    pipeline.wait_until(lambda: pipeline.target.rows("books") == expected)


def partitions(pipeline: Pipeline) -> dict[str, dict[int, int]]:
    """Return the target's rows by partition."""
    stored = pipeline.target.collections["default", "books"].partitions
    return {name: dict(rows) for name, rows in stored.items()}


def test_rows_are_there_before_their_tick_which_alone_confirms_them(
    pipeline: Pipeline, books: CollectionMeta
) -> None:
    """The checkpoint does not move, and the tick sends nothing more."""
    source, target = pipeline.source, pipeline.target
    before = pipeline.run.checkpoints()
    source.insert(books, [1, 2], A)
    wait_for_rows(pipeline, {1: 1, 2: 1})
    source.delete(books, [1], A)
    wait_for_rows(pipeline, {2: 1})
    assert pipeline.run.checkpoints() == before
    assert pipeline.memory.used > 0
    asked = len(target.asked)
    tick = source.tick()
    pipeline.settle()
    assert len(target.asked) == asked
    assert {each.tick for each in pipeline.run.checkpoints().values()} == {tick}
    assert pipeline.memory.used == 0


def test_a_task_that_does_not_ask_for_it_waits_for_ticks() -> None:
    """Nothing that no tick covers comes to its target."""
    with Pipeline() as pipeline:
        source = pipeline.start().source
        books = source.create("books")
        source.catalog.tell()
        go_on(pipeline)
        source.insert(books, [1], A)
        pipeline.wait_for_steps()
        assert pipeline.target.rows("books") == {}
        go_on(pipeline)
        assert pipeline.target.rows("books") == {1: 1}


def test_an_upsert_whose_halves_come_apart(
    pipeline: Pipeline, books: CollectionMeta
) -> None:
    """The new row is there with the old one for a moment, and then alone."""
    source = pipeline.source
    source.insert(books, [1], A)
    go_on(pipeline)
    source.slow = True
    source.upsert(books, [1], A)
    source.write_out(A)
    wait_for_rows(pipeline, {1: 2})
    source.write_out(A)
    wait_for_rows(pipeline, {1: 1})
    go_on(pipeline)
    assert pipeline.target.rows("books") == {1: 1}


def test_the_second_half_of_an_upsert_is_waited_for(
    pipeline: Pipeline, books: CollectionMeta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written with the first, so that both are one delete and one insert."""
    source, poll = pipeline.source, MemoryReader.poll
    source.slow = True
    source.upsert(books, [1], A)

    def poll_and_write(reader: MemoryReader, *args: Any) -> list[Record]:
        found = poll(reader, *args)
        if source.unwritten[A]:
            source.write_out(A)
        return found

    monkeypatch.setattr(MemoryReader, "poll", poll_and_write)
    wait_for_rows(pipeline, {1: 1})
    go_on(pipeline)
    assert pipeline.target.rows("books") == {1: 1}
    assert pipeline.target.asked[-2:] == ["delete books", "insert books"]
    assert pipeline.target.asked.count("insert books") == 1


def test_what_comes_late_is_put_where_it_belongs(
    pipeline: Pipeline, books: CollectionMeta
) -> None:
    """A delete takes no newer row with it; a row that a newer delete removed stays away."""
    source = pipeline.source
    source.insert(books, [1, 2], A)
    go_on(pipeline)
    source.slow = True
    source.delete(books, [1], A)
    source.insert(books, [1], A)
    source.insert(books, [3], A)
    source.delete(books, [3], A)
    source.insert(books, [4], A)
    source.write_out(A, 1)
    wait_for_rows(pipeline, {1: 2, 2: 1})
    source.write_out(A, 0)
    wait_for_rows(pipeline, {1: 1, 2: 1})
    source.write_out(A, 1)
    source.write_out(A, 0)
    source.write_out(A, 0)
    wait_for_rows(pipeline, {1: 1, 2: 1, 4: 1})
    go_on(pipeline)
    assert pipeline.target.rows("books") == {1: 1, 2: 1, 4: 1}


@pytest.mark.parametrize("is_done", [True, False])
@pytest.mark.parametrize("end", [Pipeline.kill, Pipeline.stop])
def test_a_run_that_ends_before_the_tick_neither_loses_nor_doubles(
    pipeline: Pipeline, books: CollectionMeta, end, *, is_done: bool
) -> None:
    """What was sent early lies behind the checkpoint, and is applied by key."""
    source, target = pipeline.source, pipeline.target
    source.insert(books, [1, 2], A)
    source.insert(books, [3], B)
    go_on(pipeline)
    pipeline.task.checkpoints |= pipeline.run.checkpoints()
    source.upsert(books, [1], A, "_default")
    wait_for_rows(pipeline, {1: 1, 2: 1, 3: 1})
    source.delete(books, [2], A)
    wait_for_rows(pipeline, {1: 1, 3: 1})
    target.fail("Insert", is_done=is_done)
    source.insert(books, [4], B)
    assert pipeline.wait_for_failure()
    pipeline.begin()
    source.insert(books, [5], A)
    pipeline.wait_for_steps()
    end(pipeline)
    pipeline.start()
    source.insert(books, [6], A)
    go_on(pipeline)
    assert target.rows("books") == {1: 1, 3: 1, 4: 1, 5: 1, 6: 1}


def test_a_tick_confirms_nothing_that_is_not_answered(
    pipeline: Pipeline, books: CollectionMeta
) -> None:
    """A kill while the answer to early rows is open, though ticks have covered them."""
    source, target = pipeline.source, pipeline.target
    stood = pipeline.run.checkpoints()[A].tick
    target.silence("Insert")
    source.insert(books, [1], A)
    pipeline.wait_for_steps()
    source.tick()
    pipeline.wait_until(lambda: pipeline.run.checkpoints()[B].tick > stood)
    pipeline.wait_for_steps()
    assert pipeline.run.checkpoints()[A].tick == stood
    pipeline.task.checkpoints |= pipeline.run.checkpoints()
    pipeline.kill()
    target.speak()
    pipeline.start()
    go_on(pipeline)
    assert target.rows("books") == {1: 1}


def test_what_was_in_the_log_at_the_start_waits_for_its_ticks(
    pipeline: Pipeline, books: CollectionMeta
) -> None:
    """So does what lies up to the send horizon; early is what comes behind both."""
    source = pipeline.source
    pipeline.kill()
    source.insert(books, [1], A)
    pipeline.start()
    source.insert(books, [2], A)
    pipeline.wait_for_steps()
    assert pipeline.target.rows("books") == {}
    go_on(pipeline)
    source.insert(books, [3], A)
    wait_for_rows(pipeline, {1: 1, 2: 1, 3: 1})


def test_rows_of_a_partition_whose_predecessor_is_dropped_late(
    pipeline: Pipeline, books: CollectionMeta
) -> None:
    """The drop comes to the log behind them, and takes them with the partition's name."""
    source, target = pipeline.source, pipeline.target
    parted = source.create_partition(books, "p")
    source.insert(books, [1], A, "p")
    source.catalog.tell()
    go_on(pipeline)
    source.slow = True
    source.drop_partition(books, "p", parted)
    source.slow = False
    source.create_partition(books, "p")
    source.insert(books, [2, 3], A, "p")
    source.delete(books, [3], A)
    wait_for_rows(pipeline, {1: 1, 2: 1})
    go_on(pipeline)
    assert target.asked.count("drop partition p") == 1
    assert partitions(pipeline) == {"_default": {}, "p": {2: 1}}


@pytest.mark.parametrize("is_told", [True, False])
def test_rows_wait_while_a_drop_of_a_partition_does(
    pipeline: Pipeline, books: CollectionMeta, *, is_told: bool
) -> None:
    """For its tick, and then for the other channel's."""
    source = pipeline.source
    parted = source.create_partition(books, "p")
    source.insert(books, [1], A, "p")
    source.catalog.tell()
    go_on(pipeline)
    source.drop_partition(books, "p", parted)
    source.create_partition(books, "p")
    if is_told:
        source.catalog.tell()
    source.insert(books, [2], A, "p")
    pipeline.wait_for_steps()
    assert partitions(pipeline)["p"] == {1: 1}
    source.tick(A)
    source.insert(books, [3], A, "p")
    pipeline.wait_for_steps()
    assert partitions(pipeline)["p"] == {1: 1}
    go_on(pipeline)
    assert partitions(pipeline)["p"] == {2: 1, 3: 1}
    source.insert(books, [4], A, "p")
    wait_for_rows(pipeline, {2: 1, 3: 1, 4: 1})


def test_rows_wait_while_a_rename_does(
    pipeline: Pipeline, books: CollectionMeta
) -> None:
    """They come with the tick that it waits for."""
    source, target = pipeline.source, pipeline.target
    source.rename(books, "novels")
    source.catalog.tell()
    pipeline.wait_for_steps()
    source.insert(books, [1], A)
    pipeline.wait_for_steps()
    assert target.rows("books") == {}
    go_on(pipeline)
    pipeline.wait_until(lambda: target.rows("novels") == {1: 1})
    source.insert(books, [2], A)
    pipeline.wait_until(lambda: target.rows("novels") == {1: 1, 2: 1})


def test_a_collection_that_is_dropped_with_early_rows(
    pipeline: Pipeline, books: CollectionMeta
) -> None:
    """Nothing of them is remembered."""
    source = pipeline.source
    source.insert(books, [1], A)
    wait_for_rows(pipeline, {1: 1})
    source.drop(books)
    pipeline.wait_until(lambda: pipeline.target.rows("books") is None)
    go_on(pipeline)
    pipeline.wait_until(lambda: pipeline.memory.used == 0)


def test_more_keys_than_may_be_remembered_wait_for_their_tick(
    pipeline: Pipeline, books: CollectionMeta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes after the tick is early again."""
    source = pipeline.source
    monkeypatch.setattr(early_rows, "MAX_KEYS", 3)
    source.insert(books, [1, 2], A)
    wait_for_rows(pipeline, {1: 1, 2: 1})
    source.insert(books, [3, 4], A)
    source.delete(books, [1], A)
    pipeline.wait_for_steps()
    assert pipeline.target.rows("books").keys() & {3, 4} == set()
    go_on(pipeline)
    assert pipeline.target.rows("books") == {2: 1, 3: 1, 4: 1}
    source.insert(books, [5], A)
    wait_for_rows(pipeline, {2: 1, 3: 1, 4: 1, 5: 1})
