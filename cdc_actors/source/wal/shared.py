"""One reader of a log's end for all tasks of a source.

Each task has a ``WalReader`` as if the log were read for it alone. A channel of which it is
behind is read by a reader of its own. Once it has come to the end of the log it goes on
there in the channel's tail, which one reader fills for all. Who does not keep up, so that
what comes next is not in the tail any more, reads by itself again: who has come furthest
sets the pace, and nobody holds up another.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from cdc_actors.errors import TransientError
from cdc_actors.source.wal.base import WalReader
from cdc_actors.source.wal.buffer import RECORD_OVERHEAD, TAKEN_BYTES
from cdc_actors.source.wal.channel import Channel
from cdc_actors.source.wal.head import Head
from cdc_actors.source.wal.tail import Point

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from cdc_actors.changes import Position, Record
    from cdc_actors.memory_budget import MemoryBudget, Quota
    from cdc_actors.source.wal.tail import SharedRecord

SHARE = 0.125
"""How much of the memory that is free the tails may hold, and what is fetched for them."""

END_SECONDS = 0.15
"""How long nothing comes at the end of the log, where ticks are 0.2 s apart. For less it
may be on its way: amid a backlog Kafka lets one wait for some hundredths, and who
goes over to the tail there reads on by a reader that first has to be opened."""

SLICE_SECONDS = 0.01
"""How long a reader of one's own is waited for while tails are read, too."""

STOP_SECONDS = 1.0


