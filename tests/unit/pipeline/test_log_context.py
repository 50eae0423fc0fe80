"""Log lines of a run say what they are about."""

from __future__ import annotations

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.testing import capture_logs

from tests.fakes.fake_source import A
from tests.fakes.pipeline import Pipeline


def test_a_line_about_a_collection_has_its_task_and_its_collection() -> None:
    """Wherever in the run it is written, by the ids and by the name."""
    with (
        capture_logs(processors=[merge_contextvars]) as lines,
        # As the task's actor binds it.
        bound_contextvars(task_id="a1"),
        Pipeline() as pipeline,
    ):
        pipeline.start()
        books = pipeline.source.create("books")
        pipeline.source.catalog.tell()
        pipeline.source.insert(books, [1], A)
        pipeline.target.answer_once_unclearly("Insert", is_done=False)
        pipeline.source.tick()
        pipeline.wait_until(lambda: pipeline.target.rows("books") == {1: 1})
    (line,) = [each for each in lines if each["event"] == "attempt_failed"]
    assert (
        line.items()
        >= {
            "task_id": "a1",
            "collection": "default.books",
            "collection_id": books.id,
        }.items()
    )
    assert structlog.contextvars.get_contextvars() == {}
