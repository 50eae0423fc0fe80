"""Calls at a later time, by one thread for all."""

from __future__ import annotations

import heapq
import threading
import time
from itertools import count
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

_log = structlog.get_logger()


class Alarms:
    """Calls what is due in a thread that ends when nothing is. Any thread may use it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._is_served = False

    def call_later(self, seconds: float, action: Callable[[], None]) -> None:
        """Call something after a while, which must be short."""
        with self._changed:
            alarm = (time.monotonic() + seconds, next(self._numbers), action)
            heapq.heappush(self._heap, alarm)
            if not self._is_served:
                threading.Thread(target=self._serve, name="alarms", daemon=True).start()
                self._is_served = True
            elif self._heap[0] is alarm:
                self._changed.notify()

    def _serve(self) -> None:
        while (action := self._next()) is not None:
            try:
                action()
            except Exception:  # noqa: BLE001 - those of others are due all the same
                _log.error("alarm_failed", exc_info=True)

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while self._heap:
                left = self._heap[0][0] - time.monotonic()
                if left <= 0:
                    return heapq.heappop(self._heap)[-1]
                self._changed.wait(left)
            self._is_served = False
            return None


ALARMS = Alarms()
"""Those of the process."""
