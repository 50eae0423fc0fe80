"""Whether a paused task may be resumed is looked at where its source is."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from cdc_actors.changes import Checkpoint
from cdc_actors.config import SourceConfig
from cdc_actors.errors import (
    FailureClass,
    TaskConflictError,
    TransientError,
    UnavailableError,
)
from cdc_actors.service import resume_checks, retry_checks
from cdc_actors.service.resume_checks import refuse_resume
from cdc_actors.service.retry_checks import refuse_retry
from cdc_actors.tasks import SourceIdentity, Task
from tests.fakes.fake_catalog import SET_UP, FakeCatalog
from tests.fakes.fake_source import A, B, FakeSource
from tests.fakes.memory_log import MemoryReader
from tests.support.tasks import SUPERVISOR, entry, new_task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SAYS: Any = {"who": SUPERVISOR, "why": "test"}


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> FakeSource:
    """Return the source that the configuration names."""
    source = FakeSource()
    reached(monkeypatch, lambda: source.catalog, lambda: MemoryReader(source.log))
    return source


@pytest.fixture
def hung(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the source answer nothing during a test."""
    over = threading.Event()
    monkeypatch.setattr(resume_checks, "LOOK_SECONDS", 0.01)
    reached(monkeypatch, lambda: over.wait(60), lambda: over.wait(60))
    yield
    over.set()


def reached(
    monkeypatch: pytest.MonkeyPatch,
    catalog: Callable[[], Any],
    log: Callable[[], Any],
) -> None:
    """Let the source be reached in these ways."""
    monkeypatch.setattr(resume_checks, "open_catalog", lambda *_: catalog())
    for module in (resume_checks, retry_checks):
        monkeypatch.setattr(module, "open_wal", lambda *_: log())


def paused(*, lost: bool, identity: int | None = SET_UP) -> Task:
    """Return a task that has paused, as its position was lost or as it was told to."""
    task = new_task()
    if identity is not None:
        known = SourceIdentity(created=identity, address="http://source:19530")
        task.identify_source(known, **SAYS)
    if lost:
        task.fail("gone", FailureClass.POSITION_LOST, next_try=None, **SAYS)
    task.pause("gone" if lost else "asked", [], **SAYS)
    return task


def where(source: FakeSource) -> list[Checkpoint]:
    """Return checkpoints at the ends of both channels."""
    return [Checkpoint(source.log_end(each), True, 1) for each in (A, B)]


def test_a_position_that_is_gone(source: FakeSource) -> None:
    """The answer names the channel, and says what to do."""
    checkpoints = where(source)
    source.tick()
    source.tick()
    source.log.truncate(B, source.log_end(B))
    with pytest.raises(
        TaskConflictError, match=f"no longer holds {B} .* `resync` brings"
    ):
        refuse_resume(paused(lost=True), checkpoints, SourceConfig())


def test_a_position_that_is_back(source: FakeSource) -> None:
    """A log that was away, or was restored, holds it again: the task may go on."""
    refuse_resume(paused(lost=True), where(source), SourceConfig())


@pytest.mark.parametrize("lost", [True, False])
def test_another_source(source: FakeSource, *, lost: bool) -> None:
    """However long its log is, whatever the task has paused for."""
    source.catalog.set_up += 1
    with pytest.raises(TaskConflictError, match="point sourceConfig back"):
        refuse_resume(paused(lost=lost), where(source), SourceConfig())


def test_a_retry_at_another_source(
    source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That its log does not hold what is to come is not the reason."""
    source.catalog.set_up += 1
    task = paused(lost=False)
    monkeypatch.setattr(Task, "retriable", lambda *_: [])
    with pytest.raises(TaskConflictError, match="point sourceConfig back"):
        refuse_retry(task, (), SourceConfig())


def with_aside(source: FakeSource, *channels: str) -> Task:
    """Return a task with a collection set aside at the end of each of some channels."""
    task = new_task()
    for number, channel in enumerate(channels, 1):
        stood = [Checkpoint(source.log_end(channel), True, 1)]
        says = FailureClass.OPERATOR, stood
        task.set_aside(entry(number), "no right", *says, **SAYS)
    return task


C1 = [("default", "c1")]


def test_a_retry_of_what_the_log_no_longer_holds(source: FakeSource) -> None:
    """One that is named, or all there are, are refused; some of all are not."""
    both, one = with_aside(source, A, B), with_aside(source, A)
    source.tick()
    for each in ((both, C1), (both, ()), (one, ())):
        refuse_retry(*each, SourceConfig())
    source.log.truncate(A, source.log_end(A))
    refuse_retry(both, (), SourceConfig())
    refuse_retry(both, [("default", "c2")], SourceConfig())
    for refused in ((both, C1), (one, ())):
        with pytest.raises(
            TaskConflictError, match=r"where default\.c1 stood: .* anew"
        ):
            refuse_retry(*refused, SourceConfig())


@pytest.mark.usefixtures("hung")
def test_a_retry_while_the_source_does_not_answer() -> None:
    """The run looks again: nobody waits long for the answer."""
    refuse_retry(with_aside(FakeSource(), A), C1, SourceConfig())


def test_a_retry_while_the_queue_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is where it answers that it is not there."""

    def away() -> Any:
        raise TransientError("the queue is away")

    reached(monkeypatch, FakeCatalog, away)
    refuse_retry(with_aside(FakeSource(), A), C1, SourceConfig())


@pytest.mark.parametrize("identity", [SET_UP, None])
@pytest.mark.usefixtures("hung")
def test_a_source_that_does_not_answer(identity: int | None) -> None:
    """It is no reason to refuse, but where the task's position was lost."""
    checkpoints = where(FakeSource())
    refuse_resume(paused(lost=False, identity=identity), checkpoints, SourceConfig())
    with pytest.raises(UnavailableError, match="the source does not answer"):
        refuse_resume(paused(lost=True, identity=identity), checkpoints, SourceConfig())


def test_a_source_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own words are in the answer."""

    def away() -> Any:
        raise TransientError("the queue is away")

    reached(monkeypatch, FakeCatalog, away)
    refuse_resume(paused(lost=False), [], SourceConfig())
    with pytest.raises(UnavailableError, match="the queue is away"):
        refuse_resume(paused(lost=True), where(FakeSource()), SourceConfig())


def test_nothing_is_asked_where_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A task that never read its source is resumed at once."""
    reached(monkeypatch, nullcontext, nullcontext)
    refuse_resume(paused(lost=False, identity=None), [], SourceConfig())
