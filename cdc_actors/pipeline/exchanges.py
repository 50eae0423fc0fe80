"""When a shadow takes the place of its collection at the target.

That is once it has all that the source had written when the run began: more than what the
target serves. Indexes and loads that the catalog shows come before.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cdc_actors.pipeline.collection_table import Status
from cdc_actors.pipeline.work import TakePlace

if TYPE_CHECKING:
    from cdc_actors.pipeline.collection_table import Collection
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.metadata_sync import MetadataSync
    from cdc_actors.pipeline.router import Router

LOOK_SECONDS = 0.5
"""How often it is looked whether one is ready."""

READ_SECONDS = 5.0
"""How long after that what was replaced is there for those who have begun to read it."""


class Exchanges:
    """Has shadows take their places. The reader's thread."""

    def __init__(
        self, context: RunContext, router: Router, metadata: MetadataSync
    ) -> None:
        self._context = context
        self._router = router
        self._metadata = metadata
        self._since = 0
        self._look_at = 0.0
        self._asked: set[int] = set()
        self._ends: dict[int, float] = {}

    def advance(self) -> None:
        """Do what has come to be due."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._end()
        for collection in self._router.collections:
            if collection.entry.shadow and self._is_due(collection):
                self._asked.add(collection.entry.collection_id)
                self._router.deliver(collection, TakePlace())

    def _end(self) -> None:
        for collection_id, end in tuple(self._ends.items()):
            if time.monotonic() >= end:
                del self._ends[collection_id]
                if collection := self._router.collections.get(collection_id):
                    self._router.deliver(collection, TakePlace(ends=True))

    @property
    def is_settled(self) -> bool:
        """Whether no shadow is to take its place, nor an old one to go."""
        shadows = (each.entry.shadow for each in self._router.collections)
        return not self._ends and not any(shadows)

    def taken(self, collection_id: int) -> None:
        """Know that a shadow has taken its place."""
        self._ends[collection_id] = time.monotonic() + READ_SECONDS

    def postpone(self, collection_id: int) -> None:
        """Know that a shadow was not ready."""
        self._asked.discard(collection_id)

    def _is_due(self, collection: Collection) -> bool:
        if collection.status is not Status.LIVE:
            return False
        is_asked = collection.entry.collection_id in self._asked
        self._since = self._since or self._context.source_time()
        return not is_asked and self._metadata.has_all(collection, self._since)
