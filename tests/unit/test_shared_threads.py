"""Threads that share what there is to do."""

from __future__ import annotations

import threading
from queue import SimpleQueue

from cdc_actors.shared_threads import FEW, Threads

MANY = 500


def test_much_that_is_short_is_done_by_few_threads() -> None:
    """However much of it comes at once, from a thread that gives it no time."""
    threads, done = Threads("short"), SimpleQueue[int]()
    for _ in range(MANY):
        threads.submit(lambda: done.put(threading.get_ident()))
    assert len({done.get(timeout=60) for _ in range(MANY)}) <= 2 * FEW


def test_what_waits_for_work_behind_it_ends() -> None:
    """Each needs all the others: so many threads there come to be."""
    threads, everyone = Threads("blocked"), threading.Barrier(MANY // 10 + 1)
    for _ in range(MANY // 10):
        threads.submit(lambda: everyone.wait(60))
    everyone.wait(60)
