"""A catalog in memory: what it holds, and when its watch tells of it, a test decides."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from cdc_actors.source.catalog.client import (
    AliasMeta,
    CatalogSnapshot,
    IndexAndLoadState,
    NameSince,
    RbacMeta,
)
from cdc_actors.source.catalog.model import END_OF_TIME, PartitionMeta
from cdc_actors.source.catalog.watch import CatalogChanges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cdc_actors.changes import FullName
    from cdc_actors.source.catalog.client import Aliases, CollectionMeta, ImportMeta
    from cdc_actors.source.versions import Version

VERSION = (2, 3, 5)
SET_UP = 1_795_903_000_000_000_000


class FakeCatalog:
    """What the source's etcd holds. Stands for ``Catalog``; any thread may use it.

    Changes are seen at once by whoever asks, as etcd's reads are linearizable; the watches
    tell of them only once ``tell`` is called. ``looks`` counts how often one was looked at;
    ``set_up`` is when the source was set up, ``latest`` a timestamp that comes after all.
    """

    def __init__(self) -> None:
        self.looks = 0
        self.set_up = SET_UP
        self.latest = END_OF_TIME
        self.source_version: Version = VERSION
        self.root = "127.0.0.1:53100"
        self._lock = threading.RLock()
        self._databases: dict[int, str] = {1: "default"}
        self._collections: dict[int, CollectionMeta] = {}
        self._aliases: Aliases = {}
        self._imports: list[ImportMeta] = []
        self._untold: set[int] = set()
        self._untold_aliases = False
        self._untold_imports = False
        self._watches: list[FakeWatch] = []

    # What a test does.

    def put(self, meta: CollectionMeta) -> None:
        """Hold a collection, or what became of it."""
        with self._lock:
            self._collections[meta.id] = meta
            self._untold.add(meta.id)

    def remove(self, collection_id: int) -> None:
        """Hold a collection and its aliases no longer: its drop is done."""
        with self._lock:
            owned = {
                a for a, m in self._aliases.items() if m.collection_id == collection_id
            }
            for alias in owned:
                del self._aliases[alias]
            self._untold_aliases |= bool(owned)
            del self._collections[collection_id]
            self._untold.add(collection_id)

    def rename(self, collection_id: int, name: FullName, since: int) -> None:
        """Give a collection another name."""
        with self._lock:
            meta = self._collections[collection_id]
            names = (*meta.names, NameSince(since, *name))
            self.put(replace(meta, database=name[0], name=name[1], names=names))

    def add_partition(
        self, collection_id: int, partition_id: int, name: str, created: int
    ) -> None:
        """Give a collection one partition more."""
        with self._lock:
            meta = self._collections[collection_id]
            made = {partition_id: PartitionMeta(name, created)}
            self.put(replace(meta, partitions=meta.partitions | made))

    def drop_partition(self, collection_id: int, partition_id: int) -> None:
        """Take a partition from a collection."""
        with self._lock:
            meta = self._collections[collection_id]
            left = {i: p for i, p in meta.partitions.items() if i != partition_id}
            self.put(replace(meta, partitions=left))

    def point(self, alias: FullName, collection_id: int | None, since: int) -> None:
        """Let an alias stand for a collection, or for none."""
        with self._lock:
            self._untold_aliases = True
            self._aliases.pop(alias, None)
            if collection_id is not None:
                self._aliases[alias] = AliasMeta(collection_id, since)

    def complete_import(self, found: ImportMeta) -> None:
        """Hold a bulk import that is complete."""
        with self._lock:
            self._imports.append(found)
            self._untold_imports = True

    def tell(self) -> None:
        """Let the watches tell of everything that was not told yet."""
        with self._lock:
            for watch in self._watches:
                watch.collections |= self._untold
                watch.aliases |= self._untold_aliases
                watch.imports |= self._untold_imports
            self._untold = set()
            self._untold_aliases = self._untold_imports = False
            listeners = [watch.heard for watch in self._watches]
        for heard in listeners:
            heard()

    # What a run asks, as of a Catalog.

    def version(self) -> Version:
        """Return the source's version."""
        return self.source_version

    def root_coordinator(self) -> str:
        """Return where the source's root coordinator is."""
        return self.root

    def created(self) -> int:
        """Return when the source was set up."""
        return self.set_up

    def time(self) -> int:
        """Return a hybrid timestamp that nothing has yet."""
        return self.latest

    def snapshot(self) -> CatalogSnapshot:
        """Return everything."""
        with self._lock:
            return CatalogSnapshot(
                revision=1,
                databases=dict(self._databases),
                collections=dict(sorted(self._collections.items())),
                aliases=dict(self._aliases),
                imports=list(self._imports),
            )

    def collection(self, collection_id: int) -> CollectionMeta | None:
        """Return a collection as it is now."""
        return self._collections.get(collection_id)

    def collections(self, wanted: Iterable[int]) -> dict[int, CollectionMeta]:
        """Return those of some collections that there are."""
        with self._lock:
            return {i: self._collections[i] for i in wanted if i in self._collections}

    def forget(self, gone: Iterable[int]) -> None:
        """Do nothing."""

    def find(self, database: str, name: str) -> CollectionMeta | None:
        """Return the collection of a name."""
        with self._lock:
            for meta in self._collections.values():
                if meta.available and (meta.database, meta.name) == (database, name):
                    return meta
        return None

    def field_of_index(self, _collection_id: int, _name: str, _at: int) -> str:
        """Return that no index is known."""
        return ""

    def indexes_and_loads(self, found: Iterable[int]) -> dict[int, IndexAndLoadState]:
        """Return that nothing is indexed or loaded."""
        return {each: IndexAndLoadState() for each in found}

    def databases(self) -> dict[str, dict[str, str]]:
        """Return the databases, which have no properties."""
        return {name: {} for name in self._databases.values()}

    def aliases(self) -> Aliases:
        """Return what aliases stand for."""
        with self._lock:
            return dict(self._aliases)

    def alias_ended(self, _database: str, _alias: str) -> int:
        """Return that the catalog has forgotten."""
        return 0

    def imports(self) -> list[ImportMeta]:
        """Return the bulk imports."""
        return list(self._imports)

    def rbac(self) -> RbacMeta:
        """Return that there are no users."""
        return RbacMeta(frozenset(), {})

    def watch(self, _revision: int) -> FakeWatch:
        """Tell of what comes from now on."""
        with self._lock:
            self._untold = set()
            self._untold_aliases = self._untold_imports = False
            watch = FakeWatch(self)
            self._watches.append(watch)
            return watch

    def close(self) -> None:
        """Do nothing: the next run uses it, too."""


class FakeWatch:
    """What a watch has to tell. Stands for ``CatalogWatch``."""

    def __init__(self, catalog: FakeCatalog) -> None:
        self._catalog = catalog
        self.collections: set[int] = set()
        self.aliases = False
        self.imports = False
        self.heard: Callable[[], None] = bool

    def changed(self) -> CatalogChanges:
        """Return what was told since the last call."""
        with self._catalog._lock:
            self._catalog.looks += 1
            collections, self.collections = self.collections, set()
            aliases, self.aliases = self.aliases, False
            imports, self.imports = self.imports, False
        return CatalogChanges(
            databases=False,
            collections=frozenset(collections),
            aliases=aliases,
            imports=imports,
            rbac=False,
        )

    def listen(self, heard: Callable[[], None]) -> None:
        """Have something called when there is something to tell."""
        self.heard = heard

    def close(self) -> None:
        """Have nothing called any more."""
        self.heard = bool
