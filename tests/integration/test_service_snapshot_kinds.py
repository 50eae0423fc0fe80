"""Snapshots, and resyncs in place, of other keys, partitions and message queues."""

from __future__ import annotations

from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING
from urllib.error import HTTPError

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from pymilvus import DataType, MilvusClient

from cdc_actors.changes import Position, channel_of
from cdc_actors.cli.demo.older import written_until
from cdc_actors.embedded.kafka import Silent
from cdc_actors.embedded.milvus import EmbeddedMilvus
from cdc_actors.source.wal.pulsar.positions import id_of
from cdc_actors.source.wal.rocksmq.reader import RocksReader
from cdc_actors.target.rows import key_expression
from tests.support.books import Books, wait_equal, wait_keys
from tests.support.cdc import Cdc, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from cdc_actors.source.storage.listing import ShardCheckpoint
    from tests.support.pulsar import PulsarBroker

ANSWER = 90.0
SHELVES = ("a", "b")


class Pages:
    """A collection with keys of a kind, and partitions of a kind. Used by one thread."""

    def __init__(self, client: MilvusClient, kind: str, *, divided: bool) -> None:
        self.client = client
        self.name = f"{kind}_{'divided' if divided else 'shelved'}"
        self._is_text = kind == "text"
        self._divided = divided

    def create(self) -> None:
        """Create it, indexed and loaded."""
        schema = MilvusClient.create_schema()
        kind = DataType.VARCHAR if self._is_text else DataType.INT64
        length = {"max_length": 64} if self._is_text else {}
        schema.add_field("id", kind, is_primary=True, **length)
        schema.add_field("shelf", DataType.INT64, is_partition_key=self._divided)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=8)
        indexes = MilvusClient.prepare_index_params()
        indexes.add_index("vector", index_type="FLAT", metric_type="L2")
        self.client.create_collection(
            self.name, schema=schema, index_params=indexes, num_shards=2
        )
        for each in () if self._divided else SHELVES:
            self.client.create_partition(self.name, each)

    def key(self, number: int) -> int | str:
        """Return the key of a number; texts with what a filter would have to quote."""
        return f"page '{number}\" \\ é" if self._is_text else number

    def insert(self, numbers: Iterable[int], shelf: str = "", text: str = "") -> None:
        """Insert pages, into a partition unless Milvus divides them itself."""
        rows = [
            {
                "id": self.key(number),
                "shelf": number % 7 + len(text),
                "vector": [number % 97 / 7.0] * 8,
            }
            for number in numbers
        ]
        where = "" if self._divided else shelf
        self.client.insert(self.name, rows, partition_name=where or None)

    def delete(self, numbers: Iterable[int]) -> None:
        """Delete pages."""
        keys = [self.key(number) for number in numbers]
        self.client.delete(self.name, filter=key_expression("id", keys))

    def count(self) -> int:
        """Return how many there are; a query hides copies of one key."""
        [found] = self.client.query(
            self.name, output_fields=["count(*)"], consistency_level="Strong"
        )
        return int(found["count(*)"])


def settings(source: EmbeddedMilvus) -> str:
    """Return what lets a service read a source's files."""
    return f"  storage: {{type: local, path: {source.folder / 'data'}}}\n"


@pytest.fixture
def cdc(source: EmbeddedMilvus, tmp_path: Path) -> Iterator[Cdc]:
    """Yield a service that may read the source's files."""
    with Cdc(tmp_path, source, settings=settings(source)) as service:
        yield service


def brought(cdc: Cdc, task: str, wanted: int) -> Callable[[], bool]:
    """Return what tells whether so many snapshots are complete, and all is live."""

    def is_so() -> bool:
        events = cdc.ask("history", task_id=task, limit=1000)["events"]
        done = [each for each in events if each["event"] == "snapshot_completed"]
        shown = {each["state"] for each in cdc.get(task)["collections"]}
        return len(done) == wanted and shown == {"live"}

    return is_so


@pytest.mark.parametrize(
    "kind", ["text", pytest.param("number", marks=pytest.mark.thorough)]
)
def test_keys_and_partitions(
    source: EmbeddedMilvus,
    client: MilvusClient,
    cdc: Cdc,
    target_milvus: EmbeddedMilvus,
    milvus: MilvusClient,
    kind: str,
) -> None:
    """Files bring them, and a resync in place mends what the target has otherwise."""
    both = [Pages(client, kind, divided=divided) for divided in (False, True)]
    for pages in both:
        pages.create()
        pages.insert(range(200), "a")
        pages.insert(range(200, 400), "b")
        pages.insert(range(400, 450))
        client.flush(pages.name)
        pages.delete(range(190, 210))
    selected = [{"name": pages.name} for pages in both]
    task = cdc.create(target_milvus.uri, collection_infos=selected, snapshot="always")
    wait_until(brought(cdc, task, 2), "both are brought")
    wait_equal(source, target_milvus)
    for pages, divided in zip(both, (False, True), strict=True):
        there = Pages(milvus, kind, divided=divided)
        wait_until(lambda there=there: there.count() == 430, "each row is there once")
        assert pages.count() == 430
        there.delete(range(10))
        there.insert(range(195, 205), "a")
        there.insert(range(20, 30), "a", text="again")
        there.insert(range(300, 310), "a")
        there.insert(range(900, 950))
    cdc.ask("resync", task_id=task, collections=[pages.name for pages in both])
    both[0].insert(range(500, 510), "b")
    wait_until(brought(cdc, task, 4), "both are brought again")
    wait_equal(source, target_milvus)
    for pages, divided in zip(both, (False, True), strict=True):
        there, wanted = Pages(milvus, kind, divided=divided), pages.count()
        wait_until(
            lambda there=there, wanted=wanted: there.count() == wanted,
            "each row is there once",
        )


