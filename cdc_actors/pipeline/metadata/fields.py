"""Fields of collections that were altered: the catalog has what they are (Milvus 2.5).

The log tells of it only from 2.5.12 on. Fields that were added or dropped (2.6, 3.0) set
the collection aside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.pipeline.work import CatalogOperation, StopCollection
from cdc_actors.target.fields import numbers_of, params_of
from cdc_actors.tasks import ALTER_FIELD
from cdc_actors.tasks.details import FieldDetail

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_actors.pipeline.collection_table import Collection, CollectionTable
    from cdc_actors.pipeline.pending import PendingOperations
    from cdc_actors.source.catalog.client import CollectionMeta

_LIMITS = frozenset({"max_length", "max_capacity"})


class Fields:
    """Finds out what was altered, also while no run looked. The reader's thread."""

    def __init__(
        self, collections: CollectionTable, pending: PendingOperations
    ) -> None:
        self._collections = collections
        self._pending = pending
        self._given: dict[int, bytes] = {}
        self._waiting: dict[int, CollectionMeta] = {}

    def update(self, meta: CollectionMeta) -> None:
        """Have a collection compared that may have been altered."""
        self._waiting[meta.id] = meta

    def advance(self) -> None:
        """Compare those that are known by now."""
        for meta in list(self._waiting.values()):
            collection = self._collections.get(meta.id)
            if collection is not None:
                self._compare(collection, meta)
            if collection is not None or self._collections.is_ignored(meta.id):
                del self._waiting[meta.id]

    def forget(self, collection_id: int) -> None:
        """Keep nothing of a collection that is gone."""
        self._waiting.pop(collection_id, None)
        self._given.pop(collection_id, None)

    def _compare(self, collection: Collection, meta: CollectionMeta) -> None:
        """Have done what differs from what the target was given last.

        Limits that grew are raised at once: rows that need it may be older than what the
        source altered last.
        """
        given = self._given.get(meta.id) or collection.entry.schema
        now, before = params_of(meta.schema), params_of(given)
        if stop := _stop(numbers_of(given), numbers_of(meta.schema)):
            self._pending.defer(stop, meta.altered, meta.id)
        for name, params in now.items():
            if name in before and params != before[name]:
                grew = _only_grew(before[name], params)
                since = meta.created if grew else meta.altered
                altered = dict(params.items() - before[name].items())
                dropped = tuple(sorted(before[name].keys() - params.keys()))
                detail = FieldDetail(name, altered, dropped)
                work = CatalogOperation(ALTER_FIELD, since, detail)
                self._pending.defer(work, since, meta.id)
        self._given[meta.id] = meta.schema


def _stop(before: Mapping[str, int], now: Mapping[str, int]) -> StopCollection | None:
    """Return what ends a collection with other fields than before, None with the same."""
    differing = dict(before.items() ^ now.items()).keys()
    if not differing:
        return None
    why = (
        f"the source has added or dropped {', '.join(sorted(differing))}, which is not "
        "replicated: `resync` with --drop-target brings all anew, rows with what was "
        "dropped only with sourceConfig.storage"
    )
    is_loss = differing.isdisjoint(now)
    return StopCollection(why, lost=frozenset(differing if is_loss else ()))


def _only_grew(before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    differing = dict(before.items() ^ now.items()).keys()
    return differing <= _LIMITS and all(
        int(now.get(key, 0)) > int(before.get(key, 0)) for key in differing
    )
