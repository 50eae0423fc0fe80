"""How many tasks a service may claim, and which it is to give to others.

Each knows how much the others have, and does its own part: who has least claims what is
free, who has far more than another gives some of it back, once nothing is free. The tasks
that run count by the work they are (``load_meter``), those that are paused, which cost
nothing, apart from them and by their number.

Nothing moves for ever: what goes to the one that has least is less than the difference by
so much that the two are always more alike afterwards.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_actors.store.task_owners import Share

UNEVEN = 2.0
"""How much more one has than another before any of it moves: two tasks without any work."""

UNEVEN_PART = 0.2
"""The same, as a part of what each would have: loads never are quite what was measured."""

MOST_MOVES = 4
"""How many tasks that run are given to others at a time: each stands still for a second."""


def to_claim(share: Share) -> int:
    """Return how many tasks of those that nobody has are for us.

    About as many as if one after the other went to who has least. By the share of all alone
    one might claim again what it has just given to another that has less.
    """
    if not share.free_tasks:
        return 0
    least = int(share.ours <= min(share.others, default=math.inf))
    raised, level = share.free, 0.0
    for nodes, load in enumerate(sorted([share.ours, *share.others]), start=1):
        if nodes > 1 and level <= load:
            break
        raised += load
        level = raised / nodes
    due = (level - share.ours) * share.free_tasks / share.free
    return max(least, min(share.free_tasks, math.floor(due + 0.5)))


def gives_back(share: Share) -> bool:
    """Tell whether we have so much that others are to have some of it, if that helps."""
    if share.free_tasks or not share.others:
        return False
    return share.ours - min(share.others) >= _even(share)[1]


def to_give_back(share: Share, loads: Mapping[str, float]) -> list[str]:
    """Return which of our tasks are for others, of those with these loads by id.

    The largest first, so that few move: what is above the share of all, and less than
    would make another have more than we had.
    """
    if not gives_back(share):
        return []
    mean, uneven = _even(share)
    most = share.ours - min(share.others) - uneven / 2
    given, total = _fitting(loads, min(most, max(share.ours - mean, uneven / 2)))
    if total < uneven / 2 and (left := loads.keys() - given):
        smallest = min(sorted(left), key=loads.__getitem__)
        total += loads[smallest]
        given.append(smallest)
    return given if uneven / 2 <= total <= most else []


def _even(share: Share) -> tuple[float, float]:
    """Return what each would have, and how much more than another is uneven."""
    mean = (share.ours + sum(share.others)) / (1 + len(share.others))
    return mean, max(UNEVEN, UNEVEN_PART * mean)


def _fitting(loads: Mapping[str, float], room: float) -> tuple[list[str], float]:
    """Return what fits into ``room`` if the largest goes first, and how much that is."""
    given, total = [], 0.0
    for task_id in sorted(loads, key=loads.__getitem__, reverse=True):
        if total + loads[task_id] <= room:
            given.append(task_id)
            total += loads[task_id]
    return given, total
