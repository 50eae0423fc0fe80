"""A message queue in memory, for tests of what stands above the readers."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cdc_actors.changes import Position
from cdc_actors.errors import PositionLostError, TransientError
from cdc_actors.source.wal.base import WalReader
from cdc_actors.source.wal.natsmq.positions import (
    NumberedRecord,
    next_sequence,
    position_of,
    sequence_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from cdc_actors.changes import Record

_POLL_BYTES = 32 << 20
_AWAY = "the log in memory is away"


@dataclass(slots=True)
class _Topic:
    """``records[0]`` has the number ``first``."""

    first: int = 1
    records: list[bytes] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.first + len(self.records)


class MemoryLog:
    """A write-ahead log of channels that come into being by appending. Any thread.

    ``changed`` is notified of every record and every poll; ``polls`` counts the latter.
    ``clock`` says when a record comes, in seconds since 1970.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.clock: Callable[[], float] = time.time
        self.polls = 0
        self.stops = 0
        self.away = False
        self.kept_seconds: float | None = None
        self.record_bytes: int | None = None
        self._topics: dict[str, _Topic] = {}

    @property
    def topics(self) -> frozenset[str]:
        """The channels that exist."""
        with self.changed:
            return frozenset(self._topics)

    def append(self, channel: str, payload: bytes) -> Position:
        """Write a record and wake the readers."""
        with self.changed:
            topic = self._topics.setdefault(channel, _Topic())
            topic.records.append(payload)
            topic.times.append(self.clock())
            self.changed.notify_all()
            return position_of(channel, topic.end - 1)

    def truncate(self, channel: str, before: Position) -> None:
        """Remove the records before a position, as retention does."""
        with self.changed:
            topic = self._topics[channel]
            gone = max(0, min(sequence_of(before), topic.end) - topic.first)
            del topic.records[:gone], topic.times[:gone]
            topic.first += gone
            self.changed.notify_all()

    def stop(self) -> None:
        """Break every reader there is and refuse new ones until ``start``."""
        with self.changed:
            self.stops += 1
            self.away = True
            self.changed.notify_all()

    def start(self) -> None:
        """Come back, with every record."""
        with self.changed:
            self.away = False

    def bounds(self, channel: str) -> tuple[int, int] | None:
        """Return the number of the first record kept and the number of the next one."""
        with self.changed:
            topic = self._topics.get(channel)
            return (topic.first, topic.end) if topic else None

    def written_since(self, channel: str, seconds: float) -> int | None:
        """Return the number of the first record of a time or later."""
        with self.changed:
            topic = self._topics.get(channel) or _Topic()
            late = (n for n, at in enumerate(topic.times, topic.first) if at >= seconds)
            return next(late, None)

    def read(self, channel: str, start: int) -> list[Record]:
        """Return records from number ``start`` on, as many as fit into 32 MiB."""
        records: list[Record] = []
        size = 0
        with self.changed:
            topic = self._topics[channel]
            for number in range(start, topic.end):
                payload = topic.records[number - topic.first]
                size += len(payload)
                if size > _POLL_BYTES:
                    break
                records.append(NumberedRecord(channel, payload, number))
        return records


