"""How long to wait before something that failed is tried again."""

from __future__ import annotations

import random

jitter = random.Random().uniform  # noqa: S311 - spreads load, no secret
"""Returns a number between two; not of the process's own random numbers: what others draw
from these stays theirs."""


def growing_delay(attempt: int, first: float, longest: float) -> float:
    """Return the seconds to wait after the ``attempt``-th failure: doubling, jittered."""
    seconds = min(longest, first * 2.0 ** min(attempt - 1, 20))
    return seconds * jitter(0.8, 1.2)
