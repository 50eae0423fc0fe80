"""One ceiling in bytes for the rows that the whole service holds.

Tasks share it as packet switches share their buffers: each may hold a multiple of what is
free just now (Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory
Packet Switches", 1998). One task alone may use most of it, many get equal parts, and some
is always free for one that only begins, whatever the others' targets do.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class MemoryBudget:
    """The bytes that may be held, and those that are. Any thread may use it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0
        self._changed = threading.Condition()

    @property
    def used(self) -> int:
        """How many bytes all quotas hold together."""
        return self._used

    @property
    def free(self) -> int:
        """How many bytes nobody holds; below 0 where more was read than fits."""
        return self.limit - self._used

    def quota(self, share: float) -> Quota:
        """Open a quota that may hold ``share`` times what is free."""
        return Quota(self, share)

    def change(self, size: int) -> None:
        """Count so many bytes more, or fewer."""
        with self._changed:
            self._used += size
            if size < 0:
                self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until something true of what is held; return whether it is."""
        with self._changed:
            return self._changed.wait_for(condition, timeout)


class MemoryHold:
    """Bytes that something keeps counted until it releases them.

    What keeps the bytes carries the hold: one thread at a time uses it.
    """

    __slots__ = ("_quota", "size")

    def __init__(self, quota: Quota, size: int) -> None:
        self._quota = quota
        self.size = 0
        self.resize(size)

    def resize(self, size: int) -> None:
        """Keep ``size`` bytes counted from now on."""
        if size != self.size:
            self._quota.change(size - self.size)
            self.size = size

    def release(self) -> None:
        """Count nothing any more. Idempotent."""
        self.resize(0)


class Quota:
    """The part of the memory that one holder may use. Any thread may use it.

    Holding never blocks and is never refused, for what has been read must go somewhere:
    who reads asks for room first.
    """

    def __init__(self, memory: MemoryBudget, share: float) -> None:
        self._memory = memory
        self._share = share
        self._held = 0
        self._closed = False
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """How many bytes are held."""
        return self._held

    @property
    def free(self) -> int:
        """How many bytes of the whole memory nobody holds."""
        return self._memory.free

    @property
    def limit(self) -> int:
        """How many bytes the whole memory has."""
        return self._memory.limit

    def hold(self, size: int) -> MemoryHold:
        """Count bytes as held until what is returned is released."""
        return MemoryHold(self, size)

    def change(self, size: int) -> None:
        """Count so many bytes more, or fewer; nothing once it is closed."""
        with self._lock:
            if self._closed:
                return
            self._held += size
        self._memory.change(size)

    def has_room(self) -> bool:
        """Tell whether more may be read."""
        return self._held < self._share * self._memory.free

    def wait_for(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until something true of what is held; return whether it is."""
        return self._memory.wait_for(condition, timeout)

    def close(self) -> None:
        """Let go of everything; who still holds some is no longer counted. Idempotent."""
        with self._lock:
            held, self._held, self._closed = self._held, 0, True
        self._memory.change(-held)
