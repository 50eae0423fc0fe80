"""RocksMQ for the benchmark of its reader: a RocksDB, written by a process of its own."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rocksdict import AccessType, Options, Rdict

from cdc_actors.source.wal.rocksmq.reader import RocksReader
from tests.support.rocks_wal import FAMILIES, RocksWal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.source.wal import WalReader

BATCH_BYTES = 10_000_000


class BenchmarkQueue:
    """A RocksDB laid out as RocksMQ's."""

    client = "rocksdict"

    def __init__(self, wal: RocksWal) -> None:
        self._wal = wal

    def fill(self, size: int, count: int) -> str:
        """Make a channel of ``count`` records of ``size`` bytes, in tables on the disk."""
        channel = f"benchmark-{size}"
        payload = os.urandom(size)
        batch = min(count, BATCH_BYTES // size)
        for first in range(0, count, batch):
            self._wal.append(channel, [payload] * min(batch, count - first))
        self._wal.ask("flush")
        return channel

    def read_bare(self, channel: str, count: int) -> None:
        """Open a secondary and go through a channel, doing nothing with the records."""
        with tempfile.TemporaryDirectory() as folder:
            secondary = AccessType.secondary(folder)
            families = {name: Options(raw_mode=True) for name in FAMILIES}
            options = Options(raw_mode=True)
            database = Rdict(str(self._wal.path), options, families, secondary)
            items = database.items(from_key=f"{channel}/".encode())
            for _ in range(count):
                next(items)
            del items
            database.close()

    def reader(self) -> WalReader:
        """Open the reader that is measured."""
        return RocksReader(str(self._wal.path))


@contextmanager
def rocksmq() -> Iterator[BenchmarkQueue]:
    """Start the writing process, and end it."""
    with tempfile.TemporaryDirectory() as folder:
        wal = RocksWal(Path(folder) / "rdb_data")
        try:
            yield BenchmarkQueue(wal)
        finally:
            wal.stop()
