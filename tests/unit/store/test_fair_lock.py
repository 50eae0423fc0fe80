"""The lock of those who write to an SQLite file: who asked first has it first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from cdc_actors.store.fair_lock import FairLock
from tests.support.cdc import wait_until

LONG = 60.0


@pytest.fixture
def lock():
    """A lock that is held."""
    held = FairLock()
    assert held.acquire(0)
    return held


def ask(pool, lock):
    """Return the answer to come of a thread that waits for the lock by now."""
    waiting = len(lock._turns) + 1
    answer = pool.submit(lock.acquire, LONG)
    wait_until(lambda: len(lock._turns) == waiting, "it waits")
    return answer


def test_those_who_wait_have_it_in_turn(lock):
    """Not even who gives it back has it again before them."""
    with ThreadPoolExecutor() as pool:
        answers = [ask(pool, lock) for _ in range(3)]
        for number, answer in enumerate(answers):
            lock.release()
            assert answer.result(LONG)
            assert not lock.acquire(0)
            assert not any(each.done() for each in answers[number + 1 :])
    lock.release()
    assert lock.acquire(0)


def test_who_has_given_up_keeps_nobody_waiting(lock):
    """The next one's turn is then that of who asked after it."""
    with ThreadPoolExecutor() as pool:
        assert not lock.acquire(0.01)
        second = ask(pool, lock)
        lock.release()
        assert second.result(LONG)


def test_one_at_a_time_however_short_they_wait():
    """Whoever has it is alone, though others give up at the moment of their turn."""
    lock, held, most = FairLock(), [], []

    def work(_: int) -> None:
        for _ in range(200):
            if lock.acquire(0.0001):
                held.append(None)
                most.append(len(held))
                held.pop()
                lock.release()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert set(most) == {1}
    assert lock.acquire(0)
