"""What has been fetched and not yet been polled."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from cdc_actors.changes import Record
    from cdc_actors.errors import CdcError
    from cdc_actors.memory_budget import Quota

RECORD_OVERHEAD = 256
"""Bytes of memory that a record takes beside its payload, at most."""

TAKEN_BYTES = 4 << 20
"""Bytes that are taken at once, and what the last batch has beyond."""


@dataclass(frozen=True, slots=True)
class _Batch:
    channel: str
    records: list[Record]
    size: int


class RecordBuffer:
    """Hands records from the thread that fetches to the one that polls.

    Does not bound itself: who fetches asks ``may_fetch`` first. Any thread may call.

    Args:
        taken: Called by the polling thread with the channels that it has taken records
            of. Whoever waits for room has some there, or need not wait.
        quota: What the records may take of the memory, None for no common bound.
    """

    def __init__(self, taken: Callable[[set[str]], None], quota: Quota | None) -> None:
        self._taken = taken
        self._quota = quota
        self._changed = threading.Condition()
        self._batches: deque[_Batch] = deque()
        self._sizes: defaultdict[str, int] = defaultdict(int)
        self._error: CdcError | None = None

    def put(self, channel: str, records: list[Record]) -> None:
        """Add records; after ``fail`` they are dropped, as they may follow a gap."""
        size = sum([len(record.payload) + RECORD_OVERHEAD for record in records])
        with self._changed:
            if self._error is not None or not records:
                return
            self._batches.append(_Batch(channel, records, size))
            self._count(channel, size)
            self._changed.notify()

    def fail(self, error: CdcError) -> None:
        """Let ``take`` raise the first ``error`` once what came before is taken."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify()

    def close(self, error: CdcError) -> None:
        """Forget everything and let ``take`` raise ``error`` at once."""
        with self._changed:
            self._error = error
            while self._batches:
                batch = self._batches.popleft()
                self._count(batch.channel, -batch.size)
            self._changed.notify()

    @property
    def held(self) -> int:
        """The bytes that all records take which are there."""
        with self._changed:
            return sum(self._sizes.values())

    def size(self, channel: str) -> int:
        """Return the bytes that the channel's records take."""
        with self._changed:
            return self._sizes.get(channel, 0)

    def may_fetch(self, channel: str, at_most: int) -> bool:
        """Tell whether more of a channel may be fetched, which may hold ``at_most``.

        A channel of which nothing is there always may: it may be the one without which
        what was read of the others cannot go on.
        """
        size = self.size(channel)
        common = self._quota is None or self._quota.has_room()
        return size == 0 or (common and size <= at_most)

    def take(
        self, timeout: float, channels: Collection[str] | None = None
    ) -> list[Record]:
        """Return records in the order they came, waiting ``timeout`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._has(channels) or self._error, timeout)
            if not self._has(channels):
                if self._error is not None:
                    raise self._error
                return []
            records, taken = self._pop(channels)
        self._taken(taken)
        return records

    def _has(self, channels: Collection[str] | None) -> bool:
        if channels is None:
            return bool(self._batches)
        return any(self._sizes.get(channel) for channel in channels)

    def _pop(self, channels: Collection[str] | None) -> tuple[list[Record], set[str]]:
        room = TAKEN_BYTES
        records: list[Record] = []
        taken: set[str] = set()
        others: list[_Batch] = []
        while self._batches and room > 0:
            batch = self._batches.popleft()
            if channels is None or batch.channel in channels:
                records += batch.records
                taken.add(batch.channel)
                room -= batch.size
                self._count(batch.channel, -batch.size)
            else:
                others.append(batch)
        self._batches.extendleft(reversed(others))
        return records, taken

    def _count(self, channel: str, size: int) -> None:
        self._sizes[channel] += size
        if self._quota is not None:
            self._quota.change(size)
