"""When what was set aside for a reason that passes is taken up again by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.errors import FailureClass
from cdc_actors.growing_delay import growing_delay
from cdc_actors.tasks.retries import can_go_on

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.changes import FullName
    from cdc_actors.tasks import CollectionEntry

FIRST_DELAY = 60.0
LONGEST_DELAY = 3600.0
"""Seconds: each time ends the run and reads a part of the log again."""


class TakeUps:
    """When collections of one task are taken up again. The task actor's thread.

    Who was not taken up for twice the longest delay begins with the first one.
    Times are in seconds, from anywhere; the delays begin anew with the service.
    """

    def __init__(self) -> None:
        self._due: dict[int, float] = {}
        self._taken: dict[int, tuple[int, float]] = {}

    def due(self, entries: Iterable[CollectionEntry], now: float) -> list[FullName]:
        """Return the collections to take up now: once one is due, all that wait."""
        aside = {each.collection_id: each for each in entries if _may_pass(each)}
        self._due = {each: self._due_at(each, now) for each in aside}
        if not aside or min(self._due.values()) > now:
            return []
        for each in aside:
            self._taken[each] = self._count(each, now) + 1, now
        self._due.clear()
        return [(each.database, each.name) for each in aside.values()]

    def _due_at(self, collection_id: int, now: float) -> float:
        known = self._due.get(collection_id)
        if known is not None:
            return known
        attempt = self._count(collection_id, now) + 1
        return now + growing_delay(attempt, FIRST_DELAY, LONGEST_DELAY)

    def _count(self, collection_id: int, now: float) -> int:
        """Return how often it was taken up, the last time not long ago."""
        count, at = self._taken.get(collection_id, (0, now))
        return count if now - at < 2 * LONGEST_DELAY else 0


def _may_pass(entry: CollectionEntry) -> bool:
    return can_go_on(entry) and entry.failure_class is FailureClass.TRANSIENT
