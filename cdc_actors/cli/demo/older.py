"""What makes a collection older than the source's log: files have its rows, not the log."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from typing import TYPE_CHECKING

import nats

from cdc_actors.beside import uninterrupted
from cdc_actors.changes import DEFAULT_DATABASE, channel_of, to_hybrid_ts
from cdc_actors.config import Etcd
from cdc_actors.errors import TransientError
from cdc_actors.source.catalog.client import EtcdCatalog
from cdc_actors.source.storage.listing import checkpoints, written_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from cdc_actors.source.storage.listing import ShardCheckpoint

_WRITE_TIMEOUT = 120.0
"""Milvus writes down how far files are once a minute, and most times with a flush."""

_POLL_INTERVAL = 0.1


@uninterrupted
def written_until(
    source: EmbeddedMilvus, name: str, flush: Callable[[], None]
) -> Mapping[str, ShardCheckpoint]:
    """Flush until files have all rows of a collection; return up to where, by shard.

    Raises:
        TransientError: They do not have them in time.
    """
    now, deadline = to_hybrid_ts(time.time()), time.monotonic() + _WRITE_TIMEOUT
    with closing(EtcdCatalog(Etcd(address=(source.etcd_address,)))) as catalog:
        while time.monotonic() < deadline:
            flush()
            meta = catalog.find(DEFAULT_DATABASE, name)
            found = (
                checkpoints(meta, catalog.read_below(written_at(meta))) if meta else {}
            )
            if found and all(each.timestamp >= now for each in found.values()):
                return found
            time.sleep(_POLL_INTERVAL)
    raise TransientError(f"The source has not written the rows of {name} into files.")


@uninterrupted
def cut(nats_address: str, ends: Mapping[str, ShardCheckpoint]) -> None:
    """Have a natsmq forget what stands before these checkpoints, as retention does."""
    asyncio.run(_purge(nats_address, ends))


async def _purge(address: str, ends: Mapping[str, ShardCheckpoint]) -> None:
    async with await nats.connect(address) as connection:
        for shard, end in ends.items():
            number = int.from_bytes(end.message_id, "little")
            channel = channel_of(shard)
            await connection.jetstream().purge_stream(channel, seq=number)
