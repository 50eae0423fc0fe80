"""What the target calls too large: sent in parts, and only a single row is too much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cdc_actors.tasks import CollectionState
from tests.fakes.fake_source import A, B
from tests.fakes.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = 300
LARGEST = 120
LARGE_KEY = 1 << 60


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """Yield a task that runs, with two collections on two channels."""
    with Pipeline() as pipeline:
        yield pipeline.start()


@pytest.mark.parametrize("end", [Pipeline.stop, Pipeline.kill])
def test_rows_and_deletes_come_in_parts(pipeline: Pipeline, end: Any) -> None:
    """Each row is there once, also after an end between the parts; deletes are done."""
    source, target = pipeline.source, pipeline.target
    target.is_too_large = lambda request: request.ByteSize() > LARGEST
    books = source.create("books", A)
    source.catalog.tell()
    source.insert(books, range(ROWS))
    source.tick()
    inserts = [f"insert {books.name}"] * 2
    target.fail("Insert", is_done=True)
    assert pipeline.wait_for_failure()
    pipeline.start()
    pipeline.wait_until(lambda: target.asked[-2:] == inserts)
    end(pipeline)
    pipeline.start()
    source.delete(books, range(ROWS // 2))
    source.tick()
    pipeline.settle()
    assert target.rows("books") == dict.fromkeys(range(ROWS // 2, ROWS), 1)


def test_one_row_that_is_too_large(pipeline: Pipeline) -> None:
    """Its collection is set aside and names its key; another goes on."""
    source, target = pipeline.source, pipeline.target
    target.is_too_large = _has_large
    books, volumes = source.create("books", A), source.create("volumes", B)
    source.catalog.tell()
    source.insert(books, [LARGE_KEY, *range(20)])
    source.insert(volumes, [100, 101], B)
    source.tick()
    pipeline.settle()
    found = pipeline.task.entries
    assert found["books"].state is CollectionState.SET_ASIDE
    assert f"the row with the key {LARGE_KEY} takes" in found["books"].reason
    assert found["volumes"].state is CollectionState.LIVE
    assert target.rows("volumes") == {100: 1, 101: 1}


def _has_large(request: Any) -> bool:
    columns = getattr(request, "fields_data", ())
    return any(LARGE_KEY in column.scalars.long_data.data for column in columns)
