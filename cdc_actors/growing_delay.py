"""How long to wait before something that failed is tried again."""

from __future__ import annotations

import random


def growing_delay(attempt: int, first: float, longest: float) -> float:
    """Return the seconds to wait after the ``attempt``-th failure: doubling, jittered."""
    seconds = min(longest, first * 2.0 ** min(attempt - 1, 20))
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, no secret
