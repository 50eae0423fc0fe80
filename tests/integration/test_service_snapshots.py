"""Collections that are older than the log: their rows come from the source's files."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import closing
from itertools import count as count_from
from typing import TYPE_CHECKING

import nats
import pytest
from pymilvus import MilvusClient
from pymilvus.grpc_gen import msg_pb2

from cdc_actors.changes import channel_of
from cdc_actors.config import Etcd, Natsmq, SourceConfig
from cdc_actors.embedded.milvus import EmbeddedMilvus
from cdc_actors.source.catalog.client import EtcdCatalog
from cdc_actors.source.storage.listing import listing, prefixes
from cdc_actors.source.wal import open_reader
from cdc_actors.source.wal.natsmq.positions import sequence_of
from tests.support.books import Books, keys, wait_equal, wait_keys
from tests.support.cdc import Cdc, wait_until
from tests.support.imports import bulk_import
from tests.support.proxy import TcpProxy
from tests.support.readers import Readers
from tests.support.s3_server import s3_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NUMBERS = count_from(10_000)
"""Keys of rows that are written while the service is away."""

KEY = {"accessKeyID": "minioadmin", "secretAccessKey": "minioadmin"}


@pytest.fixture
def cdc(source: EmbeddedMilvus, tmp_path: Path) -> Iterator[Cdc]:
    """Yield a service that may read the source's files."""
    storage = f"  storage: {{type: local, path: {source.folder / 'data'}}}\n"
    with Cdc(tmp_path, source, settings=storage) as service:
        yield service


def forget(
    source: EmbeddedMilvus,
    client: MilvusClient,
    name: str,
    before: dict[str, int] | None = None,
) -> None:
    """Have the log forget what is in files of a collection, as retention does.

    All of it, or what came before records of these numbers, by channel.
    """
    client.flush(name)
    catalog = EtcdCatalog(Etcd(address=(source.etcd_address,)))
    meta = catalog.find("default", name)
    assert meta is not None
    rows = client.query(name, output_fields=["count(*)"])[0]["count(*)"]

    def found():
        return listing(meta, catalog.read_below(prefixes(meta)))

    wait_until(lambda: sum(s.rows for s in found().segments) >= rows, "all is in files")
    ends = before or {
        channel_of(shard): int.from_bytes(at.message_id, "little")
        for shard, at in found().checkpoints.items()
    }
    catalog.close()

    async def purge() -> None:
        async with await nats.connect(source.nats_address) as connection:
            for channel, end in ends.items():
                await connection.jetstream().purge_stream(channel, seq=end)

    asyncio.run(purge())


def positions(source: EmbeddedMilvus, client: MilvusClient) -> dict[str, str]:
    """Flush ``books``; return where its shards' files end, as milvus-backup does."""
    client.flush("books")
    with closing(EtcdCatalog(Etcd(address=(source.etcd_address,)))) as catalog:
        meta = catalog.find("default", "books")
        assert meta is not None
        ends = listing(meta, catalog.read_below(prefixes(meta))).checkpoints
    found = {}
    for shard, end in ends.items():
        message = msg_pb2.MsgPosition(
            channel_name=shard, msgID=end.message_id, timestamp=end.timestamp
        )
        found[shard] = base64.b64encode(message.SerializeToString()).decode()
    return found


def test_goes_on_from_the_positions_of_a_backup(
    source: EmbeddedMilvus, client: MilvusClient, cdc: Cdc, target_milvus, milvus
) -> None:
    """What a backup has restored stays, what came since comes, and nothing comes twice."""
    books = Books(client).create(shards=2)
    books.insert(range(100))
    books.delete(range(10))
    info = {"name": "books", "positions": positions(source, client)}
    books.insert(range(100, 110))
    # A backup may hold more than its positions say.
    Books(milvus).create(shards=2).insert(range(10, 110))
    books.insert(range(110, 120))
    books.upsert(range(50, 60))
    books.delete(range(10, 20))
    task = cdc.create(target_milvus.uri, collection_infos=[info])
    books.insert(range(120, 130))
    wait_keys(milvus, range(20, 130))
    wait_equal(source, target_milvus)
    assert count(milvus) == 110
    assert states(cdc, task) == {"books": "live"}
    cdc.ask("delete", task_id=task)
    forget(source, client, "books", end_of(source, "books"))
    connect = {"uri": target_milvus.uri}
    lost = {"milvus_connect_param": connect, "collection_infos": [info]}
    status, answer = cdc.request("create", **lost)
    assert (status, "no longer holds the positions" in answer["message"]) == (409, True)


