"""When a reader waits for memory, and when waiting would be for ever."""

from __future__ import annotations

import threading

from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.pipeline.work_queue import RunBudget


def test_full_memory_is_waited_for_while_there_is_work() -> None:
    """The reader goes on as soon as an applier has let go of enough."""
    budget = RunBudget(MemoryBudget(100).quota(1.0))
    hold = budget.hold(60)
    budget.work_added()
    assert not budget.wait(0.01)
    timer = threading.Timer(0.05, hold.release)
    timer.start()
    assert budget.wait(60)
    timer.join()


def test_full_memory_without_work_is_not_waited_for() -> None:
    """What waits for more of the log does not go by waiting: told at once."""
    budget = RunBudget(MemoryBudget(100).quota(1.0))
    budget.hold(60)
    assert not budget.wait(3600)
    assert budget.at_work == 0
