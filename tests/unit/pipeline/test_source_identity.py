"""A run that finds another Milvus at its source reads nothing and writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cdc_actors.errors import SourceChangedError
from cdc_actors.pipeline.messages import RecordSource, RecordStarts
from tests.fakes.fake_source import FakeSource
from tests.fakes.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.source.catalog.client import CollectionMeta
    from tests.fakes.fake_target import FakeTarget

LATER = 86_400 * 10**9


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """Return a task between two runs: it has brought a row of one collection."""
    with Pipeline() as pipeline:
        source = pipeline.start().source
        books = source.create("books")
        source.insert(books, [1])
        source.catalog.tell()
        source.tick()
        pipeline.settle()
        pipeline.stop()
        yield pipeline


def another() -> FakeSource:
    """Return a source with channels of the same names, a longer log, and a row."""
    source = FakeSource()
    source.catalog.set_up += LATER
    source.ids = iter(range(9_000, 9_100))
    for _ in range(50):
        source.tick()
    source.insert(source.create("papers"), [7])
    source.catalog.tell()
    source.tick()
    return source


def forget_source(pipeline: Pipeline) -> None:
    """Have the task be one of a version that noted no source."""
    pipeline.task.task.source_identity = None


def refused(pipeline: Pipeline, source: FakeSource) -> str:
    """Run the task at another source; return why it refuses, having changed nothing."""
    pipeline.source, own = source, pipeline.source
    checkpoints, horizons = (
        dict(pipeline.task.checkpoints),
        dict(pipeline.task.horizons),
    )
    starts = pipeline.task.count(RecordStarts)
    pipeline.begin()
    error = pipeline.wait_for_failure()
    assert isinstance(error, SourceChangedError)
    assert pipeline.task.checkpoints == checkpoints
    assert pipeline.task.horizons == horizons
    assert pipeline.task.count(RecordStarts) == starts
    assert only_books(pipeline.target)
    pipeline.source = own
    return str(error)


def books(source: FakeSource) -> CollectionMeta:
    """Return the first collection of a source."""
    return next(iter(source.catalog.snapshot().collections.values()))


def only_books(target: FakeTarget) -> bool:
    """Tell whether the target has what the right source has brought."""
    return set(target.collections) == {("default", "books")} and target.rows(
        "books"
    ) == {1: 1}


def test_the_first_run_notes_the_source_once(pipeline: Pipeline) -> None:
    """It is written down before a channel begins, and never again."""
    kinds = [type(each) for each in pipeline.task.asked]
    assert kinds[:2] == [RecordSource, RecordStarts]
    pipeline.start().stop()
    assert pipeline.task.count(RecordSource) == 1


@pytest.mark.parametrize("noted", [True, False])
def test_another_source_is_refused_and_the_right_one_goes_on(
    pipeline: Pipeline, *, noted: bool
) -> None:
    """With no source noted, that none of the task's collections is there tells as much."""
    if not noted:
        forget_source(pipeline)
    words = refused(pipeline, another())
    assert "point sourceConfig back at the task's source, then resume" in words
    pipeline.start()
    source = pipeline.source
    source.insert(books(source), [2])
    source.tick()
    pipeline.settle()
    assert pipeline.target.rows("books") == {1: 1, 2: 1}
    assert pipeline.task.task.source_identity.created == source.catalog.set_up


def test_a_task_that_noted_no_source_takes_the_first_that_has_any_collection(
    pipeline: Pipeline,
) -> None:
    """Others may have been dropped meanwhile: their drops are in the log."""
    source = pipeline.start().source
    source.create("papers")
    source.catalog.tell()
    source.tick()
    pipeline.settle()
    pipeline.stop()
    forget_source(pipeline)
    source.drop(books(source))
    source.tick()
    pipeline.start()
    pipeline.settle()
    assert ("default", "books") not in pipeline.target.collections
    assert pipeline.task.task.source_identity.created == source.catalog.set_up
