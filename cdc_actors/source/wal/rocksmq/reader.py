"""Reads RocksMQ, the RocksDB inside a standalone Milvus, from the disk it lies on.

RocksDB tells nobody that something was written, so ``poll`` looks 40 times a second
whether its log file has grown. It reads in the caller's thread, and nothing ahead.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cdc_actors.changes import Position, to_hybrid_ts
from cdc_actors.errors import CdcError, TransientError
from cdc_actors.source.wal.base import WalReader
from cdc_actors.source.wal.rocksmq.cursor import RocksCursor, record_gone
from cdc_actors.source.wal.rocksmq.database import RocksView
from cdc_actors.source.wal.rocksmq.pages import bytes_in_pages
from cdc_actors.source.wal.rocksmq.positions import Keys, number_of, position_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from cdc_actors.changes import Record

POLL_BYTES = 4 << 20
_CHANNEL_BYTES = 1 << 20
_LOOK = 0.025
_LOOK_CLOSELY = 1.0
# Milvus looks every ten minutes for what to delete: what came within one is still there.
_UNWATCHED = 60.0

T = TypeVar("T")


class RocksReader(WalReader):
    """A ``WalReader`` of RocksMQ.

    Args:
        path: Milvus's ``rocksmq.path`` as this machine sees it.
        retention_minutes: Its ``rocksmq.retentionTimeInMinutes``, 0 for unknown.

    Raises:
        TransientError: No Milvus has it open.
        OperatorError: It is not there, or may not be read.
    """

    def __init__(self, path: str, retention_minutes: int = 0) -> None:
        self._kept_seconds = retention_minutes * 60.0 or None
        self._path = Path(path).absolute()
        self._view = RocksView(self._path)
        self._using = threading.Lock()
        self._closed = threading.Event()
        self._released = False
        self._cursors: dict[str, RocksCursor] = {}
        self._behind: dict[str, RocksCursor] = {}
        self._looked = self._looked_closely = 0.0
        self._written = self._written_closely = -1
        self._mark: tuple[int, ...] = ()
        self._error: CdcError | None = None

    def subscribe(
        self, channel: str, start: Position | None, *, inclusive: bool = True
    ) -> None:
        """Deliver ``channel`` from ``start`` on, or from the oldest record if None.

        Raises:
            ValueError: The channel is already subscribed to.
        """
        if channel in self._cursors:
            raise ValueError(f"{channel} is already subscribed to")
        number = 0 if start is None else number_of(start)
        if start is not None and not self.holds(start):
            raise record_gone(channel, number)
        cursor = RocksCursor(channel, number, inclusive=inclusive)
        self._cursors[channel] = self._behind[channel] = cursor

    def poll(
        self, timeout: float, channels: Collection[str] | None = None
    ) -> list[Record]:
        """Return what has arrived; after an error, first what came before it."""
        deadline = time.monotonic() + timeout
        while True:
            records = self._use(lambda: self._read(channels))
            now = time.monotonic()
            if records or now >= deadline:
                return records
            self._closed.wait(max(0.0, min(deadline, self._looked + _LOOK) - now))

    def oldest(self, channel: str) -> Position | None:
        """Return the position of the oldest record kept, None if there is none."""
        number = self._ask(lambda: Keys(channel).first(self._view.entries()))
        return None if number is None else position_of(channel, number)

    def newest(self, channel: str) -> Position | None:
        """Return the position of the newest record, None if there is none."""
        number = self._ask(lambda: Keys(channel).last(self._view.entries()))
        return None if number is None else position_of(channel, number)

    def written_since(self, channel: str, seconds: float) -> Position | None:
        """Return the first record of a time or later, by its id: see ``WalReader``."""
        number = self._ask(
            lambda: Keys(channel).since(self._view.entries(), to_hybrid_ts(seconds))
        )
        return None if number is None else position_of(channel, number)

    def holds(self, start: Position, *, inclusive: bool = True) -> bool:  # noqa: ARG002
        """Tell whether reading can begin at ``start`` without missing a record.

        Ids have gaps: only while the record at ``start`` is there is it certain that
        none behind it is gone, be it wanted itself or not.
        """
        number = number_of(start)
        key = Keys(start.channel).key(number)
        return number < 1 or self._ask(lambda: self._view.holds(key))

    def bytes_between(self, start: Position, end: Position | None = None) -> int | None:
        """Return how many bytes there are, in whole pages of 64 MB; see ``WalReader``."""
        first, stop = number_of(start), number_of(end) if end else None
        return self._use(lambda: bytes_in_pages(self._path, start.channel, first, stop))

    def position(self, channel: str, message_id: bytes) -> Position:
        """Return the position of an id as Milvus keeps it; see ``WalReader``."""
        number = number_of(Position(channel, message_id, message_id.hex()))
        return position_of(channel, number)

    def reached(self, position: Position, mark: Position) -> bool:
        """Tell whether ``position`` is ``mark`` or comes after it in their channel."""
        return number_of(position) >= number_of(mark)

    def kept_seconds(self, channel: str) -> float | None:  # noqa: ARG002
        """Return for how long Milvus keeps what it has read, as it was told.

        Where the size (``rocksmq.retentionSizeInMB``) does not end it earlier.
        """
        return self._kept_seconds

    def close(self) -> None:
        """Stop within a second and release everything. Idempotent; any thread."""
        self._closed.set()
        with self._using:
            if not self._released:
                self._released = True
                self._view.close()

    def _use(self, work: Callable[[], T]) -> T:
        with self._using:
            if self._closed.is_set():
                raise TransientError("the reader of rocksmq is closed")
            self._view.check_served()
            with self._view.failures():
                return work()

    def _ask(self, question: Callable[[], T]) -> T:
        def ask() -> T:
            self._view.catch_up()
            return question()

        return self._use(ask)

    def _read(self, channels: Collection[str] | None) -> list[Record]:
        if self._error is not None:
            raise self._error
        self._look()
        records: list[Record] = []
        room = POLL_BYTES
        try:
            while room > 0 and (channel := self._longest_waiting(channels)):
                room -= self._read_next(channel, records)
        except CdcError as error:
            self._error = error
            if not records:
                raise
        return records

    def _longest_waiting(self, channels: Collection[str] | None) -> str | None:
        wanted = (c for c in self._behind if channels is None or c in channels)
        return next(wanted, None)

    def _read_next(self, channel: str, records: list[Record]) -> int:
        """Read on in a channel; return the bytes that came."""
        cursor = self._behind.pop(channel)
        size = cursor.read(self._view, _CHANNEL_BYTES, records)
        if size and not cursor.at_end:
            self._behind[channel] = cursor
        return size

    def _look(self) -> None:
        """Catch up with Milvus if the last time is long enough ago."""
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return
        if now - self._looked > _UNWATCHED:
            self._behind |= self._cursors
        for cursor in self._behind.values():
            cursor.at_end = False
        self._looked = now
        mark = self._view.mark()
        closely = now - self._looked_closely >= _LOOK_CLOSELY
        if mark != self._mark or closely:
            self._mark = mark
            self._catch_up()
        if closely:
            self._looked_closely = now
            self._look_closely()

    def _catch_up(self) -> None:
        written = self._view.catch_up()
        if written == self._written:
            return
        self._written = written
        for cursor in self._behind.values():
            cursor.renew()
        self._behind |= self._cursors

    def _look_closely(self) -> None:
        """Look for what is seldom there and costs more to find."""
        if self._written == self._written_closely:
            return
        read = [each for each in self._cursors.items() if each[0] not in self._behind]
        if not self._behind:
            self._written_closely = self._written
        for channel, cursor in read:
            if cursor.skip_to_longer(self._view):
                self._behind[channel] = cursor
