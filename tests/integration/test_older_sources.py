"""Sources older than 2.3.2: their log has no requests of clients, the catalog tells."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from pymilvus import DataType, MilvusClient
from pymilvus.client.types import LoadState

from cdc_actors.embedded.milvus import EmbeddedMilvus
from tests.support.books import TIMEOUT, Books, wait_keys
from tests.support.cdc import Cdc, wait_until
from tests.support.servers import empty
from tests.support.wheels import milvus_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cdc_actors.embedded.lite import EmbeddedLite

pytestmark = pytest.mark.thorough

NO_UPSERT = "2.2.16"


@pytest.fixture(
    params=[("2.2.16", "rocksmq"), ("2.3.0", "rocksmq"), ("2.3.0", "natsmq")],
    ids="-".join,
)
def older(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[str, EmbeddedMilvus]]:
    """Yield an older Milvus, which starts in seconds, and which version it is."""
    version, mq = request.param
    find = partial(milvus_of, version)
    with EmbeddedMilvus(tmp_path / "source", mq=mq, binaries=find) as server:
        yield version, server


@pytest.fixture
def old_client(older: tuple[str, EmbeddedMilvus]) -> Iterator[MilvusClient]:
    """Yield a client of the older source."""
    with closing(MilvusClient(older[1].uri, timeout=30, dedicated=True)) as client:
        yield client


@pytest.fixture
def other(target: EmbeddedMilvus | EmbeddedLite) -> Iterator[MilvusClient]:
    """Yield a client of an empty target."""
    with closing(empty(target)) as client:
        yield client


@pytest.fixture
def old_cdc(older: tuple[str, EmbeddedMilvus], tmp_path: Path) -> Iterator[Cdc]:
    """Yield a service of the test's own that reads the older source."""
    with Cdc(tmp_path / "cdc", older[1]) as service:
        yield service


def index(client: MilvusClient, kind: str, **params: int) -> None:
    """Create an index of the books' vectors."""
    wanted = client.prepare_index_params()
    wanted.add_index("vector", index_type=kind, metric_type="L2", params=params)
    client.create_index("books", wanted)


def drop_index(client: MilvusClient) -> None:
    """Drop the index of the books, which Milvus wants released."""
    client.release_collection("books")
    client.drop_index("books", client.list_indexes("books")[0])


def indexes(client: MilvusClient) -> list[str]:
    """Return the kinds of the books' indexes."""
    names = client.list_indexes("books")
    found = [client.describe_index("books", name) for name in names]
    return [each["index_type"] for each in found if each]


def rows(
    client: MilvusClient, name: str, every: str = "id >= 0"
) -> list[dict[str, Any]]:
    """Return all rows of a loaded collection, by key."""
    found = client.query(
        name,
        every,
        output_fields=["*"],
        consistency_level="Strong",
        timeout=TIMEOUT,
    )
    return sorted(found, key=lambda row: row["id"])


def check_rows(
    source: MilvusClient, target: MilvusClient, name: str, every: str = "id >= 0"
) -> None:
    """Check that both sides have the same rows, as far as the source shows them.

    Milvus 2.2 does not give vectors back.
    """
    ours, theirs = rows(source, name, every), rows(target, name, every)
    assert [{field: row[field] for field in ours[0]} for row in theirs] == ours
    assert all("vector" in row for row in theirs)


def is_loaded(client: MilvusClient, partition: str = "") -> bool:
    """Tell whether the books, or a partition of them, are loaded."""
    state = client.get_load_state("books", partition)["state"]
    return bool(state == LoadState.Loaded)


