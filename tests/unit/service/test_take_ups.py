"""When collections that were set aside for a passing reason are taken up again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdc_actors.errors import FailureClass
from cdc_actors.service.take_ups import FIRST_DELAY, LONGEST_DELAY, TakeUps
from cdc_actors.tasks import CollectionEntry, CollectionState
from tests.support.tasks import checkpoint, entry

HOUR = 3600.0


def aside(number: int, failure_class: FailureClass) -> CollectionEntry:
    """Return a collection that is set aside and could be taken up."""
    return replace(
        entry(number, state=CollectionState.SET_ASIDE),
        failure_class=failure_class,
        stood={checkpoint().position.channel: checkpoint()},
    )


PASSING = aside(445, FailureClass.TRANSIENT)
NAME = (PASSING.database, PASSING.name)


def wait(take_ups: TakeUps, now: float) -> float:
    """Return when the collection is taken up, from a time on, in steps of a second."""
    assert take_ups.due([PASSING], now) == []
    for second in range(1, int(1.3 * LONGEST_DELAY)):
        if take_ups.due([PASSING], now + second) == [NAME]:
            return second
    raise AssertionError("it is never taken up")


def test_delays_grow_from_a_minute_to_an_hour() -> None:
    """Each is about twice the one before; after a long good time they begin anew."""
    take_ups, now = TakeUps(), 0.0
    for number in range(9):
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2**number)
        waited = wait(take_ups, now)
        assert 0.8 * delay <= waited <= 1.2 * delay + 1
        now += waited
    assert wait(take_ups, now + 3 * HOUR) <= 1.2 * FIRST_DELAY + 1


@pytest.mark.parametrize("kind", [FailureClass.OPERATOR, FailureClass.POSITION_LOST])
def test_what_does_not_pass_waits_for_somebody(kind: FailureClass) -> None:
    """Nothing gets better by trying; nor is what is not set aside of any concern."""
    take_ups, others = TakeUps(), [aside(446, kind), entry(447)]
    assert take_ups.due(others, 0.0) == take_ups.due(others, 10 * HOUR) == []


def test_all_that_wait_are_taken_up_together() -> None:
    """Each time ends the run: one that was set aside later does not wait for its own."""
    take_ups, later = TakeUps(), aside(446, FailureClass.TRANSIENT)
    take_ups.due([PASSING], 0.0)
    take_ups.due([PASSING, later], 1.3 * FIRST_DELAY - 60)
    names = take_ups.due([PASSING, later], 1.3 * FIRST_DELAY)
    assert names == [NAME, (later.database, later.name)]


def test_a_request_that_comes_first_counts() -> None:
    """What somebody has taken up meanwhile waits anew if it is set aside again."""
    take_ups = TakeUps()
    take_ups.due([PASSING], 0.0)
    take_ups.due([], 50.0)
    assert take_ups.due([PASSING], 80.0) == []
