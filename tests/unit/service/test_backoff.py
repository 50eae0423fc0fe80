"""How often the failures of a task's runs are tried again, and when no more."""

from __future__ import annotations

import pytest

from cdc_actors.errors import AccessRefusedError, OperatorError, TransientError
from cdc_actors.service import backoff
from cdc_actors.service.backoff import (
    ACCEPTED_SECONDS,
    LONGEST_DELAY_WHEN_REFUSED,
    Retries,
)

REFUSAL = AccessRefusedError("no")
AWAY = TransientError("nobody is there")


class Clock:
    """A clock that a test turns on."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """Return what it says."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Yield the clock of all retries."""
    clock = Clock()
    monkeypatch.setattr(backoff, "time", clock)
    return clock


def test_a_refusal_that_lasts(clock: Clock) -> None:
    """It is tried again every few seconds, and no longer than its patience."""
    retries = Retries()
    waits = []
    while retries.failed(REFUSAL):
        waits.append(retries.delay())
        clock.now += waits[-1] + 0.5
    assert max(waits) == LONGEST_DELAY_WHEN_REFUSED
    assert REFUSAL.patience <= clock.now < REFUSAL.patience + 5


def test_refusals_that_pass(clock: Clock) -> None:
    """Each is one of its own where the task ran in between, however often it comes."""
    retries = Retries()
    for _ in range(20):
        assert retries.failed(REFUSAL)
        clock.now += retries.delay() + ACCEPTED_SECONDS + 1


def test_what_only_waits(clock: Clock) -> None:
    """A peer that is away is waited for without end, longer and longer."""
    retries = Retries()
    for _ in range(20):
        assert retries.failed(AWAY)
        wait = retries.delay()
        clock.now += wait
    assert wait > LONGEST_DELAY_WHEN_REFUSED
    assert not retries.failed(OperatorError("the disk is full"))