class SharedLogs:
    """The logs that are read in this process. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logs: list[SharedLog] = []

    def open(
        self,
        source: object,
        opened: Callable[[Quota], WalReader],
        memory: MemoryBudget,
        quota: Quota,
    ) -> WalReader:
        """Open a reader of the log of ``source``: it is shared by all of an equal one.

        ``quota`` is what the reader may fetch for itself alone, a part of ``memory``.
        ``opened`` opens one that is not shared; raises as it does. A log that is streamed
        is not shared: there a position is not of one record alone.
        """
        reader = opened(quota)
        if reader.is_streamed:
            return reader
        with self._lock:
            log = self._log_of(source, opened, memory)
            log.users += 1
        return SharedReader(self, log, reader, lambda: opened(quota))

    def leave(self, log: SharedLog) -> None:
        """Know that a reader was closed; the last one ends the reading."""
        with self._lock:
            log.users -= 1
            is_last = not log.users
            if is_last:
                self._logs.remove(log)
        if is_last:
            log.close()

    def _log_of(
        self,
        source: object,
        opened: Callable[[Quota], WalReader],
        memory: MemoryBudget,
    ) -> SharedLog:
        for log in self._logs:
            if log.source == source and log.memory is memory:
                return log
        log = SharedLog(source, opened, memory)
        self._logs.append(log)
        return log


class SharedLog:
    """The end of one log, as long as it has ``users``. All but those need its ``lock``."""

    def __init__(
        self,
        source: object,
        opened: Callable[[Quota], WalReader],
        memory: MemoryBudget,
    ) -> None:
        self.source = source
        self.memory = memory
        self.users = 0
        self.lock = threading.Lock()
        self._opened = opened
        self._head: Head | None = None

    @property
    def head(self) -> Head:
        """The one that fills tails; another one once it cannot any more."""
        if self._head is None or self._head.is_over:
            self._head = Head(self._opened, self.memory.quota(SHARE), self.lock)
            self._head.start()
        return self._head

    def close(self) -> None:
        """Read no more; takes the lock itself."""
        with self.lock:
            if self._head is not None:
                self._head.close()
        if self._head is not None:
            self._head.join(STOP_SECONDS)


class SharedReader(WalReader):
    """A ``WalReader`` for one task, which others share as far as it keeps up.

    Args:
        logs: Where it is told that it was closed.
        log: The log's end.
        reader: A reader of its own.
        reopen: Opens another one.
    """

    def __init__(
        self,
        logs: SharedLogs,
        log: SharedLog,
        reader: WalReader,
        reopen: Callable[[], WalReader],
    ) -> None:
        self._arrived = threading.Condition(log.lock)
        self._logs = logs
        self._log = log
        self._reopen = reopen
        self._own = reader
        self._is_own_open = True
        self._own_channels: set[str] = set()
        self._waited = 0.0
        self._channels: dict[str, Channel] = {}
        self._rests = False
        self._wake: Callable[[], None] | None = None
        self._closed = False

    def subscribe(
        self, channel: str, start: Position | None, *, inclusive: bool = True
    ) -> None:
        """Deliver ``channel`` from ``start`` on; see ``WalReader``.

        Raises:
            ValueError: The channel is already subscribed to.
        """
        if channel in self._channels:
            raise ValueError(f"{channel} is already subscribed to")
        new = Channel(channel, Point(start, inclusive))
        with self._arrived:
            self._rise()
            self._join(new, at_end=False)
        if new.tail is None:
            self._read_alone([new])
        self._channels[channel] = new

    def poll(
        self, timeout: float, channels: Collection[str] | None = None
    ) -> list[Record]:
        """Return what has arrived; see ``WalReader``."""
        deadline = time.monotonic() + timeout
        each = self._channels.values()
        wanted = [c for c in each if channels is None or c.name in channels]
        while True:
            records = self._poll(wanted, max(0.0, deadline - time.monotonic()))
            if records or time.monotonic() >= deadline:
                return records

    def rest(self, wake: Callable[[], None], ignores: Callable[[int], bool]) -> bool:
        """Have ``wake`` called when there is something to poll; see ``WalReader``."""
        with self._arrived:
            channels = self._channels.values()
            if self._closed or not all(each.is_at_end(self) for each in channels):
                return False
            for each in channels:
                each.rest(self, ignores)
            self._rests, self._wake = True, wake
            return True

    def hear(self) -> None:
        """Know that something has come in a tail, or that nothing will.

        The head's thread, with the lock.
        """
        wake, self._wake = self._wake, None
        if wake is not None:
            wake()
        else:
            self._arrived.notify()

    def passed(self) -> dict[str, int]:
        """Return by channel the newest tick that ever came at rest; see ``WalReader``."""
        with self._arrived:
            return {
                each.name: tick
                for each in tuple(self._channels.values())
                if (tick := each.newest_passed(self))
            }

    def oldest(self, channel: str) -> Position | None:
        """Return the position of the oldest record kept, None if there is none."""
        return self._alone().oldest(channel)

    def newest(self, channel: str) -> Position | None:
        """Return the position of the newest record, None if there is none."""
        return self._alone().newest(channel)

    def newest_of(self, channels: Sequence[str]) -> dict[str, Position | None]:
        """Return what ``newest`` does of several channels."""
        return self._alone().newest_of(channels)

    def written_since(self, channel: str, seconds: float) -> Position | None:
        """Return the first record of a time or later; see ``WalReader``."""
        return self._alone().written_since(channel, seconds)

    def holds(self, start: Position, *, inclusive: bool = True) -> bool:
        """Tell whether reading can begin at ``start`` without missing a record."""
        return self._alone().holds(start, inclusive=inclusive)

    def bytes_between(self, start: Position, end: Position | None = None) -> int | None:
        """Return how many bytes there are from a record on; see ``WalReader``."""
        return self._alone().bytes_between(start, end)

    def position(self, channel: str, message_id: bytes) -> Position:
        """Return the position of an id as Milvus keeps it; see ``WalReader``."""
        return self._own.position(channel, message_id)

    def reached(self, position: Position, mark: Position) -> bool:
        """Tell whether ``position`` is ``mark`` or comes after it in their channel."""
        return self._own.reached(position, mark)

    def kept_seconds(self, channel: str) -> float | None:
        """Return for how long the queue keeps a record; see ``WalReader``."""
        return self._alone().kept_seconds(channel)

    def close(self) -> None:
        """Stop within a second and release everything. Idempotent; any thread."""
        with self._arrived:
            is_first, self._closed = not self._closed, True
            for each in list(self._channels.values()):
                self._leave_tail(each)
            self._arrived.notify()
        self._own.close()
        if is_first:
            self._logs.leave(self._log)

    def _poll(self, wanted: list[Channel], timeout: float) -> list[Record]:
        alone = [each for each in wanted if each.tail is None]
        tailed = [each for each in wanted if each.tail is not None]
        records = self._take(tailed, 0.0 if alone else timeout)
        if records:
            timeout = 0.0
        if alone:
            wait = min(timeout, SLICE_SECONDS) if tailed else timeout
            records += self._poll_own(alone, wait)
        if self._is_own_open and all(each.tail for each in self._channels.values()):
            self._close_own()
        return records

    def _take(self, tailed: list[Channel], timeout: float) -> list[Record]:
        """Return what the tails have; who is not in one any more reads alone again."""
        records: list[Record] = []
        with self._arrived:
            self._rise()
            records += self._take_ticks(tailed)
            wait = 0.0 if records else timeout
            self._arrived.wait_for(lambda: self._has_news(tailed), wait)
            self._check_open()
            room = TAKEN_BYTES
            for each in tailed:
                taken = self._take_from(each, room)
                records += taken
                room -= sum(len(r.payload) + RECORD_OVERHEAD for r in taken)
                if room <= 0:
                    break
            broken = (each.tail.error for each in tailed if each.tail)
            error = None if records else next(filter(None, broken), None)
        if error is not None:
            raise error
        self._read_alone([each for each in tailed if each.tail is None])
        return records

    def _rise(self) -> None:
        if self._rests:
            self._rests, self._wake = False, None
            for each in self._channels.values():
                each.rise(self)

    def _take_ticks(self, tailed: list[Channel]) -> list[SharedRecord]:
        found = [each.tick for each in tailed if each.tick is not None]
        for each in tailed:
            each.tick = None
        return found

    def _has_news(self, tailed: list[Channel]) -> bool:
        news = (each.tail.has_news(self) for each in tailed if each.tail)
        return self._closed or any(news)

    def _take_from(self, each: Channel, at_most: int) -> list[SharedRecord]:
        """Leave a tail that does not have what comes next.

        What is wrong with one channel, perhaps another task's, the reader that is not
        shared finds out, or does not.
        """
        if each.tail is None or each.head is None:
            return []
        taken = each.tail.take(self, at_most)
        if taken:
            each.last = taken[-1]
            each.head.wake()
            return taken
        error = each.tail.error
        if taken is None or not isinstance(error, TransientError | None):
            self._leave_tail(each)
        return []

    def _poll_own(self, alone: list[Channel], timeout: float) -> list[Record]:
        """Return what comes of channels of which the end was not reached yet."""
        records = self._alone().poll(timeout, [each.name for each in alone])
        for record in records:
            self._channels[record.channel].last = record
        self._waited = 0.0 if records else self._waited + timeout
        with self._arrived:
            self._check_open()
            for each in alone:
                self._join(each, at_end=self._waited >= END_SECONDS)
        return records

    def _join(self, each: Channel, *, at_end: bool) -> None:
        """Go on in the channel's tail if that has come to where this reader is."""
        head = self._log.head
        tail = head.tail(each.name)
        if tail is None and at_end:
            tail = head.follow(each.name, each.point, self._own.reached)
        if tail is not None and tail.join(self, each.point):
            each.tail, each.head = tail, head

    def _leave_tail(self, each: Channel) -> None:
        if each.tail is not None and each.head is not None:
            each.head.leave(self, each.name, each.tail)
            each.tail = each.head = None

    def _read_alone(self, new: list[Channel]) -> None:
        """Read channels by the reader of one's own, each from where it stands."""
        if any(each.name in self._own_channels for each in new):
            # It has gone on there meanwhile, and no reader leaves a channel.
            self._close_own()
        behind = [each for each in self._channels.values() if each.tail is None]
        for each in (*behind, *new):
            if each.name not in self._own_channels:
                start, own = each.point, self._alone()
                own.subscribe(each.name, start.position, inclusive=start.inclusive)
                self._own_channels.add(each.name)

    def _alone(self) -> WalReader:
        """Return the reader of one's own, opened again if it is closed."""
        self._check_open()
        if not self._is_own_open:
            self._own = self._reopen()
            self._is_own_open = True
            if self._closed:
                self._own.close()
        return self._own

    def _close_own(self) -> None:
        self._own.close()
        self._is_own_open = False
        self._own_channels = set()

    def _check_open(self) -> None:
        if self._closed:
            raise TransientError("the reader of the log is closed")
