"""The way of data between a reader and its appliers: bounded in bytes.

Actors' mailboxes carry small control messages only; rows wait here.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cdc_actors.actors.work import Work


class Budget:
    """The bytes that one task may hold. Any thread may use it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._changed = threading.Condition()

    def take(self, size: int) -> None:
        """Count bytes as held; never blocks: the reader asks ``wait`` before it reads."""
        with self._changed:
            self._used += size

    def give(self, size: int) -> None:
        """Count bytes as let go."""
        with self._changed:
            self._used -= size
            self._changed.notify_all()

    def wait(self, timeout: float) -> bool:
        """Wait until there is room; tell whether there is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._used < self._limit, timeout)


class Inbox:
    """What one applier has to do, in order. Any thread may use it."""

    def __init__(self) -> None:
        self._items: deque[Work] = deque()
        self._lock = threading.Lock()

    def put(self, item: Work) -> bool:
        """Add an item; tell whether the inbox was empty, so that somebody must be told."""
        with self._lock:
            self._items.append(item)
            return len(self._items) == 1

    def take(self) -> list[Work]:
        """Return all that is there, oldest first, and forget it."""
        with self._lock:
            items = list(self._items)
            self._items.clear()
            return items
