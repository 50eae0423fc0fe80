"""Properties of collections: the catalog tells that they changed, the source's API how.

Milvus 2.3.5 writes into its catalog what the properties were before they were last
altered (seen live: etcd is one alteration behind DescribeCollection).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cdc_actors.changes import replicated_properties
from cdc_actors.errors import OperatorError, TransientError
from cdc_actors.pipeline.work import CatalogOperation
from cdc_actors.target.properties import DESCRIPTION, description_of
from cdc_actors.tasks import ALTER_COLLECTION
from cdc_actors.tasks.details import PropertiesDetail

if TYPE_CHECKING:
    from cdc_actors.pipeline.collection_table import Collection
    from cdc_actors.pipeline.pending import PendingOperations
    from cdc_actors.pipeline.router import Router
    from cdc_actors.pipeline.source_api import SourceApi
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.tasks import CollectionEntry

RETRY_SECONDS = 10.0
"""How long the source's API is left alone after it did not answer."""


class Properties:
    """Finds out which properties were altered. The reader's thread.

    The log is read without the source's API: while that is away, only this waits.
    """

    def __init__(
        self, api: SourceApi, router: Router, pending: PendingOperations
    ) -> None:
        self._api = api
        self._router = router
        self._pending = pending
        self._applied: dict[int, dict[str, str]] = {}
        self._waiting: dict[int, CollectionMeta] = {}
        self._not_before = 0.0

    def update(self, meta: CollectionMeta) -> None:
        """Have the properties looked up of a collection that was ever altered."""
        if meta.altered > meta.created:
            self._waiting[meta.id] = meta

    def advance(self) -> None:
        """Look up the properties of those whose time has come."""
        if time.monotonic() < self._not_before:
            return
        for meta in list(self._waiting.values()):
            collection = self._router.collections.get(meta.id)
            if self._router.collections.is_ignored(meta.id):
                del self._waiting[meta.id]
            elif collection and self._pending.is_due(collection, meta.altered):
                try:
                    self._compare(collection, meta)
                except (TransientError, OperatorError):
                    self._not_before = time.monotonic() + RETRY_SECONDS
                    return
                del self._waiting[meta.id]

    @property
    def is_empty(self) -> bool:
        """Whether none wait to be looked up."""
        return not self._waiting

    def forget(self, collection_id: int) -> None:
        """Keep nothing of a collection that is gone."""
        self._waiting.pop(collection_id, None)
        self._applied.pop(collection_id, None)

    def _compare(self, collection: Collection, meta: CollectionMeta) -> None:
        """Give the collection what differs from what it was given last."""
        shown = self._api.properties(meta)
        if shown is None:
            return
        applied = self._applied.setdefault(meta.id, _initial(collection.entry))
        now = replicated_properties(shown)
        changed = {
            key: value for key, value in now.items() if applied.get(key) != value
        }
        gone = applied.keys() - now.keys()
        dropped = (
            tuple(sorted(gone)) if gone and self._api.can_drop_properties() else ()
        )
        if changed or dropped:
            kept = {key: each for key, each in applied.items() if key not in dropped}
            self._applied[meta.id] = kept | changed
            detail = PropertiesDetail(changed, dropped)
            work = CatalogOperation(ALTER_COLLECTION, meta.altered, detail)
            self._router.deliver_operation(collection, work)


def _initial(entry: CollectionEntry) -> dict[str, str]:
    """Return what the target was given until now."""
    known = replicated_properties(entry.properties)
    return {DESCRIPTION: description_of(entry.schema), **known}