def cut_kafka(broker: str, ends: Mapping[str, ShardCheckpoint]) -> None:
    """Have a Kafka forget what stands before checkpoints."""
    admin = AdminClient({"bootstrap.servers": broker}, logger=Silent())
    for shard, end in ends.items():
        offset = int.from_bytes(end.message_id, "little")
        partition = TopicPartition(channel_of(shard), 0, offset)
        admin.delete_records([partition])[partition].result(ANSWER)


def cut_pulsar(broker: PulsarBroker, channel: str, end: ShardCheckpoint) -> None:
    """Have a Pulsar remove the ledgers before a checkpoint's; Milvus has read them."""
    topic = f"persistent/public/default/{channel}"
    ledger = id_of(Position(channel, end.message_id, "")).ledger_id()

    def is_cut() -> bool:
        with suppress(HTTPError):
            broker.admin("DELETE", f"{topic}/truncate")
        found = broker.admin("GET", f"{topic}/internalStats")["ledgers"]
        return bool(found[0]["ledgerId"] == ledger)

    wait_until(is_cut, "the ledgers are removed")


def follow_older(
    source: EmbeddedMilvus,
    folder: Path,
    target: EmbeddedMilvus,
    there: MilvusClient,
    cut: Callable[[Callable[[], None]], None],
) -> None:
    """Write rows, have the log ``cut`` once they are in files, and replicate them."""
    with (
        Cdc(folder, source, settings=settings(source)) as cdc,
        closing(MilvusClient(source.uri, timeout=60, dedicated=True)) as client,
    ):
        books = Books(client).create(shards=2)
        books.insert(range(200))
        books.delete(range(20))
        cut(partial(client.flush, "books"))
        books.insert(range(200, 210))
        books.delete(range(20, 30))
        task = cdc.create(target.uri, collection_infos=[{"name": "books"}])
        wait_keys(there, range(30, 210))
        wait_until(brought(cdc, task, 1), "it came from files")
        books.upsert(range(100, 110))
        books.insert(range(210, 220))
        wait_keys(there, range(30, 220))
        wait_equal(source, target)


@pytest.mark.thorough
def test_kafka_that_lost_the_beginning(
    source_kafka: EmbeddedMilvus,
    tmp_path: Path,
    target_milvus: EmbeddedMilvus,
    milvus: MilvusClient,
) -> None:
    """A collection older than a Kafka's log arrives, and then follows it."""

    def cut(flush: Callable[[], None]) -> None:
        address = source_kafka.queue["kafka"]["address"]
        cut_kafka(address, written_until(source_kafka, "books", flush))

    follow_older(source_kafka, tmp_path, target_milvus, milvus, cut)


@pytest.mark.thorough
def test_pulsar_that_lost_the_beginning(
    source_pulsar: EmbeddedMilvus,
    broker_pulsar: PulsarBroker,
    tmp_path: Path,
    target_milvus: EmbeddedMilvus,
    milvus: MilvusClient,
) -> None:
    """So does one that is older than a Pulsar's log, which is removed by ledgers."""

    def cut(flush: Callable[[], None]) -> None:
        for shard in written_until(source_pulsar, "books", flush):
            topic = f"persistent/public/default/{channel_of(shard)}"
            broker_pulsar.admin("PUT", f"{topic}/unload")
        for shard, end in written_until(source_pulsar, "books", flush).items():
            cut_pulsar(broker_pulsar, channel_of(shard), end)

    follow_older(source_pulsar, tmp_path, target_milvus, milvus, cut)


@pytest.mark.thorough
def test_rocksmq_that_lost_the_beginning(
    tmp_path: Path, target_milvus: EmbeddedMilvus, milvus: MilvusClient
) -> None:
    """So does one of which a RocksMQ has removed every page by its own retention."""
    brief = {
        "rocksmqPageSize": 200,
        "retentionTimeInMinutes": 1,
        "timtickerInterval": 1,
    }

    with EmbeddedMilvus(
        tmp_path / "a", mq="rocksmq", wanted={"rocksmq": brief}
    ) as source:

        def cut(flush: Callable[[], None]) -> None:
            ends = written_until(source, "books", flush)
            with RocksReader(str(source.rocksmq_path)) as log:

                def is_held(shard: str, end: ShardCheckpoint) -> bool:
                    return log.holds(Position(channel_of(shard), end.message_id, ""))

                wait_until(
                    lambda: not any(is_held(*each) for each in ends.items()),
                    "the pages are removed",
                    180,
                )
            written_until(source, "books", flush)

        follow_older(source, tmp_path / "b", target_milvus, milvus, cut)
