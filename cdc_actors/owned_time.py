"""For how long this process may write to targets."""

from __future__ import annotations

import math
from typing import Protocol


class OwnedTime(Protocol):
    """What is left of the time in which nobody else can write. Any thread may use it."""

    def time_left(self) -> float:
        """Return how many seconds that is; none if it is not positive."""

    def note_request(self, seconds: float) -> None:
        """Know how long a request took that was to end within that time."""


class _Forever:
    def time_left(self) -> float:
        return math.inf

    def note_request(self, seconds: float) -> None:
        pass


FOREVER: OwnedTime = _Forever()
"""Where the process does not write any more once another may."""
