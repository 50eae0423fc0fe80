"""Rows that the source has expired do not come to life again at the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cdc_actors.changes import to_hybrid_ts
from cdc_actors.pipeline import expiry
from cdc_actors.pipeline.expiry import TTL
from tests.fakes.fake_source import A
from tests.fakes.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

LIFE = 100


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """Yield a task that has not begun."""
    with Pipeline() as pipeline:
        yield pipeline


def test_an_old_log_brings_no_expired_rows(pipeline: Pipeline) -> None:
    """Inserts older than the time to live are left out, by the source's own clock."""
    source = pipeline.source
    books = source.create("books", A, properties={TTL: str(LIFE)})
    source.insert(books, [1, 2])
    source.now += to_hybrid_ts(LIFE / 2)
    source.insert(books, [3])
    source.now += to_hybrid_ts(LIFE / 2 + 1)
    source.insert(books, [4])
    source.tick()
    pipeline.start().settle()
    assert pipeline.target.rows("books") == {3: 1, 4: 1}


def test_deletes_of_expired_rows_are_done(pipeline: Pipeline) -> None:
    """An earlier run may have brought the rows when they were young."""
    source = pipeline.source
    books = source.create("books", A, properties={TTL: str(LIFE)})
    source.insert(books, [1, 2, 3])
    source.tick()
    pipeline.start().settle()
    pipeline.stop()
    source.insert(books, [4])
    source.delete(books, [2, 4])
    source.now += to_hybrid_ts(LIFE + 1)
    source.tick()
    pipeline.start().settle()
    assert pipeline.target.rows("books") == {1: 1, 3: 1}
    assert pipeline.target.asked[-1] == "delete books"


@pytest.mark.parametrize("now", [{TTL: str(10 * LIFE)}, {}])
def test_the_time_to_live_of_now_counts(
    pipeline: Pipeline, now: dict[str, str]
) -> None:
    """What was lengthened or taken away since kept the rows; the target expires none.

    The catalog still has the time to live before the last alteration.
    """
    source = pipeline.source
    books = source.create("books", A, properties={TTL: str(LIFE)}, altered=1 << 50)
    source.properties[books.id] = now
    source.insert(books, [1])
    source.now += to_hybrid_ts(2 * LIFE)
    source.insert(books, [2])
    source.tick()
    pipeline.start().settle()
    assert pipeline.target.rows("books") == {1: 1, 2: 1}
    assert TTL not in pipeline.target.properties("books")


def test_a_time_to_live_that_was_given_later_counts(pipeline: Pipeline) -> None:
    """The catalog does not show it, but that something was altered."""
    source = pipeline.source
    books = source.create("books", A, altered=1 << 50)
    source.properties[books.id] = {TTL: str(LIFE)}
    source.insert(books, [1])
    source.now += to_hybrid_ts(2 * LIFE)
    source.insert(books, [2])
    source.tick()
    pipeline.start().settle()
    assert pipeline.target.rows("books") == {2: 1}


def test_nothing_is_left_out_while_the_source_does_not_answer(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row too many is expired again; one too few would be lost."""
    monkeypatch.setattr(expiry, "LOOK_SECONDS", 0.0)
    source = pipeline.source
    books = source.create("books", A, properties={TTL: str(LIFE)})
    source.insert(books, [1])
    source.now += to_hybrid_ts(2 * LIFE)
    source.api_is_away = True
    source.tick()
    pipeline.start().settle()
    assert pipeline.target.rows("books") == {1: 1}
    source.api_is_away = False
    source.insert(books, [2])
    source.now += to_hybrid_ts(2 * LIFE)
    source.tick()
    pipeline.settle()
    assert pipeline.target.rows("books") == {1: 1}


@pytest.mark.parametrize("text", ["", "0", "-1", "soon"])
def test_no_time_to_live(pipeline: Pipeline, text: str) -> None:
    """What Milvus takes for none, or cannot read, expires nothing."""
    source = pipeline.source
    books = source.create("books", A, properties={TTL: text})
    source.insert(books, [1])
    source.now += to_hybrid_ts(2 * LIFE)
    source.tick()
    pipeline.start().settle()
    assert pipeline.target.rows("books") == {1: 1}
