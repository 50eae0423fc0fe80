"""What is asked of the target so that it is searchable as the source is."""

from __future__ import annotations

import pytest

from cdc_actors.changes import Request
from cdc_actors.pipeline.work import CatalogOperation, ForwardRequest
from cdc_actors.tasks import (
    CREATE_INDEX,
    LOAD_COLLECTION,
    LOAD_PARTITIONS,
    RELEASE_COLLECTION,
    RELEASE_PARTITIONS,
    Loaded,
    Operation,
)
from cdc_actors.tasks.details import LoadDetail
from tests.fakes.indexes_and_loads import ID, Harness, Source
from tests.support.tasks import entry

WITHOUT_REQUESTS, WITH_REQUESTS = (2, 3, 1), (2, 3, 2)
LOAD = {"replica_number": 1}
RELEASE_2 = {"partition_names": ["2"]}


@pytest.fixture
def source() -> Source:
    """A source with an index and two partitions, one of which was released."""
    source = Source()
    source.create_partition(2)
    source.create_index("vector", "FLAT")
    source.load()
    source.release({2})
    return source


def harness(source: Source, version: tuple[int, ...], **earlier: object) -> Harness:
    """Return the harness of a source of some version, and what earlier runs did."""
    source.shown_version = version
    return Harness(source, entry(ID, **earlier))


def asked(works: list[CatalogOperation | ForwardRequest]) -> list[tuple[str, object]]:
    """Return the kinds, and what the catalog's are asked with."""
    return [
        (work.kind, work.detail.request)
        if isinstance(work, CatalogOperation)
        else (work.request.kind, None)
        for work in works
    ]


def test_all_of_an_old_source(source: Source) -> None:
    """Everything is asked as the catalog has it, the index before the load."""
    index = {
        "field_name": "vector",
        "index_name": "vector",
        "extra_params": [{"key": "index_type", "value": "FLAT"}],
    }
    assert asked(harness(source, WITHOUT_REQUESTS).look()) == [
        (CREATE_INDEX, index),
        (LOAD_COLLECTION, LOAD),
        (RELEASE_PARTITIONS, RELEASE_2),
    ]


def test_what_an_earlier_run_did(source: Source) -> None:
    """What is so already is not asked again; what is gone since is released."""
    done = {"indexes": {1: "vector"}, "loaded": Loaded(True, frozenset({2}))}
    assert harness(source, WITHOUT_REQUESTS, **done).look() == []
    source.release()
    assert asked(harness(source, WITHOUT_REQUESTS, **done).look()) == [
        (RELEASE_COLLECTION, {})
    ]


def test_half_of_an_exchange_of_partitions() -> None:
    """Killed after the new one is loaded, the next run still releases the old one."""
    source = Source()
    source.create_partition(2)
    source.create_index("vector", "FLAT")
    source.load({2})
    one = harness(source, WITHOUT_REQUESTS, indexes={1: "vector"}, loaded=some(1))
    load, release = one.look()
    assert asked([load, release]) == [
        (LOAD_PARTITIONS, {**LOAD, "partition_names": ["2"]}),
        (RELEASE_PARTITIONS, {"partition_names": ["1"]}),
    ]
    half = {"indexes": {1: "vector"}, "loaded": done(load).loaded}
    assert asked(harness(source, WITHOUT_REQUESTS, **half).look()) == asked([release])
    all_of_it = {"indexes": {1: "vector"}, "loaded": done(release).loaded}
    assert harness(source, WITHOUT_REQUESTS, **all_of_it).look() == []


def test_the_one_released_partition_is_another(source: Source) -> None:
    """It is loaded before the other is released: a collection without any is released."""
    done = {"indexes": {1: "vector"}, "loaded": Loaded(True, frozenset({1}))}
    assert asked(harness(source, WITHOUT_REQUESTS, **done).look()) == [
        (LOAD_PARTITIONS, {**LOAD, "partition_names": ["1"]}),
        (RELEASE_PARTITIONS, RELEASE_2),
    ]


def test_what_was_under_way_is_done_first(source: Source) -> None:
    """Whatever became of it before the kill, it is so once it is done again."""
    source.release()
    begun = done(
        CatalogOperation(LOAD_COLLECTION, 5, LoadDetail(LOAD, Loaded(whole=True)))
    )
    indexes = {1: "vector"}
    asks = harness(
        source, WITHOUT_REQUESTS, indexes=indexes, pending_request=begun
    ).look()
    assert asked(asks) == [(LOAD_COLLECTION, LOAD), (RELEASE_COLLECTION, {})]


