"""Work in a thread of its own, for which its caller waits."""

from __future__ import annotations

import signal
import threading

import pytest

from cdc_actors.beside import uninterrupted


class Interrupted(BaseException):
    """What a signal's handler raises."""


def test_what_comes_of_it_is_the_callers() -> None:
    """It returns or raises as though it were called without a thread."""

    @uninterrupted
    def divide(one: int, by: int) -> float:
        return one / by

    assert divide(6, by=3) == 2
    with pytest.raises(ZeroDivisionError):
        divide(1, by=0)


def test_a_signal_ends_the_waiting_and_not_the_work() -> None:
    """The exception of a signal's handler comes to who waits, at once."""
    begun, over, done = (threading.Event() for _ in range(3))

    @uninterrupted
    def work() -> None:
        begun.set()
        over.wait()
        done.set()

    def interrupt(*_: object) -> None:
        raise Interrupted

    def send() -> None:
        begun.wait()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        threading.Thread(target=send).start()
        with pytest.raises(Interrupted):
            work()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not done.is_set()
    over.set()
    assert done.wait(60)
