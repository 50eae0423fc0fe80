"""The lags that several services on one store have sampled, put side by side."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Answer = Mapping[str, Any]


def joined(told: Sequence[Answer]) -> Answer:
    """Return what all have told, each a ``LagSamples``, as one.

    Samples have the same numbers everywhere. The newest waits for those who have not taken
    it yet, for as long as one lasts. A task that has moved is continued by who has it now.
    """
    lasts = [each["last"] for each in told if each["last"]]
    last = max(min(lasts), max(lasts) - 1) if lasts else 0
    times = _by_number([(each["last"], each["times"]) for each in told], last)
    tasks = dict.fromkeys(task for each in told for task in each["lag_seconds"])
    of_tasks = {
        task: _by_number(
            [(e["last"], e["lag_seconds"].get(task, ())) for e in told], last
        )
        for task in tasks
    }
    numbers = sorted(times)
    return {
        **told[0],
        "since": min((e["since"] for e in told), key=datetime.fromisoformat),
        "last": last,
        "times": [times[each] for each in numbers],
        "lag_seconds": {
            task: [found.get(each) for each in numbers]
            for task, found in of_tasks.items()
        },
    }


def _by_number(told: Sequence[tuple[int, Sequence[Any]]], last: int) -> dict[int, Any]:
    """Return values, of which each sequence ends with a number, by theirs up to ``last``.

    Known ones come before those that are None.
    """
    found: dict[int, Any] = {}
    for end, values in told:
        for number, value in enumerate(values, start=end - len(values) + 1):
            if number <= last and found.get(number) is None:
                found[number] = value
    return found
