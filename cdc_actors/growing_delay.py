"""How long to wait before something that failed is tried again."""

from __future__ import annotations

import random

_random = random.Random()  # noqa: S311 - spreads load, no secret
"""Not the one that everything in the process shares: what others draw stays theirs."""


def growing_delay(attempt: int, first: float, longest: float) -> float:
    """Return the seconds to wait after the ``attempt``-th failure: doubling, jittered."""
    seconds = min(longest, first * 2.0 ** min(attempt - 1, 20))
    return seconds * _random.uniform(0.8, 1.2)
