"""Flushes that clients asked for, which rows and other operations never wait for.

A flush seals what was inserted before it: no row and no answer to a query changes, a later
one covers it, and Milvus seals by itself what is a day old, or idle and not small (2.3:
``dataCoord.segment.maxLife``, ``maxIdleTime``). So of those of one collection that wait
only the oldest counts, which keeps its turn, and the newest. One that the target's limits
refuse (from 2.3.9 on ``quotaAndLimits.flushRate.collection.max``, 0.1 a second unless
configured) is asked again later; it holds no checkpoint meanwhile, for a limit may last,
and is lost with the run.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cdc_actors.pipeline.work import ForwardRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.changes import Request
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.pending import PendingOperations
    from cdc_actors.pipeline.router import Router

FLUSH_SECONDS = 1.0
"""How often a collection is flushed, at most."""

RETRY_SECONDS = 5.0
"""How long a flush that was refused waits."""


class Flushes:
    """The flushes of one run that wait. The reader's thread."""

    def __init__(
        self, context: RunContext, router: Router, pending: PendingOperations
    ) -> None:
        self._context = context
        self._router = router
        self._pending = pending
        self._waiting: dict[int, list[ForwardRequest]] = {}
        self._not_before: dict[int, float] = {}

    def add(self, work: ForwardRequest, owner: int) -> None:
        """Hold a flush of a collection until the rows before it are on their way."""
        waiting = self._waiting.setdefault(owner, [])
        self._release(waiting[1:])
        waiting[1:] = [work]

    def postpone(self, request: Request, owner: int) -> None:
        """Ask again later what the target's limits refused, unless a newer one waits."""
        self._not_before[owner] = time.monotonic() + RETRY_SECONDS
        if not self._waiting.get(owner):
            self.add(ForwardRequest(request, ()), owner)

    def advance(self) -> None:
        """Give out the flushes whose time has come."""
        now = time.monotonic()
        for owner in tuple(self._waiting):
            if self._router.collections.is_ignored(owner):
                self.forget(owner)
            elif self._waiting[owner] and now >= self._not_before.get(owner, 0.0):
                self._give(owner, now)

    @property
    def is_empty(self) -> bool:
        """Whether none waits for its time."""
        return not any(self._waiting.values())

    def forget(self, owner: int) -> None:
        """Flush nothing of a collection that is gone."""
        self._release(self._waiting.pop(owner, ()))
        self._not_before.pop(owner, None)

    def _give(self, owner: int, now: float) -> None:
        """Give out the newest that is due; it covers those before it."""
        collection = self._router.collections.get(owner)
        if collection is None:
            return
        due: list[ForwardRequest] = []
        later: list[ForwardRequest] = []
        for work in self._waiting[owner]:
            is_due = self._pending.is_due(collection, work.request.timestamp)
            (due if is_due else later).append(work)
        if due:
            self._not_before[owner] = now + FLUSH_SECONDS
            self._waiting[owner] = later
            self._release(due[:-1])
            self._router.deliver(collection, due[-1])

    def _release(self, covered: Iterable[ForwardRequest]) -> None:
        for work in covered:
            self._context.release(work.checkpoints)
