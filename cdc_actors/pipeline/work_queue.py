"""The way of data between a reader and its appliers: bounded in bytes.

Actors' mailboxes carry small control messages only; rows and operations wait here.

All that one run holds counts towards its part of the service's memory: what waits for a
tick, at a barrier, for the drop of a collection's predecessor, for the applier, and for the
target's answer. Who reads waits for room, but never for ever:

- Work that an applier has comes to its end without anything more being read: the target
  answers, or does not and the run fails. While there is some, waiting is safe. What waits
  for a collection to be tried again counts only where it holds much.
- Rows that wait for a tick, a barrier or a predecessor go on only when more of the log is
  read, of the channels that have not come so far. When those rows alone fill the memory
  and no applier has anything to do, exactly those channels are read on; the channels that
  are ahead wait in the log.
- If no channel is waited for either, what fills the memory is what was fetched ahead, or
  another task's. Then reading on moves the former, and is one poll beyond the latter.
"""

from __future__ import annotations

import threading
from collections import deque
from itertools import groupby
from typing import TYPE_CHECKING

from cdc_actors.replication.barriers import RowChunk

if TYPE_CHECKING:
    from cdc_actors.memory_budget import MemoryHold, Quota
    from cdc_actors.pipeline.work import Work


class RunBudget:
    """What one run holds of the service's memory. Any thread may use it."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._lock = threading.Lock()
        self._at_work = 0

    @property
    def at_work(self) -> int:
        """How many items of work the appliers have."""
        return self._at_work

    @property
    def free(self) -> int:
        """How many bytes of the service's memory nobody holds."""
        return self._quota.free

    @property
    def limit(self) -> int:
        """How many bytes the whole service may hold."""
        return self._quota.limit

    def hold(self, size: int) -> MemoryHold:
        """Count bytes as held; never blocks: the reader asks ``wait`` before it reads."""
        return self._quota.hold(size)

    def work_added(self) -> None:
        """Count one item more that an applier has to do."""
        with self._lock:
            self._at_work += 1

    def work_done(self, count: int = 1) -> None:
        """Count items less that an applier has to do now."""
        with self._lock:
            self._at_work -= count

    def wait(self, timeout: float) -> bool:
        """Wait for room, as long as there is work that makes some; tell if there is."""
        has_room = self._quota.has_room
        self._quota.wait_for(lambda: has_room() or not self._at_work, timeout)
        return has_room()

    def has_room(self, timeout: float) -> bool:
        """Wait for room, so long at most; tell if there is."""
        return self._quota.wait_for(self._quota.has_room, timeout)

    def close(self) -> None:
        """Hold nothing any more. Idempotent."""
        self._quota.close()


class WorkQueue:
    """What one applier has to do, in order. Any thread may add, one at a time takes."""

    def __init__(self) -> None:
        self._items: deque[Work] = deque()
        self._lock = threading.Lock()
        self._is_taken = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._items

    @property
    def has_operation_next(self) -> bool:
        """Whether an operation is in front, not rows."""
        with self._lock:
            return bool(self._items) and not _is_rows(self._items[0])

    def put(self, item: Work) -> bool:
        """Add an item; tell whether nobody takes any, so that somebody must be asked to."""
        with self._lock:
            self._items.append(item)
            begins, self._is_taken = not self._is_taken, True
            return begins

    def take(self) -> list[Work]:
        """Return, and forget, all rows, or all operations, that are in front, in order."""
        with self._lock:
            first = next(groupby(self._items, _is_rows), None)
            items = list(first[1]) if first else []
            for _ in items:
                self._items.popleft()
            return items

    def finish(self) -> bool:
        """Take no more if nothing waits; tell whether that is so."""
        with self._lock:
            self._is_taken = bool(self._items)
            return not self._is_taken


def _is_rows(item: Work) -> bool:
    return isinstance(item, RowChunk)
