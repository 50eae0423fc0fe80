"""Of many beginnings the log is asked for few."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from cdc_actors.changes import Position
from cdc_actors.source.wal.beginnings import lost_starts

if TYPE_CHECKING:
    from collections.abc import Iterable


class Log:
    """A log that holds what lies between two numbers, and counts how often it is asked."""

    def __init__(self, oldest: int, newest: int) -> None:
        self.asked = 0
        self._kept = range(oldest, newest + 1)

    def holds(self, start: Position) -> bool:
        """Tell whether a position is held."""
        self.asked += 1
        return int(start.text) in self._kept

    def reached(self, position: Position, mark: Position) -> bool:
        """Compare two positions."""
        return int(position.text) >= int(mark.text)


def starts(numbers: Iterable[int], channel: str = "a") -> list[Position]:
    """Return positions of a channel."""
    return [Position(channel, b"%d" % each, str(each)) for each in numbers]


@given(st.lists(st.integers(0, 50)), st.integers(0, 60), st.integers(0, 9))
def test_what_lies_before_the_oldest_is_lost(
    numbers: list[int], oldest: int, channels: int
) -> None:
    """Each channel by itself, whatever the order and however often one comes."""
    log = Log(oldest, 100)
    found = [each for c in range(channels) for each in starts(numbers, str(c))]
    lost = {each for each in found if int(each.text) < oldest}
    assert lost_starts(log, found) == lost


def test_a_whole_log_is_asked_few_times_a_channel() -> None:
    """A wildcard task of ten thousand collections begins as fast as one of ten."""
    log = Log(0, 10_000)
    found = [*starts(range(10_000)), *starts(range(10_000), "b")]
    assert lost_starts(log, found) == set()
    assert log.asked < 40


def test_a_log_that_lost_some_is_asked_few_times() -> None:
    """What is lost is found by halving."""
    log = Log(7_000, 10_000)
    assert len(lost_starts(log, starts(range(10_000)))) == 7_000
    assert log.asked < 20


def test_the_very_beginning_is_held_only_with_what_comes_next() -> None:
    """RocksMQ holds its number 0 whatever it has lost behind it."""
    log = Log(7, 10)
    log.holds = lambda start: int(start.text) in {0, 7, 8, 9, 10}
    assert lost_starts(log, starts([0, 5, 8])) == set(starts([0, 5]))


def test_another_log_by_the_same_name_has_none() -> None:
    """It ends before the newest beginning; what lies before is not the same either."""
    assert lost_starts(Log(0, 5), starts([3, 9])) == set(starts([3, 9]))
    assert lost_starts(SimpleNamespace(), []) == set()
