"""The source's catalog: listed from etcd at one revision, then watched from there."""

from __future__ import annotations

import posixpath
from itertools import chain
from typing import TYPE_CHECKING

import structlog

from cdc_actors.changes import LOGICAL_BITS
from cdc_actors.errors import OperatorError, SourceChangedError
from cdc_actors.source.catalog import bulk_imports, history, rbac
from cdc_actors.source.catalog import model as meta
from cdc_actors.source.catalog.base import (
    Aliases,
    Catalog,
    CatalogSnapshot,
    IndexAndLoadState,
)
from cdc_actors.source.catalog.bulk_imports import ImportMeta
from cdc_actors.source.catalog.collections import BELONGINGS, KnownPlaces, assemble
from cdc_actors.source.catalog.etcd import MAX_RANGES, EtcdClient, config_of
from cdc_actors.source.catalog.model import (
    AliasMeta,
    CollectionMeta,
    IndexMeta,
    LoadMeta,
    NameSince,
)
from cdc_actors.source.catalog.rbac import RbacMeta
from cdc_actors.source.catalog.watch import WATCHED, CatalogWatch
from cdc_actors.source.versions import refuse_unsupported

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from cdc_actors.config import Etcd
    from cdc_actors.source.versions import Version

__all__ = [
    "AliasMeta",
    "Aliases",
    "Catalog",
    "CatalogSnapshot",
    "CollectionMeta",
    "EtcdCatalog",
    "ImportMeta",
    "IndexAndLoadState",
    "IndexMeta",
    "LoadMeta",
    "NameSince",
    "RbacMeta",
]

_log = structlog.get_logger()

_ALL_OF_COLLECTIONS = (
    meta.COLLECTIONS,
    meta.COLLECTIONS_BEFORE_DATABASES,
    *BELONGINGS,
    f"{history.SNAPSHOTS}{meta.COLLECTIONS}",
)


