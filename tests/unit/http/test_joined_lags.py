"""Samples of several services: one hour of all their tasks."""

from __future__ import annotations

from cdc_http.joined_lags import joined

EARLIER, LATER = "2026-01-31T12:00:00Z", "2026-01-31T12:00:00.5Z"


def told(last, since=LATER, **lags):
    """Return what a service tells, whose samples end with a number."""
    count = max(map(len, lags.values()), default=0)
    times = [f"slot {number}" for number in range(last - count + 1, last + 1)]
    return {
        "since": since,
        "every_seconds": 15.0,
        "last": last,
        "times": times,
        "lag_seconds": lags,
    }


def test_tasks_of_all_have_a_value_at_each_time():
    """None where their service has no sample, or had not begun."""
    assert joined([told(7, a=[1, 2, 3]), told(7, EARLIER, b=[None, 5])]) == told(
        7, EARLIER, a=[1, 2, 3], b=[None, None, 5]
    )


def test_the_newest_waits_for_the_others():
    """So that whoever asks for what comes next has it of all."""
    ahead, behind = told(8, a=[1, 2]), told(7, b=[4])
    assert joined([ahead, behind]) == told(7, a=[1], b=[4])
    assert joined([told(8, a=[2]), told(7)]) == told(7, a=[])
    assert joined([told(8, a=[2]), told(8, b=[5])]) == told(8, a=[2], b=[5])


def test_nobody_waits_for_long():
    """One that has no samples yet, or none any more, holds up nothing older."""
    assert joined([told(8, a=[1, 2]), told(0)]) == told(8, a=[1, 2])
    answer = joined([told(8, a=[1, 2]), told(3, b=[4])])
    assert (answer["last"], answer["times"]) == (7, ["slot 3", "slot 7"])
    assert answer["lag_seconds"] == {"a": [None, 1], "b": [4, None]}


def test_a_task_that_has_moved_has_one_line():
    """Both services know a part of it."""
    parts = [told(5, a=[1, 2, None]), told(5, a=[None, None, 3])]
    assert joined(parts) == joined(parts[::-1]) == told(5, a=[1, 2, 3])


def test_nobody_has_a_sample():
    """Just after the start there is none."""
    assert joined([told(0), told(0, EARLIER)]) == told(0, EARLIER)
