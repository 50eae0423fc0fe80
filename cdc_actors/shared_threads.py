"""Threads that many share, for what is to be done soon."""

from __future__ import annotations

import queue
import threading
from collections import deque
from typing import TYPE_CHECKING

from cdc_actors.alarms import ALARMS

if TYPE_CHECKING:
    from collections.abc import Callable

    _Given = queue.SimpleQueue[Callable[[], None]]

LINGER_SECONDS = 2.0
"""How long a thread waits for more to do."""

FEW = 8
"""How many threads there are before it is looked whether more are needed."""

PATIENCE_SECONDS = 0.02
"""How long work waits for one of them, if they are all busy."""


class Threads:
    """Threads that share what there is to do. Any thread may use it.

    A few do what is short, however much of it comes at once. Where those do not get on
    there are more of them within moments: none waits for another to end. Of those that
    are free the one has work next that had it last, so that the others come to an end.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._line: deque[Callable[[], None]] = deque()
        self._free: list[_Given] = []
        self._busy = 0
        self._is_watched = False
        self._taken = 0

    def submit(self, work: Callable[[], None]) -> None:
        """Have something done soon."""
        with self._lock:
            if self._free:
                self._free.pop().put(work)
                self._busy += 1
            elif self._busy < FEW:
                self._start(work)
            else:
                self._line.append(work)
                self._watch()

    def _watch(self) -> None:
        if not self._is_watched:
            self._is_watched, self._taken = True, 0
            ALARMS.call_later(PATIENCE_SECONDS, self._relieve)

    def _relieve(self) -> None:
        """Have twice as many threads if those that there are hardly get on."""
        with self._lock:
            self._is_watched = False
            if self._taken < FEW:
                for _ in range(min(self._busy, len(self._line))):
                    self._start(self._line[0])
                    self._line.popleft()
            if self._line:
                self._watch()

    def _start(self, work: Callable[[], None]) -> None:
        threading.Thread(
            target=self._serve, args=[work], name=self._name, daemon=True
        ).start()
        self._busy += 1

    def _serve(self, first: Callable[[], None]) -> None:
        given: _Given = queue.SimpleQueue()
        work: Callable[[], None] | None = first
        del first
        while work is not None:
            try:
                work()
            except BaseException:
                with self._lock:
                    self._busy -= 1
                raise
            del work  # It may hold much, and the next be long in coming.
            work = self._next(given)

    def _next(self, given: _Given) -> Callable[[], None] | None:
        with self._lock:
            if self._line:
                self._taken += 1
                return self._line.popleft()
            self._busy -= 1
            self._free.append(given)
        try:
            return given.get(timeout=LINGER_SECONDS)
        except queue.Empty:
            with self._lock:
                if given in self._free:
                    self._free.remove(given)
                    return None
        return given.get()
