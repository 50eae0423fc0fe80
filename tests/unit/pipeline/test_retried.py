"""One collection that the target does not take for now, and the others beside it."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from cdc_actors.errors import TransientError, UnclearAnswerError
from cdc_actors.pipeline import attempts, retried
from cdc_actors.pipeline.attempts import Attempts
from cdc_actors.pipeline.retried import RetriedCollections
from cdc_actors.pipeline.work import NO_ROWS
from cdc_actors.tasks import CollectionState
from tests.fakes.fake_source import A
from tests.fakes.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.source.catalog.client import CollectionMeta

SOME = 5
UNCLEAR = UnclearAnswerError("no")


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(attempts, "LONGEST_DELAY", 0.01)


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """Yield a task that runs."""
    with Pipeline() as pipeline:
        yield pipeline.start()


@pytest.fixture
def two(pipeline: Pipeline) -> tuple[CollectionMeta, CollectionMeta]:
    """Return two collections, ``books`` and ``papers``, that are at the target."""
    source = pipeline.source
    books, papers = source.create("books", A), source.create("papers", A)
    source.catalog.tell()
    source.tick()
    target = pipeline.target
    pipeline.wait_until(lambda: target.rows("books") == target.rows("papers") == {})
    return books, papers


def wait_for_answers(pipeline: Pipeline, method: str = "Insert") -> None:
    """Wait until the target has answered some requests about books unclearly."""
    target = pipeline.target
    pipeline.wait_until(lambda: target.unclear_answers(method, "books") > SOME)


def test_the_neighbour_goes_on(
    pipeline: Pipeline, two: tuple[CollectionMeta, CollectionMeta]
) -> None:
    """One collection alone is tried again, shown, and complete once it is taken."""
    source, target, task = pipeline.source, pipeline.target, pipeline.task
    books, papers = two
    target.answer_unclearly("Insert", "books")
    for key in range(0, 20, 2):
        source.insert(books, [key])
        source.insert(papers, [key + 1])
        source.tick()
        pipeline.wait_until(lambda key=key: key + 1 in target.rows("papers"))
    wait_for_answers(pipeline)
    shown = pipeline.run._context.retried.shown()[books.id]
    assert "65535" in shown.reason
    assert shown.attempt > 1
    assert target.rows("books") == {}
    target.speak()
    source.delete(books, [2])
    source.tick()
    pipeline.settle()
    kept = {key: 1 for key in range(0, 20, 2) if key != 2}
    assert target.rows("books") == kept
    assert target.rows("papers") == dict.fromkeys(range(1, 20, 2), 1)
    assert task.entries["books"].state is CollectionState.LIVE
    assert pipeline.run._context.retried.shown() == {}
    pipeline.wait_until(lambda: pipeline.memory.used == 0)


def test_a_kill_meanwhile_costs_nothing(
    pipeline: Pipeline, two: tuple[CollectionMeta, CollectionMeta]
) -> None:
    """The checkpoint has stayed where the collection stood."""
    source, target = pipeline.source, pipeline.target
    target.answer_unclearly("Insert", "books")
    source.insert(two[0], [1, 2])
    source.insert(two[1], [3])
    source.tick()
    wait_for_answers(pipeline)
    pipeline.kill()
    target.speak()
    pipeline.start()
    pipeline.settle()
    assert target.rows("books") == {1: 1, 2: 1}
    assert target.rows("papers") == {3: 1}


@pytest.mark.parametrize("method", ["DropCollection", "DescribeCollection"])
def test_a_drop_that_is_answered_unclearly(
    method: str, pipeline: Pipeline, two: tuple[CollectionMeta, CollectionMeta]
) -> None:
    """It is asked again, and a new collection of the name waits for it."""
    source, target = pipeline.source, pipeline.target
    books, papers = two
    target.answer_unclearly(method, "books")
    source.drop(books)
    source.catalog.tell()
    again = source.create("books", A)
    source.insert(again, [1])
    source.insert(papers, [2])
    source.tick()
    wait_for_answers(pipeline, method)
    assert target.rows("papers") == {2: 1}
    target.speak()
    pipeline.settle()
    assert target.rows("books") == {1: 1}


def test_a_drop_that_is_refused_for_good(
    pipeline: Pipeline, two: tuple[CollectionMeta, CollectionMeta]
) -> None:
    """The collection is set aside with the target's words, and the others go on."""
    source, target, task = pipeline.source, pipeline.target, pipeline.task.task
    books, papers = two
    target.refuse("DropCollection")
    target.refuse("DropCollection")
    source.drop(books)
    source.catalog.tell()
    again = source.create("books", A)
    source.insert(papers, [2])
    source.tick()
    pipeline.wait_until(lambda: again.id in task.collections)
    pipeline.settle()
    assert target.rows("papers") == {2: 1}
    entry = task.collections[books.id]
    assert entry.state is CollectionState.SET_ASIDE
    assert "refuses DropCollection" in (entry.reason or "")
    assert "does not rename or drop" in (task.collections[again.id].reason or "")


