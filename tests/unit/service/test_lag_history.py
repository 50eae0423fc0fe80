"""The lags of the last hour: what is kept, and what is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cdc_actors.errors import UnavailableError
from cdc_actors.service import lag_history
from cdc_actors.service.lag_history import MAX_SAMPLES, SAMPLE_SECONDS, LagHistory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NOON = 1_800_000_000.0
FIRST = int(NOON / SAMPLE_SECONDS)
"""The number of the slot that begins then."""


class Clock:
    """The time of day, which stands still between samples."""

    def __init__(self) -> None:
        self.now = NOON

    def time(self) -> float:
        """As ``time.time``."""
        return self.now

    def sample(self, history: LagHistory, times: int = 1) -> None:
        """Take samples, one a slot."""
        for _ in range(times):
            history.sample()
            self.now += SAMPLE_SECONDS


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock by which samples are taken."""
    clock = Clock()
    monkeypatch.setattr(lag_history, "time", clock)
    return clock


def those(
    *answers: Mapping[str, float | None] | None,
) -> Callable[[], dict[str, float]]:
    """Return a supervisor's answers, one after the other; None is that there is none."""
    left = iter(answers)

    def lags() -> dict[str, float]:
        answer = next(left)
        if answer is None:
            raise UnavailableError("no answer")
        return answer  # type: ignore[return-value]

    return lags


def test_an_hour_is_kept(clock: Clock) -> None:
    """However long the service runs, there are the newest samples, in order."""
    history = LagHistory(those(*({"a": n} for n in range(2 * MAX_SAMPLES))))
    clock.sample(history, 2 * MAX_SAMPLES)
    told = history.after(0)
    assert MAX_SAMPLES * SAMPLE_SECONDS == 3600
    assert told.last == FIRST + 2 * MAX_SAMPLES - 1
    assert told.lag_seconds == {"a": list(range(MAX_SAMPLES, 2 * MAX_SAMPLES))}
    assert told.times == sorted(told.times)
    assert len(told.times) == MAX_SAMPLES
    assert told.times[-1].timestamp() == clock.now - SAMPLE_SECONDS


def test_who_has_some_is_told_the_rest(clock: Clock) -> None:
    """Samples are numbered; behind the newest there is nothing."""
    history = LagHistory(lambda: {"a": 1.5})
    assert history.after(0).last == 0
    clock.sample(history, 3)
    rest = history.after(FIRST + 1)
    assert (rest.last, rest.lag_seconds, len(rest.times)) == (
        FIRST + 2,
        {"a": [1.5]},
        1,
    )
    assert history.after(FIRST + 2).lag_seconds == {}
    assert history.after(FIRST + 99).last == FIRST + 2
    assert rest.since == history.after(0).since


def test_what_is_unknown_is_never_zero(clock: Clock) -> None:
    """A task without a lag, one that came later, and one that is gone have None."""
    history = LagHistory(those({"a": 1.0, "gone": None}, {"a": None, "new": 2.0}))
    clock.sample(history, 2)
    assert history.after(0).lag_seconds == {
        "a": [1.0, None],
        "gone": [None, None],
        "new": [None, 2.0],
    }


def test_a_supervisor_that_does_not_answer_leaves_a_gap(clock: Clock) -> None:
    """Sampling goes on once it does."""
    history = LagHistory(those(None, {"a": 1.0}, None, {"a": 2.0}))
    clock.sample(history)
    assert history.after(0).last == 0
    clock.sample(history)
    assert history.after(0).lag_seconds == {"a": [1.0]}
    clock.sample(history, 2)
    assert history.after(0).lag_seconds == {"a": [1.0, None, 2.0]}
    assert len(history.after(0).times) == 3


def test_there_is_one_sample_of_a_moment(clock: Clock) -> None:
    """A thread that wakes a little early, and then in time, takes one."""
    history = LagHistory(those({"a": 1.0}, {"a": 2.0}))
    history.sample()
    history.sample()
    clock.now += SAMPLE_SECONDS
    history.sample()
    assert history.after(0).lag_seconds == {"a": [1.0, 2.0]}


def test_a_clock_that_was_set_back_begins_anew(clock: Clock) -> None:
    """Whoever has samples of a time that has not come yet is told so."""
    history = LagHistory(those({"a": 1.0}, {"a": 2.0}))
    clock.sample(history)
    before = history.after(0).since
    clock.now = NOON - 3600
    clock.sample(history)
    told = history.after(0)
    assert (told.last, told.lag_seconds) == (FIRST - MAX_SAMPLES, {"a": [2.0]})
    assert told.since > before