@pytest.mark.shows("2.2.16", "RocksMQ", "2.3.5", "Milvus Lite 3.2.2", by="real server")
@pytest.mark.shows("2.3.0", "RocksMQ", "2.3.5", "Milvus Lite 3.2.2", by="real server")
@pytest.mark.shows("2.3.0", "natsmq", "2.3.5", "Milvus Lite 3.2.2", by="real server")
def test_what_happens_before_and_after_the_task(
    older: tuple[str, EmbeddedMilvus],
    old_client: MilvusClient,
    target: EmbeddedMilvus | EmbeddedLite,
    other: MilvusClient,
    old_cdc: Cdc,
) -> None:
    """Rows, partitions, indexes, loads, aliases, names, and a collection made again."""
    version, _ = older
    books = Books(old_client).create(index=False)
    index(old_client, "IVF_FLAT", nlist=8)
    old_client.load_collection("books")
    books.insert(range(20))
    books.delete([3])
    old_client.create_partition("books", "fiction")
    books.insert(range(20, 25), "fiction")
    task = old_cdc.create(target.uri)
    wait_keys(other, [*range(3), *range(4, 25)])
    wait_until(lambda: indexes(other) == ["IVF_FLAT"], "the index is made")
    check_rows(old_client, other, "books")
    if version != NO_UPSERT:
        books.upsert(range(5, 8))
    books.delete([0, 21])
    old_client.create_alias("books", "al")
    old_client.rename_collection("books", "tomes")
    tomes = Books(old_client, "tomes")
    tomes.insert(range(30, 40))
    old_client.alter_collection_properties("tomes", {"collection.ttl.seconds": "9000"})
    now = [1, 2, *range(4, 21), *range(22, 25), *range(30, 40)]
    wait_keys(other, now, "tomes")
    wait_keys(other, now, "al")
    check_rows(old_client, other, "tomes")
    assert sorted(other.list_partitions("tomes")) == ["_default", "fiction"]
    old_cdc.kill()
    old_client.drop_alias("al")
    old_client.drop_collection("tomes")
    books.create(isbn=20)
    books.insert(range(7), isbn="an isbn")
    old_cdc.start()
    wait_keys(other, range(7))
    check_rows(old_client, other, "books")
    assert old_cdc.get(task)["operations_refused"]["count"] == 0
    assert [each["name"] for each in old_cdc.get(task)["collections"]] == ["books"]


@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
def test_indexes_and_loads(
    old_client: MilvusClient,
    target: EmbeddedMilvus | EmbeddedLite,
    other: MilvusClient,
    old_cdc: Cdc,
    *,
    down: bool,
) -> None:
    """Another index, loaded; none; an index and not loaded: each is found, up or down."""
    books = Books(old_client).create()
    books.insert(range(10))
    task = old_cdc.create(target.uri)
    wait_keys(other, range(10))
    if down:
        old_cdc.kill()
    drop_index(old_client)
    index(old_client, "HNSW", M=8, efConstruction=32)
    old_client.load_collection("books")
    if down:
        old_cdc.start()
    wait_until(lambda: indexes(other) == ["HNSW"], "the other index is made")
    wait_until(lambda: is_loaded(other), "it is loaded again")
    wait_keys(other, range(10))
    if down:
        old_cdc.kill()
    drop_index(old_client)
    if down:
        old_cdc.start()
    wait_until(lambda: indexes(other) == [], "the index is dropped")
    if down:
        old_cdc.kill()
    index(old_client, "IVF_FLAT", nlist=8)
    if down:
        old_cdc.start()
    wait_until(lambda: indexes(other) == ["IVF_FLAT"], "it has an index again")
    wait_until(lambda: not is_loaded(other), "the index does not load it")
    books.insert(range(10, 15))
    old_cdc.wait_caught_up(task)
    assert not is_loaded(other)
    assert old_cdc.get(task)["operations_refused"]["count"] == 0


@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
def test_databases_without_collections(
    old_client: MilvusClient,
    target: EmbeddedMilvus | EmbeddedLite,
    other: MilvusClient,
    old_cdc: Cdc,
    *,
    down: bool,
) -> None:
    """They come and go at the target, though the log never tells of them, up or down."""
    old_client.create_database("early")
    task = old_cdc.create(target.uri, db_collections={"*": [{"name": "*"}]})
    wait_until(lambda: "early" in other.list_databases(), "the first is created")
    if down:
        old_cdc.kill()
    old_client.create_database("late")
    old_client.drop_database("early")
    if down:
        old_cdc.start()
    wait_until(
        lambda: sorted(other.list_databases()) == ["default", "late"],
        "one is created and one is dropped",
    )
    assert old_cdc.get(task)["operations_refused"]["count"] == 0


