"""One reader alone, against the least that its client library needs for the same records.

Usage: python -m benchmarks.wal_reader [--queue natsmq|kafka|rocksmq|pulsar|streaming|dump]

Both read in turn. On a machine that others use as well a round may take twice as long as
the one before it: with ``--rounds 20`` the medians tell more than the best rounds.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import TYPE_CHECKING, Protocol

from benchmarks.wal_dump import dump
from benchmarks.wal_kafka import kafka
from benchmarks.wal_natsmq import natsmq
from benchmarks.wal_pulsar import pulsar
from benchmarks.wal_rocksmq import rocksmq
from benchmarks.wal_streaming import streaming

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.source.wal import WalReader

QUEUES = {
    "natsmq": natsmq,
    "kafka": kafka,
    "rocksmq": rocksmq,
    "pulsar": pulsar,
    "streaming": streaming,
    "dump": dump,
}
WORKLOADS = (("2.6 MB", 2_600_000, 400), ("200 B", 200, 100_000))
ROUNDS = 5


class Queue(Protocol):
    """A message queue with a channel to read."""

    client: str

    def fill(self, size: int, count: int) -> str:
        """Make a channel of ``count`` records of ``size`` bytes; return its name."""

    def read_bare(self, channel: str, count: int) -> None:
        """Read a whole channel by the client library alone."""

    def reader(self) -> WalReader:
        """Open the reader that is measured."""


class Rounds:
    """Seconds by the clock, and of a processor, of several rounds."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.cpu: list[float] = []

    def measure(self, work: Callable[[], None]) -> None:
        """Take one round."""
        cpu, begun = time.process_time(), time.perf_counter()
        work()
        self.seconds.append(time.perf_counter() - begun)
        self.cpu.append(time.process_time() - cpu)


def read(queue: Queue, channel: str, count: int) -> None:
    """Read a whole channel with the reader."""
    with queue.reader() as reader:
        reader.subscribe(channel, None)
        while count > 0:
            # Ticks that a reader makes up are not counted.
            count -= sum(bool(record.payload) for record in reader.poll(60))


def compare(queue: Queue, name: str, size: int, count: int, rounds: int) -> None:
    """Read both ways in turn, and print the best round of each, and the medians."""
    channel = queue.fill(size, count)
    bare, own = Rounds(), Rounds()
    for _ in range(rounds):
        bare.measure(lambda: queue.read_bare(channel, count))
        own.measure(lambda: read(queue, channel, count))
    rate = count / min(own.seconds)
    print(
        f"{name} records: reader {rate:,.0f}/s, {rate * size / 1e6:,.1f} MB/s; "
        f"bare {queue.client} {count / min(bare.seconds):,.0f}/s; "
        f"ratio {min(bare.seconds) / min(own.seconds):.2f}, "
        f"of medians {median(bare.seconds) / median(own.seconds):.2f}, "
        f"by CPU {min(bare.cpu) / min(own.cpu):.2f}"
    )


def main() -> None:
    """Compare on each workload."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--queue", choices=QUEUES, default="natsmq")
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    asked = arguments.parse_args()
    with QUEUES[asked.queue]() as queue:
        for name, size, count in WORKLOADS:
            compare(queue, name, size, count, asked.rounds)


if __name__ == "__main__":
    main()
