"""What has been fetched and not yet been polled."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from cdc_actors.changes import Record
    from cdc_actors.errors import CdcError
    from cdc_actors.memory import Account

RECORD_OVERHEAD = 256
"""Bytes of memory that a record takes beside its payload, at most."""

TAKEN_BYTES = 4 << 20
"""Bytes that are taken at once; one record may be larger."""


class RecordBuffer:
    """Hands records from the thread that fetches to the one that polls.

    Does not bound itself: who fetches asks ``may_fetch`` first. Any thread may call.

    Args:
        taken: Called by the polling thread after it has taken records out.
        account: What the records may take of the memory, None for no common bound.
    """

    def __init__(self, taken: Callable[[], None], account: Account | None) -> None:
        self._taken = taken
        self._account = account
        self._changed = threading.Condition()
        self._records: deque[Record] = deque()
        self._sizes: defaultdict[str, int] = defaultdict(int)
        self._error: CdcError | None = None

    def put(self, records: Sequence[Record]) -> None:
        """Add records; after ``fail`` they are dropped, as they may follow a gap."""
        with self._changed:
            if self._error is not None:
                return
            self._records.extend(records)
            for record in records:
                self._count(record, 1)
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
            while self._records:
                self._count(self._records.popleft(), -1)
            self._changed.notify()

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
        common = self._account is None or self._account.has_room()
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
            records = list(self._pop(channels))
        self._taken()
        return records

    def _has(self, channels: Collection[str] | None) -> bool:
        if channels is None:
            return bool(self._records)
        return any(self._sizes.get(channel) for channel in channels)

    def _pop(self, channels: Collection[str] | None) -> Iterator[Record]:
        room = TAKEN_BYTES
        others: list[Record] = []
        while self._records and room > 0:
            record = self._records.popleft()
            if channels is None or record.position.channel in channels:
                room -= self._count(record, -1)
                yield record
            else:
                others.append(record)
        self._records.extendleft(reversed(others))

    def _count(self, record: Record, sign: int) -> int:
        """Count a record in or out; return its bytes."""
        size = len(record.payload) + RECORD_OVERHEAD
        self._sizes[record.position.channel] += sign * size
        if self._account is not None:
            self._account.take(sign * size)
        return size
