"""What a Milvus with natsmq was told, by its own log, whatever it answers today.

A Milvus 2.3.5 that is killed may forget deletes which it has acknowledged and which stand
in its log. Such a Milvus differs from another without anybody having lost anything.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import nats

from cdc_actors.changes import Delete, DropPartition, Insert
from cdc_actors.source.decode import decode
from cdc_actors.source.wal.natsmq.reader import NatsReader
from cdc_actors.target.columns import primary_keys
from tests.support.accounts import as_root

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cdc_actors.changes import Key
    from cdc_actors.embedded.milvus import EmbeddedMilvus

Changes = list[Insert | Delete | DropPartition]


def rows_told(server: EmbeddedMilvus, names: Sequence[str]) -> dict[str, Counter[Key]]:
    """Return how often each key is live in collections of ``default``, by the log."""
    client = as_root(server)
    found = {name: client.describe_collection(name) for name in names}
    client.close()
    ids = {each["collection_id"]: name for name, each in found.items()}
    changes: dict[str, Changes] = {name: [] for name in names}
    for change in _log(server):
        if change.collection in ids:
            changes[ids[change.collection]].append(change)
    return {name: live(changes[name], _key_field(found[name])) for name in names}


def live(changes: Changes, key_field: int) -> Counter[Key]:
    """Apply changes by their time; a delete spares what is written at the same time."""
    rows: set[tuple[str, Key, int]] = set()
    for change in sorted(changes, key=lambda c: (c.timestamp, isinstance(c, Insert))):
        match change:
            case Insert(partition=partition, timestamp=stamp):
                rows |= {(partition, k, stamp) for k in primary_keys(change, key_field)}
            case Delete(partition=partition, keys=keys):
                gone = set(keys)
                rows -= {r for r in rows if r[1] in gone and partition in ("", r[0])}
            case DropPartition(partition=partition):
                rows -= {row for row in rows if row[0] == partition}
    return Counter(key for _, key, _ in rows)


def _key_field(description: dict) -> int:
    (field,) = (f for f in description["fields"] if f.get("is_primary"))
    return field["field_id"]


def _log(server: EmbeddedMilvus) -> Iterator[Insert | Delete | DropPartition]:
    """Read every channel from its oldest record to its newest."""
    with NatsReader(server.nats_address) as reader:
        channels = asyncio.run(_channels(server.nats_address))
        ends = {c: end for c in channels if (end := reader.newest(c)) is not None}
        for channel in ends:
            reader.subscribe(channel, None)
        while ends:
            for record in reader.poll(10):
                change = decode(record.payload)
                if isinstance(change, Insert | Delete | DropPartition):
                    yield change
                channel = record.position.channel
                if channel in ends and reader.reached(record.position, ends[channel]):
                    del ends[channel]


async def _channels(address: str) -> list[str]:
    async with await nats.connect(address) as client:
        streams = await client.jetstream().streams_info()
    return [name for s in streams if "rootcoord-dml" in (name := s.config.name or "")]
