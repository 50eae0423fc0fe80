"""The threads of one run that its appliers share: as many as work, and never many."""

from __future__ import annotations

import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from cdc_actors.alarms import ALARMS

if TYPE_CHECKING:
    from cdc_actors.pipeline.applier import Applier

ROWS_AT_ONCE = 16
"""How many collections' rows are sent at once."""

OPERATIONS_AT_ONCE = 4
"""How many collections are created, dropped, loaded and so on at once: a Milvus does one
after the other, and of a thousand asked at once most would wait beyond their deadline."""

LINGER_SECONDS = 2.0
"""How long a thread waits for more to do. An allocator keeps memory for each thread that
is new: where one goes on, the rows of a busy collection take it once."""


class ApplierPool:
    """Gives appliers that have work a thread, first come, first served.

    Any thread may use it. An applier that has more to do stands in line again, so that
    none waits for ever. Operations have threads of their own, so that rows never wait
    behind those of other collections. A thread ends when nobody has stood in line for a
    while.
    """

    def __init__(self) -> None:
        self._rows = _Lane(self, "rows", ROWS_AT_ONCE)
        self._operations = _Lane(self, "operations", OPERATIONS_AT_ONCE)
        self._is_ended = False

    def submit(self, applier: Applier) -> None:
        """Have an applier do its work; it must not be in the pool already."""
        lane = self._operations if applier.has_operation_next else self._rows
        lane.add(applier)

    def submit_later(self, applier: Applier, seconds: float) -> None:
        """Have an applier do its work after a while; it must not be in the pool."""
        ALARMS.call_later(seconds, partial(self._resubmit, applier))

    def join(self, seconds: float) -> None:
        """Wait for the threads to end, so long at most; who pauses goes on no more."""
        self._is_ended = True
        self._rows.close()
        self._operations.close()
        deadline = time.monotonic() + seconds
        for thread in (*self._rows.threads, *self._operations.threads):
            thread.join(max(0.0, deadline - time.monotonic()))

    def _resubmit(self, applier: Applier) -> None:
        if not self._is_ended:
            self.submit(applier)


class _Lane:
    """Appliers in line, and the threads that serve them."""

    def __init__(self, pool: ApplierPool, name: str, limit: int) -> None:
        self.threads: tuple[threading.Thread, ...] = ()
        self._pool = pool
        self._name = name
        self._limit = limit
        self._line: deque[Applier] = deque()
        self._changed = threading.Condition()
        self._idle = 0  # Threads that take, or are about to take, the next in line.
        self._is_closed = False

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def add(self, applier: Applier) -> None:
        with self._changed:
            self._line.append(applier)
            if self._idle >= len(self._line):
                self._changed.notify()
            elif len(self.threads) < self._limit:
                self._idle += 1
                thread = threading.Thread(
                    target=self._serve, name=f"applier-{self._name}", daemon=True
                )
                self.threads += (thread,)
                thread.start()

    def _serve(self) -> None:
        while (applier := self._next()) is not None:
            has_more = applier.step()
            with self._changed:
                self._idle += 1
            if not has_more:
                continue
            if pause := applier.pause:
                self._pool.submit_later(applier, pause)
            else:
                self._pool.submit(applier)

    def _next(self) -> Applier | None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._line or self._is_closed, LINGER_SECONDS
            )
            self._idle -= 1
            if self._line:
                return self._line.popleft()
            ended = threading.current_thread()
            self.threads = tuple(each for each in self.threads if each is not ended)
            return None