def test_one_that_holds_what_the_others_need_is_set_aside(
    pipeline: Pipeline,
    two: tuple[CollectionMeta, CollectionMeta],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For a reason that passes; it gives its memory back, and the others go on."""
    monkeypatch.setattr(attempts, "CROWDED_SECONDS", 0.0)
    source, target, task = pipeline.source, pipeline.target, pipeline.task.task
    books, papers = two
    target.answer_unclearly("Insert", "books")
    source.insert(books, [1])
    source.tick()
    wait_for_answers(pipeline)
    source.insert(papers, [3])
    source.tick()
    pipeline.wait_until(lambda: target.rows("papers") == {3: 1})
    monkeypatch.setattr(retried, "HELD_SHARE", 0.0)
    is_aside = CollectionState.SET_ASIDE
    pipeline.wait_until(lambda: task.collections[books.id].state is is_aside)
    source.insert(papers, [4])
    source.tick()
    pipeline.settle()
    assert target.rows("papers") == {3: 1, 4: 1}
    assert "65535" in (task.collections[books.id].reason or "")
    pipeline.wait_until(lambda: pipeline.memory.used == 0)


def test_a_target_that_takes_nothing_at_all_is_the_tasks(
    pipeline: Pipeline,
    two: tuple[CollectionMeta, CollectionMeta],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody is set aside where nobody goes on: the run ends, to be tried again."""
    monkeypatch.setattr(attempts, "PATIENCE_SECONDS", 0.0)
    source, task = pipeline.source, pipeline.task.task
    pipeline.target.answer_unclearly("Insert", "books")
    source.insert(two[0], [1])
    source.tick()
    assert isinstance(pipeline.wait_for_failure(), TransientError)
    assert task.collections[two[0].id].state is CollectionState.LIVE
    pipeline.target.speak()
    pipeline.start()
    pipeline.settle()
    assert pipeline.target.rows("books") == {1: 1}


def test_the_others_are_read_on_while_one_waits(
    two: tuple[CollectionMeta, CollectionMeta], pipeline: Pipeline
) -> None:
    """What waits for a collection to be tried again does not count as work at hand."""
    source, target = pipeline.source, pipeline.target
    target.answer_unclearly("Insert", "books")
    source.insert(two[0], [1])
    source.tick()
    wait_for_answers(pipeline)
    pipeline.wait_until(lambda: pipeline.run._context.budget.at_work == 0)
    target.speak()
    pipeline.settle()
    pipeline.wait_until(lambda: pipeline.run._context.budget.at_work == 0)


def context(free: int = 1000) -> SimpleNamespace:
    """Return what attempts need of a run."""
    budget = SimpleNamespace(free=free, work_done=lambda _count: None)
    return SimpleNamespace(applied=NO_ROWS, retried=RetriedCollections(), budget=budget)


def test_delays_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is about twice the one before, up to the longest; short while it is starting."""
    monkeypatch.setattr(attempts, "LONGEST_DELAY", 30.0)
    run = context()
    tries = Attempts(445, run)  # type: ignore[arg-type]

    def delay(error: UnclearAnswerError = UNCLEAR) -> float:
        before = datetime.now(UTC)
        tries.failed(error)
        return (run.retried.shown()[445].next_try - before).total_seconds()

    for number in range(12):
        longest = min(attempts.LONGEST_DELAY, attempts.FIRST_DELAY * 2**number)
        assert 0.8 * longest <= delay() <= 1.5 * longest
    starting = UnclearAnswerError("service not ready", 1, is_starting=True)
    assert delay(starting) <= 1.5 * attempts.STARTING_DELAY
    tries.end()
    assert run.retried.shown() == {}
    assert delay() <= 1.5 * attempts.FIRST_DELAY


def test_the_largest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where several hold too much together, those that hold less wait on."""
    monkeypatch.setattr(attempts, "CROWDED_SECONDS", 0.0)
    run = context()
    small, large = Attempts(1, run), Attempts(2, run)  # type: ignore[arg-type]
    for each in (small, large):
        each.failed(UnclearAnswerError("no"))
    assert large.may_wait(1, 240)
    assert small.may_wait(1, 20)
    assert not large.may_wait(1, 240)
    large.end()
    assert small.may_wait(1, 20)
