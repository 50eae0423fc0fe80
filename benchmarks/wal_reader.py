"""The reader of natsmq alone, against the least that nats-py needs for the same stream.

Usage: python benchmarks/wal_reader.py
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import nats
from nats.js.api import AckPolicy

from cdc_actors.embedded.milvus import EmbeddedMilvus
from cdc_actors.source.wal.natsmq import NatsReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.aio.client import Client
    from nats.aio.msg import Msg

STREAM = "benchmark"
WORKLOADS = (("2.6 MB", 2_600_000, 200), ("200 B", 200, 100_000))
ROUNDS = 5
BATCH = 1000
REQUEST = {"batch": BATCH, "max_bytes": 16 << 20, "expires": 60 * 10**9}


@asynccontextmanager
async def connection(address: str) -> AsyncIterator[Client]:
    """Connect, and close in the end."""
    client = await nats.connect(address)
    try:
        yield client
    finally:
        await client.close()


async def fill(address: str, size: int, count: int) -> None:
    """Make the stream, or make it anew, with ``count`` records of ``size`` bytes."""
    async with connection(address) as client:
        jetstream = client.jetstream()
        await jetstream.add_stream(name=STREAM, subjects=[STREAM])
        await jetstream.purge_stream(STREAM)
        for _ in range(count // 100):
            sent = [jetstream.publish(STREAM, bytes(size)) for _ in range(100)]
            await asyncio.gather(*sent)


async def read_bare(address: str, count: int) -> None:
    """Read the whole stream by one standing pull request, and do nothing with it."""
    async with connection(address) as client:
        consumer = await client.jetstream().add_consumer(
            STREAM, ack_policy=AckPolicy.NONE, inactive_threshold=10
        )
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{consumer.name}"
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


def read(address: str, count: int) -> None:
    """Read the whole stream with the reader."""
    with NatsReader(address) as reader:
        reader.subscribe(STREAM, None)
        while count > 0:
            count -= len(reader.poll(60))


def compare(address: str, name: str, size: int, count: int) -> None:
    """Read both ways in turn, and print the best round of each."""
    asyncio.run(fill(address, size, count))
    bare, own = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        asyncio.run(read_bare(address, count))
        middle = time.perf_counter()
        read(address, count)
        bare.append(middle - start)
        own.append(time.perf_counter() - middle)
    rate = count / min(own)
    print(
        f"{name} records: reader {rate:,.0f}/s, {rate * size / 1e6:,.1f} MB/s; "
        f"bare nats-py {count / min(bare):,.0f}/s; ratio {min(bare) / min(own):.2f}"
    )


def main() -> None:
    """Start a Milvus for its NATS server, and compare on each workload."""
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedMilvus(Path(folder)) as milvus,
    ):
        for name, size, count in WORKLOADS:
            compare(milvus.nats_address, name, size, count)


if __name__ == "__main__":
    main()
