"""What a reader costs that waits: 256 channels of a real Milvus, of which 16 tick.

    python -m benchmarks.wal_idle [--queue natsmq|kafka|rocksmq|pulsar]

The reader runs in a process of its own, so that what it takes of a processor is its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from pymilvus import DataType, MilvusClient

from benchmarks.replication import QUEUES, open_source
from cdc_actors.config import SourceConfig
from cdc_actors.source.wal import open_reader

if TYPE_CHECKING:
    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from cdc_actors.source.wal import WalReader

CHANNELS = [f"by-dev-rootcoord-dml_{number}" for number in range(256)]
IN_USE = 16
SETTLE, MEASURE = 10.0, 30.0


def use(source: EmbeddedMilvus) -> None:
    """Let some channels tick: each collection takes one of its own."""
    client = MilvusClient(source.uri, timeout=120, dedicated=True)
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=8)
    for number in range(IN_USE):
        client.create_collection(f"idle_{number}", schema=schema, num_shards=1)
    client.close()


def follow(queue: dict[str, dict[str, str]]) -> tuple[int, float]:
    """Read as a task does; return records a second, and the share of one core."""
    source = msgspec.convert(queue, SourceConfig)
    with open_reader(source) as reader:
        for channel in CHANNELS:
            reader.subscribe(channel, None)
        read(reader, SETTLE)
        cpu = time.process_time()
        records = read(reader, MEASURE)
        return round(records / MEASURE), (time.process_time() - cpu) / MEASURE


def read(reader: WalReader, seconds: float) -> int:
    """Poll for so many seconds; return how many records came."""
    end, records = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        records += len(reader.poll(0.05))
    return records


def main() -> None:
    """Measure one queue."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--queue", choices=QUEUES, default="natsmq")
    mq = arguments.parse_args().queue
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        wide = {"rootCoord": {"dmlChannelNum": len(CHANNELS)}}
        source = open_source(stack, folder, mq, wanted=wide)
        use(source)
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            records, share = process.submit(follow, source.queue).result()
    print(
        f"{mq}: {len(CHANNELS)} channels, {IN_USE} in use, {records} records/s: "
        f"{share:.1%} of a core"
    )


if __name__ == "__main__":
    main()
