"""How long the rows of files take, and how fast they may come."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cdc_actors.pipeline.snapshot_jobs import SnapshotJob, progress
from cdc_actors.pipeline.snapshot_pace import Pace, Throttle


class Clock:
    """A clock that moves when it is told, or when somebody waits by it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    """Yield a clock of the test's own."""
    return Clock()


def job(number: int, size: int, total_size: int) -> SnapshotJob:
    """Return a collection of whose files so many bytes are done."""
    entry = SimpleNamespace(collection_id=number)
    return SnapshotJob(entry, again=False, size=size, total_size=total_size)


def test_the_rest_is_unknown_until_something_was_measured(clock):
    """Neither before the work began, nor in its first moment."""
    pace = Pace(clock)
    assert pace.seconds_for(100) is None
    pace.work()
    pace.note(10)
    assert pace.seconds_for(100) is None


def test_the_rest_takes_as_long_as_what_is_done_took(clock):
    """Times of rest between two collections do not count."""
    pace = Pace(clock)
    pace.work()
    clock.wait(10)
    pace.note(1000)
    pace.rest()
    clock.wait(1000)
    assert pace.seconds_for(500) == 5.0


def test_a_collection_waits_for_those_before_it(clock):
    """Its estimate has theirs in it; without one of theirs there is none."""
    pace = Pace(clock)
    pace.work()
    clock.wait(10)
    pace.note(100)
    jobs = [job(1, 50, 100), job(2, 0, 200), job(3, 0, 0), job(4, 10, 20)]
    left = [each.seconds_left for _, each in progress(jobs, pace)]
    assert left == [5.0, 25.0, None, None]


def test_a_throttle_lets_no_more_bytes_pass_than_its_rate(clock):
    """All who share it wait for each other."""
    throttle = Throttle(100, clock, clock.wait)
    for _ in range(5):
        throttle.take(200, lambda: None)
    assert clock.now == pytest.approx(108.0)


def test_without_a_rate_nothing_waits(clock):
    """That is how it is unless the configuration says otherwise."""
    for _ in range(5):
        Throttle(0, clock, clock.wait).take(1 << 40, lambda: None)
    assert clock.now == 100.0


def test_a_run_that_stops_does_not_wait_for_the_throttle(clock):
    """Who waits looks again and again whether it still has to."""
    throttle = Throttle(1, clock, clock.wait)

    def check() -> None:
        if clock.now > 101:
            raise InterruptedError

    throttle.take(1000, check)
    with pytest.raises(InterruptedError):
        throttle.take(1000, check)
    assert clock.now < 102