class MemoryReader(WalReader):
    """A ``WalReader`` of a ``MemoryLog``.

    Raises:
        TransientError: The log is stopped.
    """

    def __init__(self, log: MemoryLog, max_wait: float = 10.0) -> None:
        """A ``poll`` returns after ``max_wait`` seconds, whatever it was allowed."""
        if log.away:
            raise TransientError(_AWAY)
        self._log = log
        self._max_wait = max_wait
        self._stops = log.stops
        self._next: dict[str, int] = {}
        self._closed = False

    def subscribe(
        self, channel: str, start: Position | None, *, inclusive: bool = True
    ) -> None:
        """Deliver ``channel`` from ``start`` on, or from the oldest record if None."""
        self._check()
        if channel in self._next:
            raise ValueError(f"{channel} is already subscribed to")
        if start is None:
            self._next[channel] = 0
        elif self.holds(start, inclusive=inclusive):
            self._next[channel] = next_sequence(start, inclusive=inclusive)
        else:
            raise PositionLostError(f"{channel}: record {start.text} is not in the log")

    def poll(
        self, timeout: float, channels: Collection[str] | None = None
    ) -> list[Record]:
        """Return what has been written, at most 32 MiB of each channel."""
        wanted = [c for c in self._next if channels is None or c in channels]
        timeout = min(timeout, self._max_wait)
        with self._log.changed:
            self._log.polls += 1
            self._log.changed.notify_all()
            self._log.changed.wait_for(lambda: self._ready(wanted), timeout)
            self._check()
            return [each for channel in wanted for each in self._take(channel)]

    def oldest(self, channel: str) -> Position | None:
        """Return the position of the oldest record kept, None if there is none."""
        first, end = self._bounds(channel)
        return position_of(channel, first) if first < end else None

    def newest(self, channel: str) -> Position | None:
        """Return the position of the newest record, None if there is none."""
        first, end = self._bounds(channel)
        return position_of(channel, end - 1) if first < end else None

    def written_since(self, channel: str, seconds: float) -> Position | None:
        """Return the position of the first record of a time or later."""
        self._check()
        number = self._log.written_since(channel, seconds)
        return None if number is None else position_of(channel, number)

    def holds(self, start: Position, *, inclusive: bool = True) -> bool:
        """Tell whether reading can begin at ``start`` without missing a record."""
        self._check()
        bounds = self._log.bounds(start.channel)
        number = next_sequence(start, inclusive=inclusive)
        return bounds is not None and bounds[0] <= number <= bounds[1]

    def bytes_between(self, start: Position, end: Position | None = None) -> int | None:
        """Return how many bytes there are, as a test has it of each record."""
        self._check()
        each = self._log.record_bytes
        if each is None:
            return None
        first, behind = self._bounds(start.channel)
        stop = behind if end is None else min(behind, sequence_of(end))
        return each * max(0, stop - max(first, sequence_of(start)))

    def position(self, channel: str, message_id: bytes) -> Position:
        """Return the position of an id as Milvus keeps it; see ``WalReader``."""
        named = Position(channel, message_id, message_id.hex())
        return position_of(channel, sequence_of(named))

    def reached(self, position: Position, mark: Position) -> bool:
        """Tell whether ``position`` is ``mark`` or comes after it in their channel."""
        return sequence_of(position) >= sequence_of(mark)

    def kept_seconds(self, channel: str) -> float | None:
        """Return what the test set."""
        self._check()
        return self._log.kept_seconds

    def close(self) -> None:
        """Stop at once. Idempotent; any thread."""
        with self._log.changed:
            self._closed = True
            self._log.changed.notify_all()

    def _check(self) -> None:
        if self._closed:
            raise TransientError("the reader of the log is closed")
        if self._stops != self._log.stops:
            raise TransientError(_AWAY)

    def _bounds(self, channel: str) -> tuple[int, int]:
        self._check()
        return self._log.bounds(channel) or (1, 1)

    def _ready(self, wanted: Iterable[str]) -> bool:
        broken = self._closed or self._stops != self._log.stops
        return broken or any(self._waits(channel) for channel in wanted)

    def _waits(self, channel: str) -> bool:
        bounds = self._log.bounds(channel)
        return bounds is not None and (self._next[channel] or bounds[0]) != bounds[1]

    def _take(self, channel: str) -> list[Record]:
        bounds = self._log.bounds(channel)
        if bounds is None:
            return []
        number = self._next[channel] or bounds[0]
        if number < bounds[0]:
            raise PositionLostError(
                f"{channel}: record {number} was removed before it was read, the log "
                f"goes on at {bounds[0]}"
            )
        records = self._log.read(channel, number)
        self._next[channel] = number + len(records)
        return records