class EtcdCatalog(Catalog):
    """A ``Catalog`` of the etcd that Milvus keeps its metadata in.

    Reads are linearizable: what Milvus had acknowledged before a call is seen. Every call
    raises ``TransientError`` when etcd is away or the revision it began with was compacted
    meanwhile, and ``OperatorError`` when etcd refuses or holds something else.

    It remembers where collections and databases stand in etcd, from the snapshot, the
    watch and earlier answers. What is asked of a few collections takes a handful of
    requests, however many collections and databases there are.
    """

    def __init__(self, etcd: Etcd) -> None:
        root = _join(etcd.root_path, etcd.meta_sub_path)
        self._root = f"{root.rstrip('/')}/" if root else ""
        self._time_key = _join(etcd.root_path, meta.TIME).encode()
        self._created: int | None = None
        self._client = EtcdClient(config_of(etcd))
        self._known = KnownPlaces()
        self._database_names: dict[int, str] = {}
        self._searched = 0

    def snapshot(self) -> CatalogSnapshot:
        """Return everything, at one revision.

        Raises:
            UnsupportedVersionError: The source is one that cannot be read.
        """
        self.version()
        revision, databases = self._databases()
        pairs = self.read_below(_ALL_OF_COLLECTIONS, revision)
        return CatalogSnapshot(
            revision=revision,
            databases=databases,
            collections=self._take_in(pairs, revision),
            aliases=self._aliases(databases, revision),
            imports=self._imports(revision),
        )

    def collection(self, collection_id: int) -> CollectionMeta | None:
        """Return one collection as it is now, None if etcd does not have it."""
        return self.collections([collection_id]).get(collection_id)

    def collections(self, wanted: Sequence[int]) -> dict[int, CollectionMeta]:
        """Return those of some collections that etcd has, as they are now, by id."""
        found = self._look_up(wanted)
        if missing := [each for each in wanted if each not in found]:
            self._search()
            found |= self._look_up(missing)
            self.forget(each for each in missing if each not in found)
        return found

    def forget(self, gone: Iterable[int]) -> None:
        """Keep nothing in memory of collections that are not asked for any more."""
        for each in gone:
            self._known.forget(each)

    def find(self, database: str, name: str) -> CollectionMeta | None:
        """Return the collection of that name that is available now, None without one."""
        found = self._look_up_name(database, name)
        if found is None:
            self._search()
            found = self._look_up_name(database, name)
        return found

    def version(self) -> Version:
        """Return the version of the source, empty while it does not run.

        Raises:
            UnsupportedVersionError: It is one that cannot be read.
        """
        sessions = self._read(meta.SESSIONS)
        found = meta.version(sessions)
        refuse_unsupported(found, streams=meta.has_streaming_node(sessions))
        return found

    def root_coordinator(self) -> str:
        """Return where the source's root coordinator is, empty while it does not run."""
        return meta.root_coordinator(self._read(meta.SESSIONS))

    def indexes_and_loads(
        self, found: Mapping[int, CollectionMeta]
    ) -> dict[int, IndexAndLoadState]:
        """Return what makes these collections searchable now, by their ids."""
        indexes, *loads = self._read_kinds(
            (meta.INDEXES, meta.COLLECTION_LOADS, meta.PARTITION_LOADS), found
        )
        loaded = meta.loads(*loads)
        made: dict[int, list[IndexMeta]] = {}
        for index in meta.indexes(indexes, found):
            if not index.deleted:
                made.setdefault(index.collection_id, []).append(index)
        return {
            each: IndexAndLoadState(tuple(made.get(each, ())), loaded.get(each))
            for each in found
        }

    def field_of_index(self, collection_id: int, name: str, until: int) -> str:
        """Return the field of an index that was created until then, or "" if unknown.

        Milvus forgets an index about an hour after it was dropped.
        """
        known = self.collection(collection_id)
        if known is None:
            return ""
        pairs = self._read(f"{meta.INDEXES}{collection_id}/")
        made = [
            index
            for index in meta.indexes(pairs, {collection_id: known})
            if index.name == name and index.created <= until
        ]
        return max(made, key=lambda index: index.created).field_name if made else ""

    def created(self) -> int:
        """Return when the source was set up, in nanoseconds since 1970.

        No two sources have the same, unless the etcd of one is a copy of the other's.
        Every other call raises SourceChangedError once it has become another.
        """
        self._databases()
        return self._created or 0

    def databases(self) -> dict[str, dict[str, str]]:
        """Return the properties of the databases that there are now, by name."""
        return meta.database_properties(self._database_pairs()[1])

    def aliases(self) -> Aliases:
        """Return what every alias stands for now."""
        revision, databases = self._databases()
        return self._aliases(databases, revision)

    def alias_ended(self, database: str, alias: str) -> int:
        """Return when an alias was last dropped, a hybrid timestamp.

        0 if the catalog has forgotten it, or does not know the alias.
        """
        revision, databases = self._databases()
        for database_id, name in databases.items():
            if name == database:
                key = f"{meta.ALIASES}{database_id}/{alias}"
                prefix = self._key(f"{history.SNAPSHOTS}{key}_ts")
                found = history.versions(
                    self._below(self._client.read(prefix, revision).pairs)
                )
                ends = [v for v in found if v[1] == key and v[2] == meta.TOMBSTONE]
                return ends[-1][0] if ends else 0
        return 0

    def imports(self) -> list[ImportMeta]:
        """Return the bulk imports that brought rows and are not forgotten yet."""
        return self._imports()

    def read_below(self, prefixes: Iterable[str], revision: int = 0) -> meta.Pairs:
        """Return what is below some prefixes of the metadata, all at one revision.

        What Milvus removed is there as ``TOMBSTONE``, where its key has snapshots.
        """
        found: list[tuple[str, bytes]] = []
        for prefix in prefixes:
            listing = self._client.read(self._key(prefix), revision)
            revision = listing.revision
            found += self._below(listing.pairs)
        return found

    def rbac(self) -> RbacMeta:
        """Return which users and roles there are now, and what they may do."""
        pairs = [pair for kind in rbac.PREFIXES for pair in self._read(kind)]
        self._databases()
        return rbac.parse(pairs)

    def time(self) -> int:
        """Return a hybrid timestamp by the source's own clock that nothing has there yet.

        Before Milvus gives timestamps to what is done it stores up to when it may, some
        three seconds ahead. Where it has not (2.2 to 3.0 all do) no time is late enough.
        """
        pairs = dict(self._client.read(self._time_key).pairs)
        stored = pairs.get(self._time_key)
        if stored is None:
            _log.warning("source_time_missing", key=self._time_key.decode())
            return meta.END_OF_TIME
        milliseconds = int.from_bytes(stored, "big") // 1_000_000
        return (milliseconds + 1) << LOGICAL_BITS

    def watch(self, revision: int) -> CatalogWatch:
        """Follow the collections from ``revision`` on: a snapshot's revision plus one."""
        stream = self._client.watch([self._key(each) for each in WATCHED], revision)
        return CatalogWatch(stream, self._root, self._known)

    def close(self) -> None:
        """Release the connection; watches go on. Idempotent."""
        self._client.close()

    def _databases(self) -> tuple[int, dict[int, str]]:
        """Return the databases now, and the revision that "now" is."""
        revision, pairs = self._database_pairs()
        found = meta.databases(pairs)
        # Also of those that are gone: collections moved from there were called so.
        self._database_names |= found
        return revision, found

    def _database_pairs(self) -> tuple[int, meta.Pairs]:
        listing = self._client.read(self._key(meta.DATABASES))
        pairs = self._present(listing.pairs)
        if not pairs:
            raise OperatorError(
                f"etcd holds no databases of a Milvus (2.2.9 or newer) below {self._root}; "
                "check rootPath and metaSubPath in sourceConfig.etcd"
            )
        self._refuse_another(meta.set_up(pairs))
        return listing.revision, pairs

    def _refuse_another(self, created: int) -> None:
        """What is not there any more was not dropped if all of it is another Milvus's."""
        if self._created not in (None, created):
            raise SourceChangedError(
                f"the source was set up anew: what is below {self._root} in etcd is "
                "another Milvus than a moment ago"
            )
        self._created = created

    def _look_up(self, wanted: Sequence[int]) -> dict[int, CollectionMeta]:
        """Return those of some collections that are where they were last seen."""
        prefixes = [each for one in wanted for each in self._known.prefixes(one)]
        if not self._known.databases(wanted) <= self._database_names.keys():
            self._databases()
        pairs = self._read_together(prefixes)
        found = assemble(pairs, self._database_names)
        for each in found.values():
            self._known.note(each)
        return {each: found[each] for each in wanted if each in found}

    def _look_up_name(self, database: str, name: str) -> CollectionMeta | None:
        known = self._known.id_of(database, name)
        found = self._look_up([known]).get(known) if known is not None else None
        named = found and (found.database, found.name) == (database, name)
        return found if found and found.available and named else None

    def _search(self) -> None:
        """Take in which collections were made, moved or renamed since the last search."""
        revision, _ = self._databases()
        pairs: list[tuple[bytes, bytes]] = []
        for prefix in (meta.COLLECTIONS, meta.COLLECTIONS_BEFORE_DATABASES):
            key = self._key(prefix)
            pairs += self._client.read(key, revision, self._searched + 1).pairs
        self._take_in(self._below(pairs), revision)

    def _take_in(self, pairs: meta.Pairs, revision: int) -> dict[int, CollectionMeta]:
        """Remember the collections of some pairs, which are all up to a revision."""
        found = assemble(pairs, self._database_names)
        for key, _ in pairs:
            self._known.note_key(key)
        for each in found.values():
            self._known.note(each)
        self._searched = revision
        return found

    def _aliases(self, databases: dict[int, str], revision: int) -> Aliases:
        found: Aliases = {}
        for pair in self._read(meta.ALIASES, revision):
            database_id, _, alias = pair[0].removeprefix(meta.ALIASES).partition("/")
            if database := databases.get(int(database_id)):
                found[database, alias] = meta.alias(pair)
        return found

    def _imports(self, revision: int = 0) -> list[ImportMeta]:
        keys = [self._key(kind) for kind in bulk_imports.PREFIXES]
        answers = self._client.read_together(keys, revision)
        return bulk_imports.imports(self._present(list(chain.from_iterable(answers))))

    def _read_kinds(
        self, kinds: Sequence[str], collections: Collection[int]
    ) -> list[meta.Pairs]:
        """Return what there is below each kind, at least of these collections."""
        if len(kinds) * len(collections) > MAX_RANGES:
            return [self._read(kind) for kind in kinds]
        wanted = [f"{kind}{each}" for kind in kinds for each in collections]
        pairs = self._read_together(wanted)
        return [[pair for pair in pairs if pair[0].startswith(kind)] for kind in kinds]

    def _read_together(self, prefixes: Iterable[str]) -> meta.Pairs:
        answers = self._client.read_together([self._key(each) for each in prefixes])
        # The prefix that is one collection's id may be that of another id, too.
        found = dict(pair for answer in answers for pair in answer)
        return self._below(list(found.items()))

    def _read(self, prefix: str, revision: int = 0) -> meta.Pairs:
        return self._present(self._client.read(self._key(prefix), revision).pairs)

    def _present(self, pairs: list[tuple[bytes, bytes]]) -> meta.Pairs:
        """Leave out what Milvus removed, and the root of the keys."""
        return [pair for pair in self._below(pairs) if pair[1] != meta.TOMBSTONE]

    def _below(self, pairs: list[tuple[bytes, bytes]]) -> meta.Pairs:
        return [(key.decode().removeprefix(self._root), value) for key, value in pairs]

    def _key(self, prefix: str) -> bytes:
        return f"{self._root}{prefix}".encode()


def _join(*parts: str) -> str:
    """Put a path together as Milvus does (Go's ``path.Join``): empty parts are none.

    Python's keeps two slashes that a path begins with.
    """
    given = [each for each in parts if each]
    return posixpath.normpath("/".join(given)).replace("//", "/") if given else ""
