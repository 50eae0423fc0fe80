"""A source in memory: what its clients do comes to its log and its catalog.

The records of a channel are in order; what a catalog holds is there before a tick covers
it, as Milvus sees to. When the watch tells of it, and which channel is read on first, is
for a test to decide.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2, msg_pb2, schema_pb2

from cdc_actors.changes import Position, physical_seconds
from cdc_actors.errors import TransientError
from cdc_actors.source.catalog.client import CollectionMeta, NameSince
from cdc_actors.source.catalog.model import PartitionMeta
from tests.fakes.fake_catalog import FakeCatalog
from tests.fakes.memory_log import MemoryLog
from tests.support.changes import KEY_FIELD, key_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

A = "by-dev-rootcoord-dml_0"
B = "by-dev-rootcoord-dml_1"
REQUESTS = "by-dev-replicate-msg"
_SLOW = ("Insert", "Delete", "DropPartition")
START = 1 << 40
"""The timestamp at which the source begins; each thing that happens takes one more."""


@dataclass
class FakeSource:
    """One Milvus with two physical channels. One thread uses it.

    ``now`` is the timestamp of the last thing that happened; ``ids`` gives the next id;
    ``ticks`` has each channel's last tick. ``properties`` are what the API shows of a
    collection by now, unless they are what the catalog has. While it is ``slow``, messages
    about rows and partitions come to the log by ``write_out``, or with the next tick. The
    log's clock goes by ``now`` if it ``is_timed``.
    """

    log: MemoryLog = field(default_factory=MemoryLog)
    catalog: FakeCatalog = field(default_factory=FakeCatalog)
    now: int = START
    ids: Any = field(default_factory=lambda: count(445))
    ticks: dict[str, int] = field(default_factory=dict)
    properties: dict[int, dict[str, str]] = field(default_factory=dict)
    api_is_away: bool = False
    slow: bool = False
    is_timed: bool = False
    unwritten: dict[str, list[bytes]] = field(default_factory=lambda: {A: [], B: []})

    def __post_init__(self) -> None:
        if self.is_timed:
            self.log.clock = lambda: physical_seconds(self.now)
        self.tick()

    def next(self) -> int:
        """Let time pass, and return the time."""
        self.now += 1
        return self.now

    @property
    def looks(self) -> int:
        """How often a run has looked for something new."""
        return self.catalog.looks

    # The log.

    def write(self, channel: str, kind: str, message: Any, timestamp: int) -> None:
        """Append a message to a channel."""
        message.base.msg_type = common_pb2.MsgType.Value(kind)
        message.base.timestamp = timestamp
        payload = message.SerializeToString()
        if self.slow and kind in _SLOW:
            self.unwritten[channel].append(payload)
        else:
            self.log.append(channel, payload)

    def write_out(self, channel: str, number: int = 0) -> None:
        """Append one message that has not come to the log yet, counted from the oldest."""
        self.log.append(channel, self.unwritten[channel].pop(number))

    def tick(self, *channels: str) -> int:
        """Promise of some channels, or of all, that everything so far is written."""
        timestamp = self.next()
        for channel in channels or (A, B):
            while self.unwritten[channel]:
                self.write_out(channel)
            self.ticks[channel] = timestamp
            self.write(channel, "TimeTick", msg_pb2.TimeTickMsg(), timestamp)
        return timestamp

    def create(self, name: str, *channels: str, **fields: Any) -> CollectionMeta:
        """Create a collection: catalog and log have it, the watch does not tell yet."""
        meta = self.declare(name, *channels, **fields)
        for channel in meta.channels:
            self.say_create(meta, channel)
        return meta

    def declare(self, name: str, *channels: str, **fields: Any) -> CollectionMeta:
        """Have a collection in the catalog alone, until ``say_create`` tells the log."""
        collection_id, created = next(self.ids), self.next()
        used = channels or (A, B)
        meta = CollectionMeta(
            id=collection_id,
            database="default",
            name=name,
            description="",
            created=created,
            available=True,
            dropping=False,
            schema=_schema(),
            shards=tuple(f"{c}_{collection_id}v{i}" for i, c in enumerate(used)),
            channels=used,
            start_positions={c: self._end(c) for c in used},
            shards_num=len(used),
            consistency_level=0,
            properties={},
            partitions={next(self.ids): PartitionMeta("_default", created)},
            names=(NameSince(created, "default", name),),
            altered=created,
        )
        self.catalog.put(replace(meta, **fields))
        return replace(meta, **fields)

    def say_create(self, meta: CollectionMeta, channel: str) -> None:
        """Have a channel say that a collection was created."""
        message = msg_pb2.CreateCollectionRequest(
            collectionID=meta.id, virtualChannelNames=meta.shards
        )
        self.write(channel, "CreateCollection", message, meta.created)

    def insert(
        self,
        meta: CollectionMeta,
        keys: Sequence[int],
        channel: str = A,
        partition: str = "_default",
        timestamp: int = 0,
    ) -> int:
        """Insert rows into the shard of a channel."""
        timestamp = timestamp or self.next()
        message = msg_pb2.InsertRequest(
            shardName=_shard(meta, channel),
            partition_name=partition,
            collectionID=meta.id,
            timestamps=[timestamp] * len(keys),
            num_rows=len(keys),
            version=msg_pb2.InsertDataVersion.ColumnBased,
        )
        message.fields_data.append(schema_pb2.FieldData.FromString(key_column(keys)))
        self.write(channel, "Insert", message, timestamp)
        return timestamp

    def delete(
        self,
        meta: CollectionMeta,
        keys: Iterable[int],
        channel: str = A,
        timestamp: int = 0,
    ) -> int:
        """Delete rows from the shard of a channel."""
        timestamp, keys = timestamp or self.next(), list(keys)
        message = msg_pb2.DeleteRequest(
            shardName=_shard(meta, channel),
            collectionID=meta.id,
            timestamps=[timestamp] * len(keys),
            primary_keys=schema_pb2.IDs(int_id=schema_pb2.LongArray(data=keys)),
        )
        self.write(channel, "Delete", message, timestamp)
        return timestamp

    def upsert(
        self,
        meta: CollectionMeta,
        keys: Sequence[int],
        channel: str = A,
        partition: str = "_default",
    ) -> None:
        """Put rows in the place of others; the insert is written first."""
        timestamp = self.insert(meta, keys, channel, partition)
        self.delete(meta, keys, channel, timestamp)

    def drop(self, meta: CollectionMeta) -> None:
        """Drop a collection."""
        timestamp = self.next()
        self.catalog.remove(meta.id)
        for channel in meta.channels:
            message = msg_pb2.DropCollectionRequest(
                collectionID=meta.id, collectionName=meta.name
            )
            self.write(channel, "DropCollection", message, timestamp)

    def create_partition(self, meta: CollectionMeta, name: str) -> int:
        """Create a partition and return its id."""
        partition_id = next(self.ids)
        self.catalog.add_partition(meta.id, partition_id, name, self.next())
        return partition_id

    def drop_partition(
        self, meta: CollectionMeta, name: str, partition_id: int
    ) -> None:
        """Drop a partition."""
        timestamp = self.next()
        self.catalog.drop_partition(meta.id, partition_id)
        for channel in meta.channels:
            message = msg_pb2.DropPartitionRequest(
                collectionID=meta.id, partition_name=name, partitionID=partition_id
            )
            self.write(channel, "DropPartition", message, timestamp)

    def rename(self, meta: CollectionMeta, name: str) -> None:
        """Give a collection another name, which only the catalog has."""
        self.catalog.rename(meta.id, ("default", name), self.next())

    def alter(self, meta: CollectionMeta, properties: dict[str, str]) -> None:
        """Give a collection other properties, which the catalog tells of by its time."""
        self.catalog.put(replace(meta, altered=self.next()))
        self.properties[meta.id] = properties

    def point(self, alias: str, meta: CollectionMeta | None) -> None:
        """Let an alias stand for a collection or for none."""
        owner = meta.id if meta else None
        self.catalog.point(("default", alias), owner, self.next())

    def flush(self, meta: CollectionMeta) -> None:
        """Flush a collection, as the channel of clients' requests tells."""
        message = milvus_pb2.FlushRequest(
            db_name=meta.database, collection_names=[meta.name]
        )
        self.write(REQUESTS, "Flush", message, self.next())

    def load(self, name: str) -> None:
        """Let a client ask that a collection be loaded."""
        message = milvus_pb2.LoadCollectionRequest(collection_name=name)
        self.write(REQUESTS, "LoadCollection", message, self.next())

    def log_end(self, channel: str) -> Position:
        """Return the position of the next record of a channel."""
        number = self._end(channel)
        return Position(channel, number, str(int.from_bytes(number, "little")))

    def _end(self, channel: str) -> bytes:
        bounds = self.log.bounds(channel)
        return (bounds[1] if bounds else 1).to_bytes(8, "little")


class FakeApi:
    """The source's API. Stands for ``Connection``; the reader's thread uses it."""

    def __init__(self, source: FakeSource) -> None:
        self._source = source

    def server_time(self, timeout: float) -> int:
        """Tell the time."""
        if self._source.api_is_away:
            raise TransientError(f"there is no answer within {timeout} s")
        return self._source.now

    def call(self, _method: str, request: Any, _database: str) -> Any:
        """Describe a collection."""
        source = self._source
        meta = source.catalog.find("default", request.collection_name)
        found = milvus_pb2.DescribeCollectionResponse(collectionID=meta.id)
        found.schema.name = meta.name
        for key, value in source.properties.get(meta.id, meta.properties).items():
            found.properties.add(key=key, value=value)
        return found

    def close(self) -> None:
        """Do nothing."""


def _shard(meta: CollectionMeta, channel: str) -> str:
    return meta.shards[meta.channels.index(channel)]


def _schema() -> bytes:
    schema = schema_pb2.CollectionSchema(name="any")
    schema.fields.add(
        fieldID=KEY_FIELD, name="id", is_primary_key=True, data_type=schema_pb2.Int64
    )
    return bytes(schema.SerializeToString())
