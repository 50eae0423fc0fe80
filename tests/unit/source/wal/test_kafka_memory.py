"""What Kafka's client may hold, counted in the memory that all tasks share."""

from __future__ import annotations

import pytest

from cdc_actors.config.queues import Kafka
from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.pipeline.context import PREFETCH_SHARE, ROWS_SHARE
from cdc_actors.source.wal.kafka.client import (
    PREFETCH_BYTES,
    held_bytes,
    prefetch_for,
    settings,
)

KAFKA = Kafka(address="127.0.0.1:9092")
MIB = 1 << 20


@pytest.mark.parametrize("readers", [16, 100])
def test_many_readers_leave_memory_to_the_rows(readers: int) -> None:
    """As many tasks as there may be, idle at the end of the log, can go on reading."""
    memory = MemoryBudget(256 * MIB)
    rows = [memory.quota(ROWS_SHARE) for _ in range(readers)]
    for _ in range(readers):
        quota = memory.quota(PREFETCH_SHARE)
        quota.hold(held_bytes(settings(KAFKA, prefetch_for(quota.free))))

    assert all(quota.has_room() for quota in rows)
    assert memory.free > 256 * MIB / 32


def test_one_reader_with_much_memory_reads_far_ahead() -> None:
    """It has a most, beyond which nothing is won, and a least, below which it is slow."""
    assert prefetch_for(4096 * MIB) == PREFETCH_BYTES
    assert prefetch_for(-1) == prefetch_for(0) > 0
    for size in (prefetch_for(0), PREFETCH_BYTES):
        assert held_bytes(settings(KAFKA, size)) == pytest.approx(size, abs=1024)


def test_what_the_operator_sets_is_what_counts() -> None:
    """A larger queue in the free map is held as one."""
    larger = Kafka(
        address=KAFKA.address, consumer={"queued.max.messages.kbytes": "65536"}
    )
    assert held_bytes(settings(larger, prefetch_for(256 * MIB))) > 64 * MIB
