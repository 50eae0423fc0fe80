"""Which collection had a name when: requests of clients know names only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.source.catalog.client import NameSince

if TYPE_CHECKING:
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.tasks import CollectionEntry


class NameHistory:
    """The names of the collections of one run over time. The reader's thread."""

    def __init__(self) -> None:
        self._names: dict[int, tuple[NameSince, ...]] = {}

    def register(self, entry: CollectionEntry) -> None:
        """Enter a collection of an earlier run, which the catalog may have forgotten."""
        name = NameSince(entry.created, entry.database, entry.name)
        self._names[entry.collection_id] = (name,)

    def record(self, meta: CollectionMeta) -> None:
        """Enter what the catalog says; earlier names that it has forgotten are kept."""
        known = self._names.get(meta.id, ())
        first = meta.names[0].since
        kept = [each for each in known if each.since < first]
        self._names[meta.id] = (*kept, *meta.names)

    def forget(self, collection_id: int) -> None:
        """Keep nothing of a collection that is gone."""
        self._names.pop(collection_id, None)

    def lookup_at(self, database: str, name: str, timestamp: int) -> int | None:
        """Return the collection that had the name at a time, the newest of several."""
        since = {
            collection_id: names[-1].since
            for collection_id, history in self._names.items()
            if (names := [each for each in history if each.since <= timestamp])
            and (names[-1].database, names[-1].name) == (database, name)
        }
        return max(since, key=lambda each: since[each], default=None)
