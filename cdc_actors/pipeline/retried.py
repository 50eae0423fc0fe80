"""Which collections of a run are tried again while the others go on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cdc_actors.pipeline.messages import Retried

HELD_SHARE = 0.25
"""How many times the memory that is free such collections may hold together."""


class RetriedCollections:
    """The collections by id, and the bytes that wait for each. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shown: dict[int, Retried] = {}
        self._held: dict[int, int] = {}

    def show(self, collection_id: int, retried: Retried) -> None:
        """Say how a collection stands."""
        with self._lock:
            self._shown[collection_id] = retried

    def hold(self, collection_id: int, size: int) -> None:
        """Say how many bytes wait for a collection."""
        with self._lock:
            self._held[collection_id] = size

    def end(self, collection_id: int) -> None:
        """Know that a collection is tried again no more. Idempotent."""
        with self._lock:
            self._shown.pop(collection_id, None)
            self._held.pop(collection_id, None)

    def shown(self) -> dict[int, Retried]:
        """Return how each of them stands."""
        with self._lock:
            return dict(self._shown)

    def hold_much(self, free: int) -> bool:
        """Tell whether they hold much beside so many bytes that are free."""
        with self._lock:
            return sum(self._held.values()) > HELD_SHARE * free

    def is_largest(self, collection_id: int) -> bool:
        """Tell whether none of them holds more than this one."""
        with self._lock:
            return self._held[collection_id] == max(self._held.values())
