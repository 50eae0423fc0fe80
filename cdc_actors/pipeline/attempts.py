"""When a collection is tried again beside the others, and until when."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from cdc_actors.errors import UnclearAnswerError
from cdc_actors.growing_delay import growing_delay
from cdc_actors.pipeline.messages import Retried

if TYPE_CHECKING:
    from cdc_actors.errors import CdcError
    from cdc_actors.pipeline.context import RunContext

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
"""Seconds between two tries."""

STARTING_DELAY = 2.0
"""The longest one while the target is starting: it does nothing yet, and soon may."""

LOOK_SECONDS = 0.5
"""How often is looked, while time passes, at what has come for the collection."""

CROWDED_SECONDS = 10.0
"""How long a collection is tried again that holds memory which the others need."""

PATIENCE_SECONDS = 300.0
"""How long any is: the log of its channels must be kept meanwhile, for all of them."""

_log = structlog.get_logger()


class Attempts:
    """The failures in a row of one collection. One thread at a time uses it."""

    def __init__(self, collection_id: int, context: RunContext) -> None:
        self._collection_id = collection_id
        self._context = context
        self._parked = 0
        self.count = 0
        """How many failures there were in a row."""
        self.is_waiting = False
        """Whether time is to pass before the next try."""
        self.error: CdcError
        """What the last failure was."""

    @property
    def pause(self) -> float:
        """Seconds until what waits is to be looked at; 0 when the next try is due."""
        if not self.is_waiting:
            return 0.0
        return min(LOOK_SECONDS, max(0.0, self._next_try - time.monotonic()))

    @property
    def others_moved(self) -> bool:
        """Whether the target has taken rows of other collections since the first one."""
        return self._context.applied.count > self._rows

    def failed(self, error: CdcError) -> None:
        """Count a failure, and begin to wait."""
        if self.count == 0:
            self._begun, self._since = time.monotonic(), datetime.now(UTC)
            self._rows = self._context.applied.count
        self.count += 1
        self.error, self.is_waiting = error, True
        starting = isinstance(error, UnclearAnswerError) and error.is_starting
        longest = min(LONGEST_DELAY, STARTING_DELAY) if starting else LONGEST_DELAY
        delay = growing_delay(self.count, FIRST_DELAY, longest)
        self._next_try = time.monotonic() + delay
        next_try = datetime.now(UTC) + timedelta(seconds=delay)
        retried = Retried(str(error), self.count, self._since, next_try)
        self._context.retried.show(self._collection_id, retried)
        _log.warning("attempt_failed", error=str(error), attempt=self.count)

    def may_wait(self, items: int, size: int) -> bool:
        """Tell whether items of so many bytes may wait on.

        The reader need not wait for what does not hold much.
        """
        retried = self._context.retried
        retried.hold(self._collection_id, size)
        is_crowded = retried.hold_much(self._context.budget.free)
        self._park(0 if is_crowded else items)
        is_in_the_way = is_crowded and retried.is_largest(self._collection_id)
        patience = CROWDED_SECONDS if is_in_the_way else PATIENCE_SECONDS
        return time.monotonic() - self._begun < patience

    def resume(self) -> None:
        """Wait no more."""
        self.is_waiting = False
        self._park(0)

    def end(self) -> None:
        """Know that the collection goes on, or is set aside. Idempotent."""
        if self.count:
            self.count = 0
            self._context.retried.end(self._collection_id)

    def _park(self, items: int) -> None:
        """Have the reader wait for so many items fewer."""
        self._context.budget.work_done(items - self._parked)
        self._parked = items
