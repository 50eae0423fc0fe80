"""A RocksDB laid out as RocksMQ's and written by a process of its own, as Milvus does."""

from __future__ import annotations

import multiprocessing
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from rocksdict import DBCompressionType, Options, Rdict, WriteBatch

from cdc_actors.config import Rocksmq, SourceConfig
from cdc_actors.source.wal import open_reader
from cdc_actors.source.wal.rocksmq.positions import position_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from cdc_actors.changes import Position
    from cdc_actors.source.wal import WalReader

FAMILIES = ("default", "properties")
ANSWER = 60.0


class Primary:
    """What the writing process does with its RocksDB."""

    def __init__(self, path: str) -> None:
        families = {name: _options() for name in FAMILIES}
        self._db = Rdict(path, _options(), families)

    def write(self, records: list[tuple[bytes, bytes]]) -> None:
        """Write records in one batch, as Milvus does with one message pack."""
        batch = WriteBatch(raw_mode=True)
        for key, value in records:
            batch.put(key, value)
        self._db.write(batch)

    def delete_range(self, begin: bytes, end: bytes) -> None:
        """Delete a range, as Milvus's retention does with pages."""
        self._db.delete_range(begin, end)

    def flush(self) -> None:
        """Write what is in memory to tables, and compact them."""
        self._db.flush()
        self._db.compact_range(None, None)

    def keys(self) -> list[bytes]:
        """Return every key."""
        return list(self._db.keys())

    def close(self) -> None:
        """Close the RocksDB in order."""
        self._db.close()


class RocksWal:
    """The queue RocksMQ."""

    gapless = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._first = self._last = _now()
        self.start()

    def append(self, channel: str, payloads: Iterable[bytes]) -> list[Position]:
        """Write records, making the channel if there is none."""
        numbered = [(self._next_id(), payload) for payload in payloads]
        return self.append_at(channel, numbered)

    def append_at(
        self, channel: str, records: Iterable[tuple[int, bytes]]
    ) -> list[Position]:
        """Write records with ids of the test's own."""
        records = list(records)
        self.ask("write", [(key(channel, id_), payload) for id_, payload in records])
        return [position_of(channel, id_) for id_, _ in records]

    def truncate(self, channel: str, before: Position | None) -> None:
        """Remove what is older than a position, or all, as retention does."""
        end = f"{channel}0".encode() if before is None else key(channel, before.text)
        self.ask("delete_range", key(channel, 0), end)

    def stop(self) -> None:
        """Take the queue away."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self._connection.close()

    def start(self) -> None:
        """Bring it back, with its records."""
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other, str(self.path)))
        self._process.start()
        other.close()
        assert self._answer() is None

    def channels(self) -> set[str]:
        """Return the channels that exist."""
        return {each.decode().rpartition("/")[0] for each in self.ask("keys")}

    def position(self, channel: str, number: int) -> Position:
        """Return where a record might stand in time, though none does."""
        return position_of(channel, self._first + (number << 40))

    def beginning(self, channel: str) -> Position:
        """Return the position of a channel still empty, Milvus's ``DefaultMessageID``."""
        return position_of(channel, -1)

    def reader(self) -> WalReader:
        """Open a reader."""
        return open_reader(SourceConfig(rocksmq=Rocksmq(path=str(self.path))))

    def _next_id(self) -> int:
        self._last = max(self._last + 3, _now())
        return self._last

    def ask(self, what: str, *arguments: Any) -> Any:
        """Let the writing process do something, and return what comes of it."""
        self._connection.send((what, arguments))
        return self._answer()

    def _answer(self) -> Any:
        assert self._connection.poll(ANSWER), "the writing process does not answer"
        return self._connection.recv()


def serve(connection: Connection, path: str) -> None:
    """Do what is asked until the other side goes away."""
    with closing(Primary(path)) as primary:
        connection.send(None)
        try:
            while True:
                what, arguments = connection.recv()
                connection.send(getattr(primary, what)(*arguments))
        except EOFError:
            return


def _now() -> int:
    """Return an id as of a Milvus's clock, with 18 bits behind the milliseconds."""
    return (time.time_ns() // 1_000_000) << 18


def key(channel: str, number: int | str) -> bytes:
    """Return the key of a record."""
    return f"{channel}/{number}".encode()


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    none, zstd = DBCompressionType.none(), DBCompressionType.zstd()
    options.set_compression_per_level([none, none, zstd, zstd, zstd])
    options.set_num_levels(5)
    return options
