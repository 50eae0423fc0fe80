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
    from collections.abc import Sequence

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


def follow(
    queue: dict[str, dict[str, str]], channels: Sequence[str]
) -> tuple[list[str], float]:
    """Read channels; return those that records came from, and the share of one core."""
    source = msgspec.convert(queue, SourceConfig)
    with open_reader(source) as reader:
        for channel in channels:
            reader.subscribe(channel, None)
        read(reader, SETTLE)
        cpu = time.process_time()
        heard = read(reader, MEASURE)
        return sorted(heard), (time.process_time() - cpu) / MEASURE


def read(reader: WalReader, seconds: float) -> set[str]:
    """Poll for so many seconds; return the channels that records came from."""
    end, heard = time.monotonic() + seconds, set[str]()
    while time.monotonic() < end:
        heard.update(record.channel for record in reader.poll(0.05))
    return heard


def main() -> None:
    """Measure one queue: a task reads the channels in use, a reader could read all."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--queue", choices=QUEUES, default="natsmq")
    mq = arguments.parse_args().queue
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        wide = {"rootCoord": {"dmlChannelNum": len(CHANNELS)}}
        source = open_source(stack, folder, mq, wanted=wide)
        use(source)
        heard, of_all = in_process_of_its_own(source, CHANNELS)
        _, of_used = in_process_of_its_own(source, heard)
    print(
        f"{mq}: {of_used:.1%} of a core for the {len(heard)} channels in use, "
        f"{of_all:.1%} for all {len(CHANNELS)}"
    )


def in_process_of_its_own(
    source: EmbeddedMilvus, channels: Sequence[str]
) -> tuple[list[str], float]:
    """Follow, where nothing else takes of the processor."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        return process.submit(follow, source.queue, channels).result()


if __name__ == "__main__":
    main()