def count(client: MilvusClient, name: str = "books") -> int:
    """Return how many rows a collection has; a query hides copies of one key."""
    [found] = client.query(name, output_fields=["count(*)"], consistency_level="Strong")
    return found["count(*)"]


def end_of(source: EmbeddedMilvus, name: str) -> dict[str, int]:
    """Return the number of the newest record of each channel of a collection."""
    catalog = EtcdCatalog(Etcd(address=(source.etcd_address,)))
    meta = catalog.find("default", name)
    catalog.close()
    assert meta is not None
    with open_reader(SourceConfig(natsmq=Natsmq(address=source.nats_address))) as log:
        newest = [log.newest(channel) for channel in meta.channels]
    return {each.channel: sequence_of(each) for each in newest if each}


def states(cdc: Cdc, task: str) -> dict[str, str]:
    """Return the state of each collection."""
    return {each["name"]: each["state"] for each in cdc.get(task)["collections"]}


def test_rows_that_the_log_does_not_hold(
    source: EmbeddedMilvus,
    client: MilvusClient,
    cdc: Cdc,
    target,
    emptied,
) -> None:
    """A collection older than the log arrives whole, and then follows the log."""
    books = Books(client).create()
    books.insert(range(100))
    books.delete(range(10))
    forget(source, client, "books")
    books.insert(range(100, 120))
    books.delete(range(10, 20))
    there = emptied(target)
    task = cdc.create(target.uri)
    wait_until(lambda: there.has_collection("books"), "it is there")
    wait_keys(there, range(20, 120))
    wait_equal(source, target)
    books.insert(range(120, 130))
    wait_keys(there, range(20, 130))
    assert states(cdc, task) == {"books": "live"}


def test_rows_and_deletes_that_the_log_has_as_well(
    source: EmbeddedMilvus, client: MilvusClient, cdc: Cdc, target_milvus, milvus
) -> None:
    """What stands in files and in the log comes once; a delete counts wherever it is.

    A key that the source has twice is there twice.
    """
    books = Books(client).create()
    books.insert(range(50))
    wait_until(lambda: len(keys(client)) == 50, "the rows are there")
    before = end_of(source, "books")
    books.insert(range(50, 100))
    books.insert(range(90, 95))
    books.delete(range(10))
    forget(source, client, "books", before)
    books.upsert(range(20, 30))
    task = cdc.create(target_milvus.uri)
    wait_until(lambda: milvus.has_collection("books"), "it is there")
    wait_until(lambda: count(milvus) == 95, "every row is there")
    wait_equal(source, target_milvus)
    events = cdc.ask("history", task_id=task)["events"]
    assert [e["event"] for e in events].count("snapshot_completed") == 1


def minio_source(folder: Path, host: str, port: int) -> EmbeddedMilvus:
    """Return a source that keeps its files in a bucket."""
    minio = {"address": host, "port": port, "useSSL": False} | KEY
    wanted = {
        "common": {"storageType": "minio"},
        "minio": minio | {"bucketName": "rows", "rootPath": "files"},
    }
    return EmbeddedMilvus(folder, mq="rocksmq", wanted=wanted)


def bucket(address: str) -> str:
    """Return the settings of a service that may read that bucket."""
    where = {"type": "s3", "address": address, "region": "us-east-1"} | KEY
    storage = json.dumps(where | {"bucketName": "rows", "rootPath": "files"})
    return f"  storage: {storage}\n"


def test_files_in_an_object_store(tmp_path: Path, target_lite, lite) -> None:
    """Files come from a bucket, on request where the log has all, once it can be reached.

    While it is away that is said, and a log is followed; a slow one is waited for.
    """
    with (
        s3_server() as (host, port),
        TcpProxy(port) as way,
        minio_source(tmp_path / "source", host, port) as source,
        Cdc(tmp_path, source, settings=bucket(f"{host}:{way.port}")) as cdc,
        closing(MilvusClient(source.uri, timeout=60, dedicated=True)) as client,
    ):
        books = Books(client).create()
        books.insert(range(200))
        books.delete(range(20))
        client.flush("books")
        books.insert(range(200, 210))
        way.cut()
        task = cdc.create(
            target_lite.uri, snapshot="always", collection_infos=[{"name": "*"}]
        )
        wait_until(lambda: states(cdc, task) == {"books": "set_aside"}, "it is said")
        [reason] = [each["reason"] for each in cdc.get(task)["collections"]]
        assert "the source's storage (sourceConfig.storage) does not give" in reason
        Books(client, "newer").create().insert(range(5))
        wait_keys(lite, range(5), "newer")
        way.heal()
        way.delay(0.05)
        cdc.ask("retry", task_id=task)
        wait_keys(lite, range(20, 210))
        wait_equal(source, target_lite)
        assert cdc.get(task)["snapshot"] == "always"
        events = cdc.ask("history", task_id=task)["events"]
        assert "snapshot_completed" in [each["event"] for each in events]
        whys = {e["why"] for e in events if e["event"] == "snapshot_started"}
        assert whys == {"the task was created with snapshot: always"}


