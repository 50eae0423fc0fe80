"""Calls at a later time."""

from __future__ import annotations

import threading
from queue import SimpleQueue

from cdc_actors.alarms import Alarms


def test_what_is_due_is_called_in_the_order_of_its_time_by_a_thread_that_ends() -> None:
    """Whatever the order in which it was asked for, and if something fails."""
    alarms, called = Alarms(), SimpleQueue[tuple[str, threading.Thread]]()

    def calling(name: str) -> None:
        called.put((name, threading.current_thread()))

    for name, seconds in [("third", 0.3), ("first", 0.0), ("second", 0.15)]:
        alarms.call_later(seconds, lambda name=name: calling(name))
    found = [called.get(timeout=60) for _ in range(3)]
    assert [name for name, _ in found] == ["first", "second", "third"]
    for _, thread in found:
        thread.join(60)
    alarms.call_later(0.0, lambda: 1 / 0)
    alarms.call_later(0.0, lambda: calling("again"))
    assert called.get(timeout=60)[0] == "again"
