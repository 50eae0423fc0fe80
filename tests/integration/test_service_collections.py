"""Collections as they come, change and go at the source, and what becomes of the target."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import nats
import pytest
from pymilvus import DataType, MilvusClient
from pymilvus.client.types import LoadState

from cdc_actors.config import Etcd
from cdc_actors.source.catalog.client import EtcdCatalog
from tests.support.books import Books, keys, wait_equal, wait_keys
from tests.support.cdc import Cdc, wait_until

if TYPE_CHECKING:
    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus


def set_aside(cdc: Cdc, task: str) -> dict[str, str]:
    """Return the reason for each collection that was set aside."""
    found = [c for c in cdc.get(task)["collections"] if c["state"] == "set_aside"]
    return {each["name"]: each["reason"] for each in found}


def wait_set_aside(cdc: Cdc, task: str, name: str) -> str:
    """Wait until a collection is set aside; return why it was."""
    wait_until(lambda: name in set_aside(cdc, task), f"{name} is set aside")
    return set_aside(cdc, task)[name]


def channels_of(source: EmbeddedMilvus, name: str) -> set[str]:
    """Return the physical channels of a collection."""
    catalog = EtcdCatalog(Etcd(address=(source.etcd_address,)))
    try:
        found = catalog.find("default", name)
    finally:
        catalog.close()
    assert found is not None
    return set(found.start_positions)


def purge(source: EmbeddedMilvus, channel: str) -> None:
    """Remove all that the log holds of a channel, as retention does after a while."""

    async def run() -> None:
        async with await nats.connect(source.nats_address) as client:
            await client.jetstream().purge_stream(channel)

    asyncio.run(run())


def test_log_without_a_beginning(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    cdc: Cdc,
) -> None:
    """A collection whose first rows the log no longer holds is set aside, no other is."""
    lost = Books(client, "lost").create()
    lost.insert(range(5))
    kept = Books(client).create()
    kept.insert(range(5))
    for channel in channels_of(source, "lost") - channels_of(source, "books"):
        purge(source, channel)
    task = cdc.create(target_lite.uri)
    wait_keys(lite, range(5))
    reason = wait_set_aside(cdc, task, "lost")
    assert "no longer holds the beginning of default.lost" in reason
    assert not lite.has_collection("lost")
    kept.insert(range(5, 10))
    wait_keys(lite, range(10))
    assert cdc.get(task)["state"] == "Running"


def test_collection_that_the_target_cannot_hold(
    target_lite: EmbeddedLite, client: MilvusClient, lite: MilvusClient, cdc: Cdc
) -> None:
    """Binary vectors and Milvus Lite do not go together; the other collection arrives."""
    task = cdc.create(target_lite.uri)
    Books(client, "binary").create(index=False, vector=DataType.BINARY_VECTOR)
    Books(client).create().insert(range(5))
    wait_keys(lite, range(5))
    assert wait_set_aside(cdc, task, "binary")
    assert cdc.get(task)["state"] == "Running"


def test_collection_of_another_schema_at_the_target(
    target_lite: EmbeddedLite, client: MilvusClient, lite: MilvusClient, cdc: Cdc
) -> None:
    """What the target has under the name is left as it is; the reason names each field."""
    Books(lite, "other").create(publisher=30)
    books = Books(client, "other").create(publisher=31, isbn=13)
    books.insert(range(5), publisher="p", isbn="i")
    Books(client).create().insert(range(5))
    task = cdc.create(target_lite.uri)
    reason = wait_set_aside(cdc, task, "other")
    assert "field publisher: source VarChar max_length=31" in reason
    assert "target VarChar max_length=30" in reason
    assert "field isbn: source VarChar max_length=13, target has none" in reason
    wait_keys(lite, range(5))
    assert keys(lite, "other") == []


def test_name_of_a_collection_that_was_set_aside(
    target_lite: EmbeddedLite, client: MilvusClient, lite: MilvusClient, cdc: Cdc
) -> None:
    """Dropped at the source, it makes room for one that the target can hold."""
    task = cdc.create(target_lite.uri)
    Books(client).create(index=False, vector=DataType.BINARY_VECTOR)
    wait_set_aside(cdc, task, "books")
    client.drop_collection("books")
    Books(client).create().insert(range(5))
    wait_keys(lite, range(5))
    assert set_aside(cdc, task) == {}


def test_collection_of_the_same_schema_at_the_target(
    source: EmbeddedMilvus,
    target_milvus: EmbeddedMilvus,
    client: MilvusClient,
    milvus: MilvusClient,
    cdc: Cdc,
) -> None:
    """A collection that is there with some of the rows is completed, no key twice."""
    Books(milvus).create().insert(range(3))
    Books(client).create().insert(range(6))
    cdc.create(target_milvus.uri)
    wait_keys(milvus, range(6))
    cdc.kill()
    cdc.start()
    Books(client).insert(range(6, 9))
    wait_keys(milvus, range(9))


@pytest.mark.parametrize(
    "target", ["milvus", pytest.param("lite", marks=pytest.mark.thorough)]
)
def test_what_was_there_before_the_task(
    target: str,
    source: EmbeddedMilvus,
    client: MilvusClient,
    emptied,
    cdc: Cdc,
    request: pytest.FixtureRequest,
) -> None:
    """Rows, deletes, partitions, index and load state of earlier days all arrive."""
    server = request.getfixturevalue(f"target_{target}")
    other = emptied(server)
    books = Books(client).create()
    client.create_partition("books", "fiction")
    books.insert(range(20))
    books.insert(range(20, 30), partition="fiction")
    books.delete(range(5))
    books.upsert(range(5, 8))
    Books(client, "unloaded").create(index=False).index()
    cdc.create(server.uri)
    wait_keys(other, range(5, 30))
    wait_until(
        lambda: other.get_load_state("books")["state"] == LoadState.Loaded,
        "what is loaded at the source is loaded at the target",
    )
    wait_equal(source, server)
    # The comparison loaded it for a while, at the source too, and the task did the same.
    wait_until(
        lambda: other.get_load_state("unloaded")["state"] != LoadState.Loaded,
        "what is not loaded at the source is not loaded at the target",
    )
    assert other.list_indexes("unloaded") == ["vector"]
    other.close()


@pytest.mark.parametrize(
    "target", ["milvus", pytest.param("lite", marks=pytest.mark.thorough)]
)
def test_delete_that_names_a_partition(
    target: str,
    source: EmbeddedMilvus,
    client: MilvusClient,
    emptied,
    cdc: Cdc,
    request: pytest.FixtureRequest,
) -> None:
    """Rows of those keys in other partitions stay, be the collection loaded or not."""
    server = request.getfixturevalue(f"target_{target}")
    emptied(server).close()
    for books in Books(client).create(), Books(client, "unloaded").create(index=False):
        books.index()
        client.create_partition(books.name, "fiction")
        books.insert(range(5))
        books.insert(range(5, 10), partition="fiction")
        client.delete(books.name, filter="id in [1, 2, 6]", partition_name="fiction")
        client.delete(books.name, filter="id in [3, 7]", partition_name="_default")
    cdc.create(server.uri)
    wait_equal(source, server)


@pytest.mark.parametrize(
    "target", ["milvus", pytest.param("lite", marks=pytest.mark.thorough)]
)
def test_what_happens_to_a_collection_while_the_task_runs(
    target: str,
    source: EmbeddedMilvus,
    client: MilvusClient,
    emptied,
    cdc: Cdc,
    request: pytest.FixtureRequest,
) -> None:
    """Created, filled, changed, made smaller by a partition, dropped: always as there."""
    server = request.getfixturevalue(f"target_{target}")
    other = emptied(server)
    cdc.create(server.uri)
    books = Books(client).create()
    client.create_partition("books", "fiction")
    books.insert(range(10))
    books.insert(range(10, 20), partition="fiction")
    books.upsert(range(3))
    books.delete([4])
    wait_equal(source, server)
    client.release_partitions("books", ["fiction"])
    client.drop_partition("books", "fiction")
    wait_equal(source, server)
    client.drop_collection("books")
    wait_until(lambda: not other.has_collection("books"), "it is dropped")
    other.close()


@pytest.mark.parametrize(
    "target", ["milvus", pytest.param("lite", marks=pytest.mark.thorough)]
)
def test_partition_that_comes_and_goes_while_the_service_is_down(
    target: str,
    client: MilvusClient,
    emptied,
    cdc: Cdc,
    request: pytest.FixtureRequest,
) -> None:
    """Its drop, of which alone the log tells, finds nothing at the target to drop."""
    server = request.getfixturevalue(f"target_{target}")
    other = emptied(server)
    books = Books(client).create(index=False)
    books.index()
    task = cdc.create(server.uri)
    books.insert(range(5))
    wait_until(lambda: cdc.get(task)["rows_applied"] == 5, "the rows are there")
    cdc.kill()
    client.create_partition("books", "brief")
    client.drop_partition("books", "brief")
    books.insert(range(5, 10))
    cdc.start()
    client.load_collection("books")
    wait_keys(other, range(10))
    assert set_aside(cdc, task) == {}
    other.close()


@pytest.mark.parametrize(
    ("down", "target"),
    [
        pytest.param("", "lite", id="up-lite"),
        pytest.param("down", "milvus", id="down-milvus"),
        pytest.param("", "milvus", id="up-milvus", marks=pytest.mark.thorough),
        pytest.param("down", "lite", id="down-lite", marks=pytest.mark.thorough),
    ],
)
def test_drop_and_create_again_with_another_schema(
    target: str,
    down: str,
    source: EmbeddedMilvus,
    client: MilvusClient,
    emptied,
    cdc: Cdc,
    request: pytest.FixtureRequest,
) -> None:
    """A new collection under an old name takes its place, also after a time of absence."""
    server = request.getfixturevalue(f"target_{target}")
    other = emptied(server)
    books = Books(client).create()
    books.insert(range(10))
    task = cdc.create(server.uri)
    wait_keys(other, range(10))
    if down:
        cdc.kill()
    for generation in range(2):
        client.drop_collection("books")
        books.create(**{f"isbn{generation}": 20})
        books.insert(range(generation, 5), **{f"isbn{generation}": "an isbn"})
    if down:
        cdc.start()
    wait_keys(other, range(1, 5))
    wait_equal(source, server)
    assert set_aside(cdc, task) == {}
    other.close()


@pytest.mark.parametrize(
    "target", ["milvus", pytest.param("lite", marks=pytest.mark.thorough)]
)
def test_databases(
    target: str,
    source: EmbeddedMilvus,
    emptied,
    cdc: Cdc,
    request: pytest.FixtureRequest,
) -> None:
    """With every database selected, they come with their collections, and go."""
    server = request.getfixturevalue(f"target_{target}")
    client, other = emptied(source), emptied(server)
    client.create_database("early")
    early = MilvusClient(source.uri, db_name="early", dedicated=True)
    Books(early).create().insert(range(5))
    cdc.create(server.uri, db_collections={"*": [{"name": "*"}]})
    client.create_database("late")
    late = MilvusClient(source.uri, db_name="late", dedicated=True)
    Books(late).create().insert(range(6))
    Books(client).create().insert(range(7))
    wait_equal(source, server)
    assert {"early", "late"} <= set(other.list_databases())
    late.drop_collection("books")
    client.drop_database("late")
    wait_until(lambda: "late" not in other.list_databases(), "the database is dropped")
    for each in (early, late, client, other):
        each.close()


def test_selection_leaves_out_the_rest(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    cdc: Cdc,
) -> None:
    """Only the collections that a task names are replicated, made before it or after."""
    Books(client, "early").create()
    Books(client, "early_not").create()
    task = cdc.create(
        target_lite.uri, collection_infos=[{"name": "early"}, {"name": "late"}]
    )
    Books(client, "late_not").create()
    Books(client, "late").create().insert(range(3))
    wait_keys(lite, range(3), "late")
    wait_until(lambda: lite.has_collection("early"), "the early one is there")
    assert sorted(lite.list_collections()) == ["early", "late"]
    assert {c["name"] for c in cdc.get(task)["collections"]} == {"early", "late"}


def test_operations_arrive_in_order(
    source: EmbeddedMilvus,
    target_milvus: EmbeddedMilvus,
    client: MilvusClient,
    milvus: MilvusClient,
    cdc: Cdc,
) -> None:
    """Index, load, release, drop of the index and another one: each is done in turn."""
    cdc.create(target_milvus.uri)
    books = Books(client).create()
    books.insert(range(10))
    wait_keys(milvus, range(10))
    assert index_of(milvus) == ("FLAT", "L2")
    client.release_collection("books")
    wait_until(lambda: loaded(milvus) == LoadState.NotLoad, "it is released")
    client.drop_index("books", "vector")
    wait_until(lambda: milvus.list_indexes("books") == [], "the index is dropped")
    indexes = MilvusClient.prepare_index_params()
    indexes.add_index(
        "vector",
        index_type="HNSW",
        metric_type="IP",
        params={"M": 8, "efConstruction": 32},
    )
    client.create_index("books", indexes, sync=False)
    client.load_collection("books")
    client.flush("books")
    books.insert(range(10, 20))
    wait_keys(milvus, range(20))
    assert index_of(milvus) == ("HNSW", "IP")
    wait_equal(source, target_milvus)


def index_of(client: MilvusClient) -> tuple[Any, Any]:
    """Return kind and metric of the index of the vectors."""
    found = client.describe_index("books", "vector")
    assert found is not None
    return found["index_type"], found["metric_type"]


def loaded(client: MilvusClient) -> LoadState:
    """Return whether the books are loaded."""
    return client.get_load_state("books")["state"]
