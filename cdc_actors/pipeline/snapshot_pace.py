"""How fast the rows of files come: what is left of them takes so long, and no faster.

Pure, but for the clock and the waiting that it is given.
"""

from __future__ import annotations

import threading
import time
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MEASURED_SECONDS = 2.0
"""From when on something can be said of how long the rest takes."""

_LOOK_SECONDS = 0.25


class Pace:
    """How many bytes of files one run does in a second. Any thread may use it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._done = 0
        self._worked = 0.0
        self._since: float | None = None

    def work(self) -> None:
        """Know that from now on something is done."""
        self._since = self._clock()

    def rest(self) -> None:
        """Know that nothing is done for now."""
        self._worked, self._since = self._seconds(), None

    def note(self, size: int) -> None:
        """Count bytes that are done."""
        self._done += size

    def seconds_for(self, size: int) -> float | None:
        """Return how long so many bytes will take, None while that is unknown."""
        seconds = self._seconds()
        if seconds < MEASURED_SECONDS or self._done <= 0:
            return None
        return size * seconds / self._done

    def _seconds(self) -> float:
        since = self._since
        return self._worked + (0.0 if since is None else self._clock() - since)


class Throttle:
    """Lets so many bytes a second pass, of all tasks together. Any thread may use it.

    ``rate`` is in bytes a second, 0 for no limit. ``wait`` waits for some seconds.
    """

    def __init__(
        self,
        rate: int,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._wait = wait
        self._free_at = 0.0
        self._lock = threading.Lock()

    def take(self, size: int, check: Callable[[], None]) -> None:
        """Wait until so many bytes may pass; ``check`` raises if they need not any more."""
        if not self._rate:
            return
        with self._lock:
            start = max(self._free_at, self._clock())
            self._free_at = start + size / self._rate
        while (left := start - self._clock()) > 0:
            check()
            self._wait(min(left, _LOOK_SECONDS))


@cache
def throttle(rate: int) -> Throttle:
    """Return that of the process for a rate, which its configuration names once."""
    return Throttle(rate)
