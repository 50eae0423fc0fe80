"""When a reader takes its next step: at once, when something comes, or after a while."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from cdc_actors.alarms import ALARMS

if TYPE_CHECKING:
    from collections.abc import Callable

IDLE_SECONDS = 10.0
"""How long a reader rests, at most: so old become the checkpoints that are saved of it.
Whatever it waits for wakes it, and which ticks pass meanwhile can be asked at any time."""


class Waking:
    """Asks for one step at a time, whoever wants it. Any thread may use it."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._is_asked = False
        self._has_alarm = False

    def note_step(self) -> None:
        """Know that the step that was asked for begins: what comes now wants another."""
        self._is_asked = False

    def wake(self) -> None:
        """Have a step taken soon."""
        with self._lock:
            was_asked, self._is_asked = self._is_asked, True
        if not was_asked:
            self._ask()

    def wake_later(self) -> None:
        """Have a step taken when the reader has rested for long enough."""
        with self._lock:
            had_alarm, self._has_alarm = self._has_alarm, True
        if not had_alarm:
            ALARMS.call_later(IDLE_SECONDS, self._ring)

    def _ring(self) -> None:
        self._has_alarm = False
        self.wake()