@pytest.mark.parametrize("target", ["milvus"], indirect=True)
def test_loads_of_partitions(
    old_client: MilvusClient,
    target: EmbeddedMilvus,
    other: MilvusClient,
    old_cdc: Cdc,
) -> None:
    """A collection that only has a partition loaded is the same at the target."""
    books = Books(old_client).create(index=False)
    books.index()
    old_client.create_partition("books", "fiction")
    old_client.load_partitions("books", ["fiction"])
    books.insert(range(3), "fiction")
    old_cdc.create(target.uri)
    wait_until(
        lambda: (
            other.has_collection("books") and other.has_partition("books", "fiction")
        ),
        "the partition is there",
    )
    wait_until(lambda: is_loaded(other, "fiction"), "the partition is loaded")
    assert not is_loaded(other, "_default")
    old_cdc.kill()
    old_client.release_partitions("books", ["fiction"])
    old_cdc.start()
    wait_until(lambda: not is_loaded(other, "fiction"), "it is released")


KINDS = {
    DataType.BOOL: True,
    DataType.INT8: -128,
    DataType.INT16: -(2**15),
    DataType.INT32: 2**31 - 1,
    DataType.FLOAT: 0.1,
    DataType.DOUBLE: 0.1,
    DataType.JSON: {"a": [1, "é"]},
}
"""What a field of each kind may hold."""


def create_kinds(client: MilvusClient) -> None:
    """Create a collection with every kind of field, texts for keys, and a partition key."""
    schema = MilvusClient.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("shelf", DataType.INT64, is_partition_key=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=8)
    for kind in KINDS:
        schema.add_field(kind.name.lower(), kind)
    client.create_collection("kinds", schema=schema, num_shards=2, num_partitions=2)
    wanted = client.prepare_index_params()
    wanted.add_index("vector", index_type="FLAT", metric_type="L2")
    client.create_index("kinds", wanted, sync=False)
    client.load_collection("kinds")


def insert_kinds(client: MilvusClient, numbers: range) -> None:
    """Insert rows with a value of every kind, and one of no field."""
    values = {kind.name.lower(): value for kind, value in KINDS.items()}
    rows = [
        {"id": f"'{number}", "shelf": number, "vector": [number / 7] * 8, "more": "é"}
        for number in numbers
    ]
    client.insert("kinds", [row | values for row in rows])


def test_rows_from_files(
    older: tuple[str, EmbeddedMilvus],
    old_client: MilvusClient,
    target: EmbeddedMilvus | EmbeddedLite,
    other: MilvusClient,
    tmp_path: Path,
) -> None:
    """Rows come from an older source's files, and those that follow from its log."""
    _, source = older
    books = Books(old_client).create()
    books.insert(range(100))
    books.delete(range(10))
    create_kinds(old_client)
    insert_kinds(old_client, range(100))
    for name in ("books", "kinds"):
        old_client.flush(name)
    old_client.delete("kinds", filter="""id in ["'1", "'2"]""")
    insert_kinds(old_client, range(100, 110))
    books.insert(range(100, 110))
    books.delete(range(10, 20))
    files = f"  storage: {{type: local, path: {source.folder / 'data'}}}\n"
    with Cdc(tmp_path / "with-files", source, settings=files) as cdc:
        everything = [{"name": "*"}]
        task = cdc.create(target.uri, snapshot="always", collection_infos=everything)
        wait_keys(other, range(20, 110))
        books.insert(range(110, 120))
        wait_keys(other, range(20, 120))
        every = 'id >= ""'
        wait_until(
            lambda: (
                other.has_collection("kinds")
                and len(rows(other, "kinds", every)) == 108
            ),
            "all kinds are there",
        )
        check_rows(old_client, other, "kinds", every)
        events = cdc.ask("history", task_id=task)["events"]
        assert [each["event"] for each in events].count("snapshot_completed") == 2
