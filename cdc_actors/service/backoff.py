"""When to try again, and a way for actors to hear of it: Pykka has no timers."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pykka

from cdc_actors.alarms import ALARMS
from cdc_actors.errors import FailureClass
from cdc_actors.growing_delay import growing_delay

if TYPE_CHECKING:
    from pykka import ActorRef

    from cdc_actors.errors import CdcError

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0

RETURN_SECONDS = 60.0
"""How long a peer that answers again is taken to be starting: a Milvus answers before it
can do anything."""

LONGEST_DELAY_AFTER_RETURN = 2.0

LONGEST_DELAY_WHEN_REFUSED = 2.0
"""A peer that refuses the login, or answers nothing but that, may not for long."""

ACCEPTED_SECONDS = 30.0
"""How long a run must last before the next refusal is one of its own."""


def delay(attempt: int) -> float:
    """Return the seconds to wait after the ``attempt``-th failure of a run or an actor."""
    return growing_delay(attempt, FIRST_DELAY, LONGEST_DELAY)


def send_after(ref: ActorRef[Any], message: object, seconds: float) -> None:
    """Send an actor a message later; nothing happens if it has ended by then."""

    def tell() -> None:
        with suppress(pykka.ActorDeadError):
            ref.tell(message)

    ALARMS.call_later(seconds, tell)


class Retries:
    """The failures of one task's runs in a row. One thread uses it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Count the next failure as a first one."""
        self._attempts = 0
        self._refused_at: float | None = None
        self._tried_at = 0.0
        self._returned_at: float | None = None

    def peer_returned(self) -> None:
        """Count anew, and wait no longer than shortly for a while."""
        self.reset()
        self._returned_at = time.monotonic()

    def failed(self, error: CdcError) -> bool:
        """Count a failure; tell whether the run is to be tried again.

        An error with patience is retried for that long, counted from the first of them
        until another error, ``reset``, or a run that lasts.
        """
        self._attempts += 1
        if not error.patience:
            self._refused_at = None
            return error.failure_class is FailureClass.TRANSIENT
        now = time.monotonic()
        if self._refused_at is None or now > self._tried_at + ACCEPTED_SECONDS:
            self._refused_at = now
        return now < self._refused_at + error.patience

    def delay(self) -> float:
        """Return the seconds to wait before the next try."""
        now, wait, returned = time.monotonic(), delay(self._attempts), self._returned_at
        if self._refused_at is not None:
            wait = min(wait, LONGEST_DELAY_WHEN_REFUSED)
        if returned is not None and now < returned + RETURN_SECONDS:
            wait = min(wait, LONGEST_DELAY_AFTER_RETURN)
        self._tried_at = now + wait
        return wait
