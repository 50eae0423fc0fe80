"""When to try again, and a way for actors to hear of it: Pykka has no timers."""

from __future__ import annotations

import random
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pykka

if TYPE_CHECKING:
    from pykka import ActorRef

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0


def delay(attempt: int) -> float:
    """Return the seconds to wait after the ``attempt``-th failure: growing, jittered."""
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(attempt - 1, 10))
    return longest * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, no secret


def tell_later(ref: ActorRef[Any], message: object, seconds: float) -> None:
    """Send an actor a message later; nothing happens if it has ended by then."""

    def tell() -> None:
        with suppress(pykka.ActorDeadError):
            ref.tell(message)

    timer = threading.Timer(seconds, tell)
    timer.daemon = True
    timer.start()
