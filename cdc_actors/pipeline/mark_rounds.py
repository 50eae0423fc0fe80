"""Looking at the marks of all collections in turn, whether or not they have work.

So whoever lost a collection in which nothing is written says so, too, hears that another
task wanted it, and marks what an earlier version has made.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from cdc_actors.pipeline.collection_table import Status
from cdc_actors.pipeline.work import CheckMark

if TYPE_CHECKING:
    from cdc_actors.pipeline.router import Router

ROUND_SECONDS = 60.0
"""How often each collection has its turn, if there are few."""

STEP_SECONDS = 0.05
"""How long after one the next one has."""


class MarkRounds:
    """Has one collection's mark looked at after another. The reader's thread."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._left: deque[int] = deque()
        self._step_at = 0.0
        self._round_at = 0.0

    def advance(self) -> None:
        """Do what has come to be due."""
        now = time.monotonic()
        if now < self._step_at:
            return
        self._step_at = now + STEP_SECONDS
        if self._left:
            self._check(self._left.popleft())
        elif now >= self._round_at:
            self._round_at = now + ROUND_SECONDS
            self._left.extend(c.entry.collection_id for c in self._router.collections)

    def _check(self, collection_id: int) -> None:
        """One that has work looks by itself."""
        collection = self._router.collections.get(collection_id)
        if collection is None or collection.status is not Status.LIVE:
            return
        if not collection.waits_for and collection.queue.is_empty:
            self._router.deliver(collection, CheckMark())
