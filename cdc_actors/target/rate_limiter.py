"""How fast a target takes rows that limits them: found out by asking, not configured.

Additive increase, multiplicative decrease, as TCP shares a link whose width nobody knows
(Chiu and Jain, "Analysis of the Increase and Decrease Algorithms", 1989). Until the target
refuses for the first time nothing is held back.
"""

from __future__ import annotations

DECREASE = 0.5
"""What remains of the rate after a refusal."""

INCREASE = 64 * 1024
"""Bytes a second by which the rate rises with each request that is taken."""

LOWEST_RATE = 4 * 1024
LONGEST_DELAY = 5.0
"""Seconds that one request waits at most: a target may lift its limit at any time."""

FIRST_DELAY = 1.0
"""Seconds between the refusal that shows that there is a limit and the next request."""


class RateLimiter:
    """The rate of one collection's requests. Pure; times are in seconds, from anywhere."""

    def __init__(self) -> None:
        self.rate: float | None = None
        """Bytes a second, None while nothing is known of a limit."""
        self._free_at = 0.0
        self._fell_at = 0.0

    def delay(self, size: int, now: float) -> float:
        """Return how long a request of so many bytes waits, and count it as sent then."""
        if self.rate is None:
            return 0.0
        start = min(max(self._free_at, now), now + LONGEST_DELAY)
        self._free_at = start + size / self.rate
        return start - now

    def on_success(self) -> None:
        """Note that the target took a request."""
        if self.rate is not None:
            self.rate += INCREASE

    def on_rejected(self, size: int, now: float) -> None:
        """Note that the target refused one for its limit.

        Requests that were under way together are refused together: that is one refusal.
        """
        if self.rate is None:
            self.rate = max(LOWEST_RATE, size / FIRST_DELAY)
        elif now - self._fell_at >= FIRST_DELAY:
            self.rate = max(LOWEST_RATE, self.rate * DECREASE)
        else:
            self._free_at = max(self._free_at, now + FIRST_DELAY)
            return
        self._fell_at = now
        self._free_at = now + FIRST_DELAY
