"""The change model: what passes between source, replication and target.

Timestamps are Milvus's hybrid ones everywhere: 46 bits of milliseconds since 1970, then
18 bits of a logical counter (Milvus: ``pkg/util/tsoutil``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOGICAL_BITS = 18

Key = int | str
"""A primary key."""

FullName = tuple[str, str]
"""A database and a collection in it."""

DEFAULT_DATABASE = "default"
"""The database that Milvus means where a request names none."""


def physical_seconds(timestamp: int) -> float:
    """Return a hybrid timestamp as seconds since 1970."""
    return (timestamp >> LOGICAL_BITS) / 1000


def to_hybrid_ts(seconds: float) -> int:
    """Return seconds since 1970 as a hybrid timestamp."""
    return int(seconds * 1000) << LOGICAL_BITS


def channel_of(shard: str) -> str:
    """Return the physical channel of a shard's own, ``<channel>_<collection>v<n>``."""
    return shard.rpartition("_")[0]


def collection_of(shard: str) -> int:
    """Return the id of the collection that a virtual channel is of."""
    return int(shard.rpartition("_")[2].partition("v")[0])


class Position(msgspec.Struct, frozen=True, gc=False):
    """Where a record stands in its channel.

    ``id`` holds the queue's own message id, byte for byte as Milvus keeps it in
    ``MsgPosition.msgID``; ``text`` is the same for people.
    """

    channel: str
    id: bytes
    text: str


class Record(msgspec.Struct, frozen=True, gc=False):
    """One raw message of the write-ahead log.

    A struct because there is one for each message: several times cheaper to make than a
    frozen dataclass, and unknown to the garbage collector. Each queue's own kind keeps
    what its client tells of where the message stands.
    """

    channel: str
    payload: bytes

    @property
    def position(self) -> Position:
        """Where it stands; made anew each time, since it costs more than the record."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Up to where a channel is applied at the target.

    Reading goes on at ``position`` (at the record itself if ``inclusive``, else after it)
    and skips whatever is not newer than ``tick``.
    """

    position: Position
    inclusive: bool
    tick: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Every message of the channel up to ``timestamp`` has been written."""

    timestamp: int


class Insert(msgspec.Struct, frozen=True, gc=False):
    """Rows of one shard and partition, column by column.

    ``columns`` are serialized ``FieldData`` messages, untouched since the log, in the
    writer's order; ``size`` is their bytes. A struct, as ``Record`` is.
    """

    collection: int
    shard: str
    partition: str
    timestamp: int
    rows: int
    columns: tuple[bytes, ...]
    size: int

    def __repr__(self) -> str:
        return f"<{self.rows} rows of {self.shard} inserted at {self.timestamp}>"


class Delete(msgspec.Struct, frozen=True, gc=False):
    """Keys deleted from one partition of a shard, or (``partition`` empty) from all."""

    collection: int
    shard: str
    partition: str
    timestamp: int
    keys: tuple[Key, ...]

    def __repr__(self) -> str:
        return f"<{len(self.keys)} keys of {self.shard} deleted at {self.timestamp}>"


def are_rows(change: object, among: Callable[[int], bool]) -> bool:
    """Tell whether a change is of rows alone, of a collection (an id) ``among`` some."""
    return isinstance(change, Insert | Delete) and among(change.collection)


@dataclass(frozen=True, slots=True)
class CreateCollection:
    """A collection was asked for; only the catalog knows whether it came into being."""

    collection: int
    timestamp: int
    shards: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DropCollection:
    """A collection ends. Comes on each of its channels, now and then more than once."""

    collection: int
    timestamp: int
    name: str


@dataclass(frozen=True, slots=True)
class DropPartition:
    """A partition ends. Comes as ``DropCollection`` does.

    Another partition may get its name, ``partition``, but never its id.
    """

    collection: int
    timestamp: int
    partition: str
    partition_id: int


@dataclass(frozen=True, slots=True)
class Request:
    """An operation as the client sent it, from the replicate channel.

    ``kind`` is the name in Milvus's ``MsgType`` (``CreateIndex``, ``LoadCollection``, ...);
    ``payload`` is the serialized request message.
    """

    kind: str
    timestamp: int
    database: str
    collections: tuple[str, ...]
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unreplicated:
    """Something came to a collection that the target cannot be given, for ``reason``."""

    collection: int
    timestamp: int
    reason: str


@dataclass(frozen=True, slots=True)
class BulkImport:
    """Rows may have come, or will, into a collection past the log: by an import (an id)."""

    collection: int
    timestamp: int
    number: int


@dataclass(frozen=True, slots=True)
class FlushAsked:
    """A client had a collection flushed, or (0) all that there is. Each channel says it."""

    collection: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of a kind that this version does not know."""

    kind: str
    timestamp: int


