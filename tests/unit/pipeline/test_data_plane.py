"""The data plane from log and catalog to the target, by real actors, in memory."""

from __future__ import annotations

from tests.fakes.pipeline import Pipeline


def test_rows_arrive() -> None:
    """A collection with two shards comes into being with its rows."""
    with Pipeline() as pipeline:
        source, target = pipeline.source, pipeline.target
        pipeline.start()
        books = source.create("books")
        source.insert(books, [1, 2], books.channels[0])
        source.insert(books, [3], books.channels[1])
        source.delete(books, [2], books.channels[0])
        source.catalog.tell()
        source.tick()
        pipeline.settle()
        assert target.rows("books") == {1: 1, 3: 1}
