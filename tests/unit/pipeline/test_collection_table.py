"""The states of collections, and how long what is gone is remembered."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from cdc_actors.errors import CollectionError
from cdc_actors.pipeline.collection_table import FORGET_AFTER, CollectionTable, Status
from cdc_actors.pipeline.messages import (
    RecordCollectionSetAside,
    RecordOperationApplied,
)
from cdc_actors.tasks import CollectionState
from tests.fakes.pipeline import Pipeline
from tests.support.tasks import entry

if TYPE_CHECKING:
    from cdc_actors.pipeline.read_loop import ReadLoop


class FakeChannels(dict):
    """Ticks by channel; the requests' channel has none."""

    tick = dict.__getitem__


@pytest.fixture
def channels() -> FakeChannels:
    """Return two channels of rows that have come to the same tick, and the requests'."""
    return FakeChannels(a=1, b=1, requests=0)


@pytest.fixture
def records() -> list[object]:
    """Return the list of what is written down."""
    return []


@pytest.fixture
def table(channels: FakeChannels, records: list[object]) -> CollectionTable:
    """Return an empty table."""
    context = SimpleNamespace(
        record=records.append,
        record_set_aside=lambda *said: records.append(
            RecordCollectionSetAside(1, *said)
        ),
        source_time=lambda: 7,
    )
    floors = SimpleNamespace(applied=lambda _id, _channel: 0)
    return CollectionTable(context, channels, floors)


def catalog_entry(*, dropping: bool = False) -> SimpleNamespace:
    """Return what the catalog has of a collection."""
    return SimpleNamespace(dropping=dropping, altered=5)


def test_what_is_gone_is_forgotten_when_every_channel_is_past_it(
    table: CollectionTable, channels: FakeChannels
) -> None:
    """Its last messages may still come on a channel that is behind."""
    table.end(1)
    channels["a"] = FORGET_AFTER + 2
    assert table.forget_gone() == []
    assert table.status(1) is Status.GONE
    channels["b"] = FORGET_AFTER + 2
    assert table.forget_gone() == [1]
    assert table.status(1) is None


def test_a_collection_that_is_dropped_is_no_longer_replicated(
    table: CollectionTable,
) -> None:
    """Live, it is gone through; dropped, it is ignored."""
    collection = table.add(entry(445), set(), exists=True)
    assert list(table) == [table.get(445)] == [collection]
    assert not table.is_ignored(445)
    table.suspend(445)
    assert table.status(445) is Status.SUSPENDED
    table.end(445)
    assert list(table) == []
    assert table.is_ignored(445)


def test_an_excluded_collection_is_shown_until_it_is_dropped(
    table: CollectionTable, records: list[object]
) -> None:
    """Its end is written down once, whatever the catalog says afterwards."""
    table.exclude(entry(445), CollectionError("no"))
    assert table.settle(445, catalog_entry())
    assert [type(each) for each in records] == [RecordCollectionSetAside]
    assert table.settle(445, catalog_entry(dropping=True))
    assert table.settle(445, None)
    _, drop = records
    assert isinstance(drop, RecordOperationApplied)
    assert (drop.operation.collection_id, drop.operation.timestamp) == (445, 5)


def test_a_skipped_collection_is_looked_at_until_it_is_dropped(
    table: CollectionTable, records: list[object]
) -> None:
    """It may be renamed into the selection; nothing is written down of its end."""
    table.skip(445)
    assert not table.settle(445, catalog_entry())
    assert table.settle(445, None)
    assert table.status(445) is Status.GONE
    assert records == []


def test_what_earlier_runs_left(table: CollectionTable) -> None:
    """One that was dropped is gone; one that never had a schema is excluded."""
    table.restore_ignored(entry(1, state=CollectionState.DROPPED))
    table.restore_ignored(entry(2, state=CollectionState.SET_ASIDE, schema=b""))
    table.settle_all({2: catalog_entry()})
    assert [table.status(each) for each in (1, 2)] == [Status.GONE, Status.EXCLUDED]


def test_nothing_is_kept_of_many_collections_that_came_and_went() -> None:
    """A run that goes on for months holds what there is, not what there was."""
    with Pipeline() as pipeline:
        source = pipeline.source
        pipeline.start()
        last = source.create("last")
        for number in range(20):
            one = source.create(f"one{number}")
            source.catalog.tell()
            source.insert(one, [number])
            source.point("alias", one)
            source.catalog.tell()
            source.tick()
            pipeline.settle()
            source.drop(one)
            source.point("alias", None)
            source.catalog.tell()
            source.tick()
            pipeline.settle()
            source.now += FORGET_AFTER
        source.insert(last, [1])
        source.tick()
        pipeline.settle()
        loop: ReadLoop = pipeline.run._reader._actor_weakref()._loop
        metadata, kept = loop._metadata, {last.id}
        pipeline.wait_until(lambda: set(loop.router.collections._rows) == kept)
        assert set(metadata._name_history._names) == kept
        assert set(metadata._collection_changes._partitions) == kept
        assert set(metadata._collection_changes._since) == set()
        assert set(metadata._indexes_and_loads._collections) <= kept
        assert pipeline.target.rows("last") == {1: 1}
