"""What has been fetched and not yet been polled."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cdc_actors.changes import Record
    from cdc_actors.errors import CdcError

RECORD_OVERHEAD = 256
"""Bytes of memory that a record takes beside its payload, at most."""


class RecordBuffer:
    """Hands records from the thread that fetches to the one that polls.

    Does not bound itself: who fetches looks at ``size`` first. Any thread may call.

    Args:
        taken: Called by the polling thread after it has taken records out.
    """

    def __init__(self, taken: Callable[[], None]) -> None:
        self._taken = taken
        self._changed = threading.Condition()
        self._records: list[Record] = []
        self._sizes: defaultdict[str, int] = defaultdict(int)
        self._error: CdcError | None = None

    def put(self, records: Sequence[Record]) -> None:
        """Add records; after ``fail`` they are dropped, as they may follow a gap."""
        with self._changed:
            if self._error is not None:
                return
            self._records.extend(records)
            for record in records:
                size = len(record.payload) + RECORD_OVERHEAD
                self._sizes[record.position.channel] += size
            self._changed.notify()

    def fail(self, error: CdcError) -> None:
        """Let ``take`` raise the first ``error`` once what came before is taken."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify()

    def close(self, error: CdcError) -> None:
        """Forget everything and let ``take`` raise ``error`` at once."""
        with self._changed:
            self._records, self._error = [], error
            self._sizes.clear()
            self._changed.notify()

    def size(self, channel: str) -> int:
        """Return the bytes that the channel's records take."""
        with self._changed:
            return self._sizes.get(channel, 0)

    def take(self, timeout: float) -> list[Record]:
        """Return all records in the order they came, waiting ``timeout`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._records or self._error, timeout)
            if not self._records:
                if self._error is not None:
                    raise self._error
                return []
            records, self._records = self._records, []
            self._sizes.clear()
        self._taken()
        return records
