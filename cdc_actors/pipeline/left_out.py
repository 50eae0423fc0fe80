"""Collections that are selected but cannot be replicated: shown until they are dropped."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cdc_actors.changes import to_hybrid_ts
from cdc_actors.pipeline.messages import (
    RecordCollectionSetAside,
    RecordOperationApplied,
)
from cdc_actors.tasks import CollectionState, Operation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_actors.errors import CdcError
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.tasks import CollectionEntry


class ExcludedCollections:
    """The collections of one stream that never reach the target. The reader's thread."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._entries: dict[int, CollectionEntry] = {}

    def __contains__(self, collection_id: int) -> bool:
        return collection_id in self._entries

    def restore(self, entry: CollectionEntry) -> None:
        """Know a collection of an earlier run, if that had left it out."""
        if entry.state is not CollectionState.DROPPED:
            self._entries[entry.collection_id] = entry

    def add(self, entry: CollectionEntry, error: CdcError) -> None:
        """Say why a collection is not replicated."""
        self._context.record(RecordCollectionSetAside(entry, error))
        self.restore(entry)

    def see_all(self, found: Mapping[int, CollectionMeta]) -> None:
        """See what has become of each; ``found`` is the whole catalog, by id."""
        for collection_id in tuple(self._entries):
            self.see(collection_id, found.get(collection_id))

    def see(self, collection_id: int, meta: CollectionMeta | None) -> None:
        """Show it no longer once the source has dropped it: nobody reads its channels.

        The catalog may have forgotten when that was, and with it the collection.
        """
        if meta is not None and not meta.dropping:
            return
        dropped = meta.altered if meta else to_hybrid_ts(time.time())
        entry = self._entries.pop(collection_id)
        operation = Operation.drop_collection(entry, dropped)
        self._context.record(RecordOperationApplied(operation))
