"""A lock that whoever waits for it gets in turn.

``threading.Lock`` is whoever's is quickest: a thread that gives it back and wants it again
at once mostly has it again, so that others may wait for as long as it goes on.
"""

from __future__ import annotations

from collections import deque
from threading import Event, Lock


class FairLock:
    """Held by one thread at a time, in the order in which they asked for it."""

    def __init__(self) -> None:
        self._guard = Lock()
        # The first one's turn it is.
        self._turns: deque[Event] = deque()

    def acquire(self, timeout: float) -> bool:
        """Wait for the lock, ``timeout`` seconds at most; tell whether it is held now."""
        turn = Event()
        with self._guard:
            self._turns.append(turn)
            if self._turns[0] is turn:
                return True
        if turn.wait(timeout):
            return True
        with self._guard:
            if self._turns[0] is turn:
                return True
            self._turns.remove(turn)
            return False

    def release(self) -> None:
        """Let the next one have it. Whoever holds it calls this, once."""
        with self._guard:
            self._turns.popleft()
            if self._turns:
                self._turns[0].set()
