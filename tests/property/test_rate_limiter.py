"""A target's limit is approached and kept to, whatever it is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_actors.target.rate_limiter import (
    FIRST_DELAY,
    INCREASE,
    LONGEST_DELAY,
    LOWEST_RATE,
    RateLimiter,
)

SECONDS = 300.0


class TokenBucket:
    """A token bucket that takes a request as long as it is not empty, as Milvus does."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._tokens = rate
        self._at = 0.0

    def takes(self, size: int, now: float) -> bool:
        """Tell whether a request is let through."""
        grown = self._tokens + (now - self._at) * self._rate
        self._tokens, self._at = min(self._rate, grown), now
        if self._tokens <= 0:
            return False
        self._tokens -= size
        return True


@settings(deadline=None)
@given(st.integers(64 << 10, 16 << 20), st.integers(16 << 10, 4 << 20))
def test_most_of_the_limit_is_used_and_few_requests_are_refused(
    limit: int, size: int
) -> None:
    """Over five minutes at least half of the limit goes through, and refusals are rare."""
    limiter, target = RateLimiter(), TokenBucket(limit)
    now, taken, refused = 0.0, 0, 0
    while now < SECONDS:
        now += limiter.delay(size, now) + 0.001
        if target.takes(size, now):
            limiter.on_success()
            taken += size
        else:
            limiter.on_rejected(size, now)
            refused += 1
    assert taken >= min(limit * SECONDS / 2, size * SECONDS / LONGEST_DELAY / 2)
    assert refused <= SECONDS / FIRST_DELAY


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 3)), max_size=100))
def test_waits_are_bounded_and_the_rate_moves_as_told(
    answers: list[tuple[bool, float]],
) -> None:
    """A refusal never raises the rate, being taken adds to it; no wait is for ever."""
    limiter, now = RateLimiter(), 0.0
    for was_taken, passed in answers:
        now += passed
        before = limiter.rate
        assert 0 <= limiter.delay(1 << 20, now) <= LONGEST_DELAY + 1e-6
        if was_taken:
            limiter.on_success()
            assert limiter.rate == (None if before is None else before + INCREASE)
        else:
            limiter.on_rejected(1 << 20, now)
            assert limiter.rate is not None
            assert limiter.rate >= LOWEST_RATE
            assert before is None or limiter.rate <= max(before, LOWEST_RATE)


def test_without_a_refusal_nothing_is_held_back() -> None:
    """A target without limits gets everything at once."""
    limiter = RateLimiter()
    assert [limiter.delay(1 << 30, 0.0) for _ in range(9)] == [0.0] * 9
