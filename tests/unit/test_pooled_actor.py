"""Actors that share threads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest
import structlog

from cdc_actors.pooled_actor import PooledActor

if TYPE_CHECKING:
    from collections.abc import Callable

MANY = 200


class Counting(PooledActor):
    """Notes what it is told, and whether two threads ever handle it at once."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.told: list[Any] = []
        self.is_busy = self.was_torn = self.is_stopped = False

    def on_start(self) -> None:
        """Bind what log lines say."""
        structlog.contextvars.bind_contextvars(name=self.name)

    def on_receive(self, message: Any) -> Any:
        """Note it; answer a question with what log lines say."""
        self.was_torn |= self.is_busy
        self.is_busy = True
        self.told.append(message)
        self.is_busy = False
        if callable(message):
            return message()
        return structlog.contextvars.get_contextvars()["name"], self.was_torn

    def on_stop(self) -> None:
        """Note it."""
        self.is_stopped = True


def test_messages_come_in_order_one_at_a_time_in_the_context_of_the_actor() -> None:
    """Whichever threads tell, and whichever handle."""
    refs = [Counting.start(f"actor {number}") for number in range(3)]

    def tell(teller: int) -> None:
        for number in range(MANY):
            for ref in refs:
                ref.tell((teller, number))

    tellers = [threading.Thread(target=tell, args=(each,)) for each in range(4)]
    for each in tellers:
        each.start()
    for each in tellers:
        each.join()
    for number, ref in enumerate(refs):
        assert ref.ask("who", timeout=60) == (f"actor {number}", False)
        actor = ref._actor_weakref()
        told = actor.told
        for teller in range(4):
            own = [each for each in told if each[0] == teller]
            assert own == [(teller, n) for n in range(MANY)]
        ref.stop()
        assert actor.is_stopped


def test_idle_actors_have_no_threads_and_busy_ones_do_not_wait_for_each_other() -> None:
    """Each that blocks has a thread; all have ended it once nothing is to be done."""
    everyone = threading.Barrier(MANY + 1)
    refs = [Counting.start(str(number)) for number in range(MANY)]
    for ref in refs:
        ref.tell(lambda: everyone.wait(60))
    everyone.wait(60)
    for ref in refs:
        ref.ask("who", timeout=60)
    answers = [ref.ask("who", block=False) for ref in refs]
    assert [each.get(timeout=60)[0] for each in answers] == [
        str(n) for n in range(MANY)
    ]
    pooled = [t for t in threading.enumerate() if t.name == "actors"]
    for thread in pooled:
        thread.join(60)
        assert not thread.is_alive()
    for ref in refs:
        ref.stop()


def failing() -> None:
    """Fail."""
    raise ValueError("it fails")


def question(message: Callable[[], Any]) -> Any:
    """Ask a new actor."""
    return Counting.start("one").ask(message, timeout=60)


def test_a_failure_goes_to_who_asked_or_ends_the_actor() -> None:
    """As it does with an actor that has a thread of its own."""
    with pytest.raises(ValueError, match="it fails"):
        question(failing)
    ref = Counting.start("one")
    ref.tell(failing)
    with pytest.raises(pykka.ActorDeadError):
        ref.ask("who", timeout=60)
    assert not ref.is_alive()
