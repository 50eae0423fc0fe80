"""What the catalog shows of the collections of a task besides their rows.

Milvus (2.3.5) logs no new partition, rename, alias or changed property; they are in the
catalog with their times. What was deferred last is compared with what the catalog says now,
so that a restart finds what happened meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.changes import to_hybrid_ts
from cdc_actors.pipeline.work import CatalogOperation, CreatePartitionWork
from cdc_actors.tasks import (
    ALTER_ALIAS,
    CREATE_ALIAS,
    DROP_ALIAS,
    RENAME_COLLECTION,
)
from cdc_actors.tasks.details import AliasDetail, RenameDetail

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cdc_actors.changes import FullName
    from cdc_actors.pipeline.collection_table import CollectionTable
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.metadata.indexes_and_loads import IndexesAndLoads
    from cdc_actors.pipeline.pending import PendingOperations
    from cdc_actors.source.catalog.client import (
        Aliases,
        Catalog,
        CollectionMeta,
        ImportMeta,
    )
    from cdc_actors.tasks import CollectionEntry, TaskSpec


class CollectionChanges:
    """Defers what the catalog shows until its time has come. The reader's thread."""

    def __init__(
        self,
        context: RunContext,
        collections: CollectionTable,
        pending: PendingOperations,
        catalog: Catalog,
        indexes_and_loads: IndexesAndLoads,
        spec: TaskSpec,
    ) -> None:
        self._context = context
        self._collections = collections
        self._pending = pending
        self._catalog = catalog
        self._indexes_and_loads = indexes_and_loads
        self._spec = spec
        self._partitions: dict[int, set[int]] = {}
        self._names: dict[int, FullName] = {}
        self._aliases: dict[FullName, int] = {}
        self._since: dict[FullName, tuple[int, int]] = {}
        self._imports: set[int] = set()
        self._new_imports: list[ImportMeta] = []

    def restore(
        self, entries: Iterable[CollectionEntry], aliases: Mapping[FullName, int]
    ) -> None:
        """Go on from what earlier runs brought to the target."""
        self._aliases.update(aliases)
        for entry in entries:
            self._imports.update(entry.imports)
            self._go_on_renaming(entry)

    def update(self, meta: CollectionMeta) -> None:
        """Defer what is new of a collection that is there and selected, or known."""
        known = self._partitions.get(meta.id, set())
        self._partitions[meta.id] = set(meta.partitions)
        for partition_id, partition in meta.partitions.items():
            if partition_id not in known:
                work = CreatePartitionWork(partition.name, partition.created)
                self._pending.defer(work, partition.created, meta.id)
        self._update_name(meta)
        self._indexes_and_loads.update(meta)

    def update_aliases(self, found: Aliases) -> None:
        """Defer what was done to aliases of the task's collections."""
        ours = {
            key: alias
            for key, alias in found.items()
            if self._aliases.get(key) == alias.collection_id
            or self._takes(alias.collection_id)
        }
        for key in self._aliases.keys() - ours.keys():
            gone = found[key].since if key in found else self._catalog.alias_ended(*key)
            self._defer_alias(DROP_ALIAS, key, self._aliases.pop(key), gone)
        for key, alias in ours.items():
            known = self._aliases.get(key)
            if known != alias.collection_id:
                self._aliases[key] = alias.collection_id
                kind = ALTER_ALIAS if known else CREATE_ALIAS
                self._defer_alias(kind, key, alias.collection_id, alias.since)

    def update_imports(self, found: Iterable[ImportMeta]) -> None:
        """Notice rows that came past the log; ``found`` are all that the catalog has."""
        imports = {each.id: each for each in found}
        waiting = {each.id for each in self._new_imports}
        self._new_imports = [
            each
            for each in imports.values()
            if each.id in waiting or each.id not in self._imports
        ]
        self._imports = set(imports)

    def forget(self, collection_id: int) -> None:
        """Keep nothing of a collection that is gone."""
        self._partitions.pop(collection_id, None)
        self._names.pop(collection_id, None)
        aliases, since = self._aliases.items(), self._since.items()
        self._aliases = {key: to for key, to in aliases if to != collection_id}
        self._since = {key: at for key, at in since if at[0] != collection_id}
        self._new_imports = [
            each for each in self._new_imports if each.collection_id != collection_id
        ]

    def advance(self) -> None:
        """Compare, or write down, what is of collections that have come to be known."""
        self._indexes_and_loads.advance()
        found, self._new_imports = self._new_imports, []
        for each in found:
            if collection := self._collections.get(each.collection_id):
                created = to_hybrid_ts(each.created)
                self._collections.note_import(collection, each.id, created, each.rows)
            elif not self._collections.is_ignored(each.collection_id):
                self._new_imports.append(each)

    def _go_on_renaming(self, entry: CollectionEntry) -> None:
        """Have a rename finished that was under way when an earlier run ended.

        If the source has another name for the collection by now, ``update`` sees to that.
        """
        begun, collection_id = entry.renaming, entry.collection_id
        if begun is None or self._collections.is_ignored(collection_id):
            return
        self._names[collection_id] = begun.new_name
        meta = self._catalog.collection(collection_id)
        if meta is None or (meta.database, meta.name) == begun.new_name:
            detail = RenameDetail(begun.new_name)
            work = CatalogOperation(RENAME_COLLECTION, begun.timestamp, detail)
            self._pending.defer(work, begun.timestamp, collection_id)

    def _update_name(self, meta: CollectionMeta) -> None:
        collection = self._collections.get(meta.id)
        if collection is None:
            return
        entry = collection.entry
        now = meta.database, meta.name
        if self._names.get(meta.id, (entry.database, entry.name)) != now:
            self._names[meta.id] = now
            since = meta.names[-1].since if len(meta.names) > 1 else meta.altered
            work = CatalogOperation(RENAME_COLLECTION, since, RenameDetail(now))
            self._pending.defer(work, since, meta.id)

    def _takes(self, collection_id: int) -> bool:
        """Tell whether the task replicates a collection, or will."""
        if self._collections.status(collection_id) is not None:
            return not self._collections.is_ignored(collection_id)
        meta = self._catalog.collection(collection_id)
        return (
            meta is not None
            and meta.available
            and self._spec.selects(meta.database, meta.name)
        )

    def _defer_alias(
        self, kind: str, key: FullName, owner: int, timestamp: int
    ) -> None:
        """Never before the operation before it: the catalog may have forgotten the time."""
        since = max(timestamp, self._since.get(key, (0, 0))[1])
        self._since[key] = owner, since
        self._pending.defer(
            CatalogOperation(kind, since, AliasDetail(key[1])), since, owner, alias=key
        )
