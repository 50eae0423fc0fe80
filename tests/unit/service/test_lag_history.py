"""The lags of the last hour: what is kept, and what is told."""

from __future__ import annotations

from cdc_actors.errors import UnavailableError
from cdc_actors.service.lag_history import MAX_SAMPLES, SAMPLE_SECONDS, LagHistory


def test_an_hour_is_kept() -> None:
    """However long the service runs, there are the newest samples, in order."""
    lags = iter(range(2 * MAX_SAMPLES))
    history = LagHistory(lambda: {"a": next(lags)})
    for _ in range(2 * MAX_SAMPLES):
        history.sample()
    told = history.after(0)
    assert MAX_SAMPLES * SAMPLE_SECONDS == 3600
    assert told.last == 2 * MAX_SAMPLES
    assert told.lag_seconds == {"a": list(range(MAX_SAMPLES, 2 * MAX_SAMPLES))}
    assert told.times == sorted(told.times)
    assert len(told.times) == MAX_SAMPLES


def test_who_has_some_is_told_the_rest() -> None:
    """Samples are numbered; behind the newest there is nothing."""
    history = LagHistory(lambda: {"a": 1.5})
    assert history.after(0).last == 0
    for _ in range(3):
        history.sample()
    rest = history.after(2)
    assert (rest.last, rest.lag_seconds, len(rest.times)) == (3, {"a": [1.5]}, 1)
    assert history.after(3).lag_seconds == {}
    assert history.after(99).last == 3
    assert rest.since == history.after(0).since


def test_what_is_unknown_is_never_zero() -> None:
    """A task without a lag, one that came later, and one that is gone have None."""
    seen = iter([{"a": 1.0, "gone": None}, {"a": None, "new": 2.0}])
    history = LagHistory(lambda: next(seen))
    history.sample()
    history.sample()
    assert history.after(0).lag_seconds == {
        "a": [1.0, None],
        "gone": [None, None],
        "new": [None, 2.0],
    }


def test_a_supervisor_that_does_not_answer_leaves_a_gap() -> None:
    """Sampling goes on once it does."""
    answers = iter([UnavailableError("no answer"), {"a": 1.0}])

    def lags() -> dict[str, float | None]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    history = LagHistory(lags)
    history.sample()
    assert history.after(0).last == 0
    history.sample()
    assert history.after(0).lag_seconds == {"a": [1.0]}