def test_killed_while_files_are_read(
    source: EmbeddedMilvus, client: MilvusClient, cdc: Cdc, target_milvus, milvus
) -> None:
    """Killed in the middle of the files, the service brings each row once all the same."""
    books = Books(client).create(shards=2)
    client.create_partition("books", "old")
    books.insert(range(3000), partition="old")
    books.insert(range(3000, 6000))
    forget(source, client, "books")
    books.delete(range(100))
    books.upsert(range(3000, 3100))
    task = cdc.create(target_milvus.uri)
    for _ in range(3):
        wait_until(lambda: states(cdc, task) != {}, "it is known")
        cdc.kill()
        books.insert([next(NUMBERS)])
        cdc.start()
    expected = {*range(100, 6000), *range(10_000, 10_003)}
    wait_keys(milvus, expected)
    wait_equal(source, target_milvus)
    assert count(milvus) == len(expected)
    events = cdc.ask("history", task_id=task, limit=1000)["events"]
    told = [each["event"] for each in events]
    assert told.count("snapshot_started") == 1
    assert told.count("snapshot_completed") == 1


def test_dropped_and_renamed_while_files_are_read(
    source: EmbeddedMilvus, client: MilvusClient, cdc: Cdc, target_milvus, milvus
) -> None:
    """A collection that is renamed, or dropped, meanwhile ends as it does at the source."""
    for name in ("renamed", "dropped"):
        Books(client, name).create().insert(range(5000))
        forget(source, client, name)
    task = cdc.create(target_milvus.uri)
    wait_until(lambda: len(states(cdc, task)) == 2, "both are known")
    client.rename_collection("renamed", "novels")
    client.drop_collection("dropped")
    wait_keys(milvus, range(5000), "novels")
    wait_until(lambda: milvus.list_collections() == ["novels"], "nothing else is there")
    wait_equal(source, target_milvus)
    assert cdc.get(task)["health"]["problems"]["reasons"] == []


def end_of_resync(cdc: Cdc, task: str, wanted: int) -> bool:
    """Tell whether so many snapshots are complete, and nothing is brought any more."""
    events = cdc.ask("history", task_id=task, limit=1000)["events"]
    done = [each for each in events if each["event"] == "snapshot_completed"]
    return len(done) == wanted and states(cdc, task) == {"books": "live"}


def test_resync_killed_in_the_middle(
    source: EmbeddedMilvus, client: MilvusClient, cdc: Cdc, target_milvus, milvus
) -> None:
    """Whatever the target has, in place and by a drop each row is there once in the end."""
    books = Books(client).create(shards=2)
    books.insert(range(3000))
    task = cdc.create(target_milvus.uri)
    wait_keys(milvus, range(3000))
    client.flush("books")
    for number, drop_target in enumerate((False, True), 1):
        there = Books(milvus)
        there.insert(range(2000, 2500))
        there.insert(range(5000, 5300))
        there.delete(range(500))
        name = {"collections": ["books"], "drop_target": drop_target}
        cdc.ask("resync", task_id=task, **name)
        assert cdc.request("resync", task_id=task, **name)[0] == 409
        cdc.kill()
        books.upsert(range(100))
        books.delete(range(100, 100 + 10 * number))
        cdc.start()
        wait_until(lambda n=number: end_of_resync(cdc, task, n), "it is brought")
        wait_keys(milvus, {*range(100), *range(100 + 10 * number, 3000)})
        wait_equal(source, target_milvus)
        assert count(milvus) == 3000 - 10 * number
    events = cdc.ask("history", task_id=task, limit=1000)["events"]
    asked = [each for each in events if each["event"] == "collections_resynced"]
    assert [each["content"]["drop_target"] for each in asked] == [False, True]
    assert {each["who"]["kind"] for each in asked} == {"client"}
    assert cdc.get(task)["health"]["problems"]["reasons"] == []


