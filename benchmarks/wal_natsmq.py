"""The natsmq of a Milvus for the benchmark of the readers, and the least nats-py needs."""

from __future__ import annotations

import asyncio
import json
import tempfile
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import nats
from nats.js.api import AckPolicy

from cdc_actors.embedded.milvus import EmbeddedMilvus
from cdc_actors.source.wal.natsmq.reader import NatsReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from nats.aio.client import Client
    from nats.aio.msg import Msg

STREAM = "benchmark"
BATCH = 1000
REQUEST = {"batch": BATCH, "max_bytes": 16 << 20, "expires": 60 * 10**9}


class NatsQueue:
    """Streams in the NATS server at ``address``."""

    client = "nats-py"

    def __init__(self, address: str) -> None:
        self._address = address

    def fill(self, size: int, count: int) -> str:
        """Make a channel of ``count`` records of ``size`` bytes; return its name."""
        asyncio.run(fill(self._address, size, count))
        return STREAM

    def read_bare(self, channel: str, count: int) -> None:
        """Read a whole channel by the client library alone."""
        asyncio.run(read_bare(self._address, channel, count))

    def reader(self) -> NatsReader:
        """Open the reader that is measured."""
        return NatsReader(self._address)


@contextmanager
def natsmq() -> Iterator[NatsQueue]:
    """Start a Milvus for its NATS server."""
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedMilvus(Path(folder)) as milvus,
    ):
        yield NatsQueue(milvus.nats_address)


@asynccontextmanager
async def connection(address: str) -> AsyncIterator[Client]:
    """Connect, and close in the end."""
    async with await nats.connect(address) as client:
        yield client


async def fill(address: str, size: int, count: int) -> None:
    """Make the stream, or make it anew, with ``count`` records of ``size`` bytes."""
    async with connection(address) as client:
        jetstream = client.jetstream()
        await jetstream.add_stream(name=STREAM, subjects=[STREAM])
        await jetstream.purge_stream(STREAM)
        for _ in range(count // 100):
            sent = [jetstream.publish(STREAM, bytes(size)) for _ in range(100)]
            await asyncio.gather(*sent)


async def read_bare(address: str, stream: str, count: int) -> None:
    """Read the whole stream by one standing pull request, and do nothing with it."""
    async with connection(address) as client:
        consumer = await client.jetstream().add_consumer(
            stream, ack_policy=AckPolicy.NONE, inactive_threshold=10
        )
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer.name}"
        inbox, seen, done = client.new_inbox(), 0, asyncio.Event()

        async def pull() -> None:
            await client.publish(subject, json.dumps(REQUEST).encode(), reply=inbox)

        async def receive(message: Msg) -> None:
            nonlocal seen
            seen += bool(message.reply)
            if seen == count:
                done.set()
            elif not message.reply or seen % BATCH == 0:
                await pull()

        await client.subscribe(
            inbox, cb=receive, pending_msgs_limit=0, pending_bytes_limit=0
        )
        await pull()
        await done.wait()