REPLICATED_FROM_CATALOG = frozenset(
    {
        "CreateDatabase",
        "DropDatabase",
        "AlterDatabase",
        "CreateAlias",
        "AlterAlias",
        "DropAlias",
        "RenameCollection",
        "AlterCollection",
        "AlterCollectionField",
        "CreatePartition",
        "CreateCredential",
        "UpdateCredential",
        "DeleteCredential",
        "CreateRole",
        "DropRole",
        "OperateUserRole",
        "OperatePrivilege",
        "CreatePrivilegeGroup",
        "DropPrivilegeGroup",
        "OperatePrivilegeGroup",
        "OperatePrivilegeV2",
        "Replicate",
    }
)
"""What is in the log as well, databases from 2.3.2 on, the rest in 2.4 and 2.5; the
catalog has what comes of it. ``Replicate`` (2.5) is the end of ``REPLICATE_ID``."""

Change = (
    Insert
    | Delete
    | CreateCollection
    | DropCollection
    | DropPartition
    | Request
    | Unreplicated
    | BulkImport
    | FlushAsked
    | Unknown
)


class Rows(msgspec.Struct, frozen=True, gc=False):
    """Rows of one insert: all of them, or (``keep``) those of these indexes.

    A ``range`` is a stretch of rows, which is cheap to take.
    """

    insert: Insert
    keep: tuple[int, ...] | range | None = None

    @property
    def timestamp(self) -> int:
        """When they were written."""
        return self.insert.timestamp

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self.insert.rows if self.keep is None else len(self.keep)


RowChange = Insert | Delete | Rows
"""What changes rows: as the log has it, or (``Rows``) what is left of an insert."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What the target must do: delete keys by partition ("" is all), then insert."""

    deletes: dict[str, tuple[Key, ...]]
    inserts: tuple[Rows, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A collection as it is to be created at the target, with its names there.

    ``schema`` is a serialized ``schema.CollectionSchema``; ``partitions`` are the names
    that the source gave, in order of creation.
    """

    database: str
    name: str
    schema: bytes = field(repr=False)
    shards: int
    consistency_level: int
    properties: dict[str, str]
    partitions: tuple[str, ...]


_OWN_PROPERTIES = frozenset(
    {
        "allow_insert_auto_id",
        "collection.replica.number",
        "collection.resource_groups",
        "collection.on.truncating",
        "database.replica.number",
        "database.resource_groups",
        "dynamicfield.enabled",
        "max_field_id",
        "preserve_field_ids",
        "timezone",
    }
)
REPLICATE_ID = "replicate.id"
"""The property (2.5) of a collection that takes its rows from another Milvus through
milvus-cdc: they have that one's timestamps, which no tick of this one covers in time."""

_OWN_PREFIXES = (
    "replicate.",
    "cipher.",
    "cdc_actors.",
    "database.force.deny.",
    "namespace.",
)
"""Properties that are about the source itself: its query nodes, its clients (what denies
them to write or to give keys would keep rows from the target), its part in another
replication (2.5: a target of ``replicate.id`` takes no rows of anybody else; ``marks``),
its keys, its namespaces, and what it keeps of a schema or sets by itself (2.6 and 3.0,
``pkg/common/common.go``), which 2.5 only notes and 2.6 would make so."""


def replicated_properties(properties: Mapping[str, str]) -> dict[str, str]:
    """Return the properties of a collection or database that the target is to have, too."""
    return {
        key: value
        for key, value in properties.items()
        if key not in _OWN_PROPERTIES and not key.startswith(_OWN_PREFIXES)
    }