@pytest.mark.parametrize(
    "target",
    ["milvus", pytest.param("lite", marks=pytest.mark.thorough)],
    indirect=True,
)
def test_readers_of_a_shadow_that_takes_the_place(
    source: EmbeddedMilvus, client: MilvusClient, cdc: Cdc, target, emptied
) -> None:
    """Killed or not, readers have all of the old rows, then all of the right ones.

    For a moment there may be no answer: a proxy (2.3.5) also takes a while to find out who
    serves what an alias was moved to.
    """
    copy = emptied(target)
    books = Books(client).create(shards=2)
    books.insert(range(2000))
    client.create_alias("books", "read")
    task = cdc.create(target.uri)
    wait_until(lambda: copy.has_collection("read"), "the alias is there")
    wait_keys(copy, range(2000), "read")
    client.flush("books")
    there = Books(copy)
    there.insert(range(5000, 5300))
    there.delete(range(500))
    old, new = (
        frozenset([*range(500, 2000), *range(5000, 5300)]),
        frozenset(range(2000)),
    )
    wait_keys(copy, old)
    with Readers(target.uri, ("books", "read")) as readers:
        cdc.ask("resync", task_id=task, collections=["books"], method="shadow")
        assert cdc.request("resync", task_id=task, collections=["books"])[0] == 409
        cdc.kill()
        cdc.start()
        readers.wait_for(new)
    for name in ("books", "read"):
        answers = readers.answers(name)
        assert [len(each) for each in answers if each not in (old, new)] == []
        assert (answers[0], answers[-1]) == (old, new)
    wait_equal(source, target)
    assert count(copy) == 2000
    wait_until(lambda: copy.list_collections() == ["books"], "nothing else is left")
    events = cdc.ask("history", task_id=task, limit=1000)["events"]
    assert "shadows_requested" in [each["event"] for each in events]
    wait_until(lambda: states(cdc, task) == {"books": "live"}, "it is told")
    copy.close()


def test_resync_of_a_lost_position(
    source: EmbeddedMilvus, client: MilvusClient, cdc: Cdc, target_lite, lite
) -> None:
    """What the log lost while the task stood comes from files, and the task goes on."""
    books = Books(client).create()
    books.insert(range(100))
    task = cdc.create(target_lite.uri)
    wait_keys(lite, range(100))
    cdc.wait_caught_up(task)
    cdc.ask("pause", task_id=task)
    books.insert(range(100, 150))
    books.delete(range(20))
    forget(source, client, "books")
    cdc.ask("resume", task_id=task)
    wait_until(lambda: cdc.get(task)["state"] == "Paused", "the task pauses")
    status, answer = cdc.request("resume", task_id=task)
    assert (status, "`resync`" in answer["message"]) == (409, True)
    cdc.ask("resync", task_id=task, collections=["*.*"])
    wait_keys(lite, range(20, 150))
    books.insert(range(150, 160))
    wait_keys(lite, range(20, 160))
    wait_equal(source, target_lite)
    assert count(lite) == 140
    assert cdc.get(task)["state"] == "Running"


def test_bulk_import_arrives(
    source: EmbeddedMilvus, client: MilvusClient, cdc: Cdc, target_milvus, milvus
) -> None:
    """Its rows come by themselves, though it was done while the service was away."""
    books = Books(client).create()
    books.insert(range(10))
    task = cdc.create(target_milvus.uri)
    wait_keys(milvus, range(10))
    cdc.kill()
    bulk_import(source, client, "books", range(100, 110))
    books.upsert([100])
    books.delete([1, 101])
    cdc.start()
    expected = {0, *range(2, 10), 100, *range(102, 110)}

    def is_there() -> bool:
        """Milvus writes down how far files are once a minute, and with each flush."""
        client.flush("books")
        [found] = cdc.get(task)["collections"]
        return keys(milvus) == sorted(expected) and not found["resync_needed"]

    wait_until(is_there, "the rows are there", timeout=200)
    assert count(milvus) == len(expected)
    wait_equal(source, target_milvus)
    events = cdc.ask("history", task_id=task, limit=1000)["events"]
    [asked] = [each for each in events if each["event"] == "collections_resynced"]
    assert asked["who"]["kind"] == "supervisor"
    assert asked["content"]["collections"][0]["imports"]