def test_what_was_under_way_when_a_client_asked_for_more() -> None:
    """A release that the catalog told of does not come after the load behind it."""
    source = Source()
    source.create_index("vector", "FLAT")
    source.load()
    begun = done(CatalogOperation(RELEASE_COLLECTION, 5, LoadDetail({}, None)))
    later = harness(source, WITH_REQUESTS, indexes={1: "vector"}, pending_request=begun)
    ask(later, LOAD_COLLECTION, 50)
    assert asked(later.look()) == [(LOAD_COLLECTION, None)]


def some(*partitions: int) -> Loaded:
    """Return that some partitions are loaded."""
    return Loaded(whole=False, partitions=frozenset(partitions))


def done(work: CatalogOperation) -> Operation:
    """Return what is written down of an operation."""
    where = {"database": "default", "name": "c", "collection_id": ID}
    return Operation(kind=work.kind, timestamp=1, detail=work.detail.to_json(), **where)


def test_partitions_after_what_a_client_asked(source: Source) -> None:
    """Where the log has requests, only what they do not tell of is asked beside them."""
    newer = harness(source, WITH_REQUESTS)
    assert newer.look() == []
    ask(newer, LOAD_COLLECTION, 50)
    assert asked(newer.issued) == [
        (LOAD_COLLECTION, None),
        (RELEASE_PARTITIONS, RELEASE_2),
    ]
    load, release = newer.issued
    assert release.timestamp >= load.request.timestamp


def test_a_request_that_comes_after_what_it_did(source: Source) -> None:
    """The catalog shows a release before the log does, and a load comes behind it."""
    newer = harness(source, WITH_REQUESTS)
    ask(newer, LOAD_COLLECTION, 50)
    assert asked(newer.look())[-1] == (RELEASE_PARTITIONS, RELEASE_2)
    newer.issued.clear()
    source.release()
    assert asked(newer.look()) == [(RELEASE_COLLECTION, {})]
    ask(newer, RELEASE_COLLECTION, 60)
    ask(newer, LOAD_COLLECTION, 61)
    assert asked(newer.issued) == [(RELEASE_COLLECTION, None), (LOAD_COLLECTION, None)]


def ask(harness: Harness, kind: str, timestamp: int) -> None:
    """Read in the log what a client asked."""
    request = Request(kind, timestamp, "default", ("c",), b"")
    harness.indexes_and_loads.defer(ForwardRequest(request, ()), ID)


def test_nothing_before_the_version_is_known(source: Source) -> None:
    """While the source does not run nobody knows what its log has, so nothing is asked."""
    assert harness(source, ()).look() == []


def test_nothing_before_the_requests_are_read(source: Source) -> None:
    """What clients asked before the task comes first."""
    early = harness(source, WITHOUT_REQUESTS)
    early.behind = True
    assert early.look() == []
    early.behind = False
    assert early.look() != []


def test_nothing_before_the_partitions_have_settled(source: Source) -> None:
    """A partition that was just created is loaded a moment later: that is awaited."""
    early = harness(source, WITHOUT_REQUESTS)
    early.tick = 2
    assert early.look() == []
    early.tick = 1 << 60
    assert early.look() != []


def test_a_load_of_some_fields() -> None:
    """What the catalog alone shows is loaded with those; all are asked for as ever."""
    source = Source()
    source.create_index("vector", "FLAT")
    source.load({1})
    for fields, named in ({100, 101}, ["id", "vector"]), ({100, 101, 102, 1}, None):
        source.fields = frozenset(fields)
        [(kind, request)] = asked(harness(source, WITH_REQUESTS).look())
        assert kind == LOAD_PARTITIONS
        assert request.get("load_fields") == named


def test_what_clients_ask_of_a_collection_from_files() -> None:
    """Before the catalog is read, that tells it; then it comes behind what that told."""
    source = Source()
    source.create_index("vector", "FLAT")
    files = harness(source, WITH_REQUESTS, snapshot=1)
    assert files.indexes_and_loads.will_show(ID)
    files.look()
    assert not files.indexes_and_loads.will_show(ID)
    ask(files, LOAD_COLLECTION, 50)
    assert [kind for kind, _ in asked(files.issued)] == [CREATE_INDEX, LOAD_COLLECTION]
    assert files.times == sorted(files.times)
