"""The source's catalog: listed from etcd at one revision, then watched from there."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from cdc_actors.changes import DEFAULT_DATABASE
from cdc_actors.errors import OperatorError
from cdc_actors.source.catalog import history
from cdc_actors.source.catalog import model as meta
from cdc_actors.source.catalog.etcd import EtcdClient, EtcdConfig
from cdc_actors.source.catalog.model import (
    AliasMeta,
    CollectionMeta,
    ImportMeta,
    IndexMeta,
    LoadMeta,
    NameSince,
)
from cdc_actors.source.catalog.rbac import (
    ACCESS,
    PRIVILEGE_GROUPS,
    RbacMeta,
    access,
)
from cdc_actors.source.versions import refuse_unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cdc_actors.config import Etcd
    from cdc_actors.source.catalog.etcd import EtcdWatch
    from cdc_actors.source.versions import Version

__all__ = [
    "AliasMeta",
    "Aliases",
    "Catalog",
    "CatalogChanges",
    "CatalogSnapshot",
    "CatalogWatch",
    "CollectionMeta",
    "ImportMeta",
    "IndexAndLoadState",
    "IndexMeta",
    "LoadMeta",
    "NameSince",
    "RbacMeta",
]

Aliases = dict[tuple[str, str], AliasMeta]
"""What aliases stand for, by database and alias."""

_OF_COLLECTIONS = (
    meta.COLLECTIONS,
    meta.COLLECTIONS_BEFORE_DATABASES,
    meta.FIELDS,
    meta.FUNCTIONS,
    meta.PARTITIONS,
    meta.INDEXES,
    meta.COLLECTION_LOADS,
    meta.PARTITION_LOADS,
)
_BELONGINGS = (meta.FIELDS, meta.PARTITIONS, meta.FUNCTIONS)
_OF_ACCESS = (ACCESS, PRIVILEGE_GROUPS)
_WATCHED = (meta.DATABASES, *_OF_COLLECTIONS, meta.ALIASES, meta.IMPORTS, *_OF_ACCESS)
_COLLECTION_OF_KEY = re.compile(
    rf"(?:{meta.COLLECTIONS}\d+/|{'|'.join(_OF_COLLECTIONS[1:])})(\d+)(?:/|$)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSnapshot:
    """The whole catalog as it was at one revision of etcd.

    Collections by id, the oldest first, those being created or dropped included; indexes
    likewise, deleted ones included; loads by collection id.
    """

    revision: int
    databases: dict[int, str]
    collections: dict[int, CollectionMeta]
    indexes: tuple[IndexMeta, ...]
    loads: dict[int, LoadMeta]
    aliases: Aliases
    imports: list[ImportMeta]


@dataclass(frozen=True, slots=True)
class IndexAndLoadState:
    """What makes a collection searchable: the indexes in existence, and its load."""

    indexes: tuple[IndexMeta, ...] = ()
    load: LoadMeta | None = None


@dataclass(frozen=True, slots=True)
class CatalogChanges:
    """What was written since: of which collections, and whether of the other kinds."""

    databases: bool
    collections: frozenset[int]
    aliases: bool
    imports: bool
    access: bool


class Catalog:
    """Reads the metadata of one source. Used by one thread at a time.

    Every call raises ``TransientError`` when etcd is away or the revision it began with
    was compacted meanwhile, and ``OperatorError`` when etcd refuses or holds something
    else.
    """

    def __init__(self, etcd: Etcd) -> None:
        path = posixpath.normpath(f"{etcd.root_path}/{etcd.meta_sub_path}")
        self._root = f"{path}/"
        self._client = EtcdClient(_access(etcd))

    def snapshot(self) -> CatalogSnapshot:
        """Return everything, at one revision.

        Raises:
            UnsupportedVersionError: The source is one that cannot be read.
        """
        self.version()
        revision, databases = self._databases()
        found = self._collections(databases, revision)
        pairs = self._read(meta.INDEXES, revision)
        loads = (meta.COLLECTION_LOADS, meta.PARTITION_LOADS)
        return CatalogSnapshot(
            revision=revision,
            databases=databases,
            collections=found,
            indexes=tuple(_indexes(pairs, found)),
            loads=meta.loads(*(self._read(prefix, revision) for prefix in loads)),
            aliases=self._aliases(databases, revision),
            imports=meta.imports(self._read(meta.IMPORTS, revision)),
        )

    def collection(self, collection_id: int) -> CollectionMeta | None:
        """Return one collection as it is now, None if etcd does not have it.

        Linearizable: what Milvus had acknowledged before the call is seen.
        """
        revision, databases = self._databases()
        for prefix, database in _homes(databases):
            for key, value in self._read(f"{prefix}{collection_id}", revision):
                if key == f"{prefix}{collection_id}":
                    found = self._collection((key, value), database, revision)
                    return self._with_history(found, databases, revision)
        return None

    def find(self, database: str, name: str) -> CollectionMeta | None:
        """Return the collection of that name that is available now, None without one."""
        revision, databases = self._databases()
        for prefix, home in _homes(databases):
            if home != database:
                continue
            for pair in self._read(prefix, revision):
                found = meta.collection(pair, home)
                if found.available and found.name == name:
                    found = self._collection(pair, home, revision)
                    return self._with_history(found, databases, revision)
        return None

    def version(self) -> Version:
        """Return the version of the source, empty while it does not run.

        Raises:
            UnsupportedVersionError: It is one that cannot be read.
        """
        found = meta.version(self._read(meta.SESSIONS, 0))
        refuse_unsupported(found)
        return found

    def serving(
        self, found: Mapping[int, CollectionMeta]
    ) -> dict[int, IndexAndLoadState]:
        """Return what makes these collections searchable now, by their ids."""
        own = f"{next(iter(found))}" if len(found) == 1 else ""
        kinds = (meta.INDEXES, meta.COLLECTION_LOADS, meta.PARTITION_LOADS)
        indexes, *loads = (self._read(f"{kind}{own}", 0) for kind in kinds)
        loaded = meta.loads(*loads)
        made: dict[int, list[IndexMeta]] = {}
        for index in _indexes(indexes, found):
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
        pairs = self._read(f"{meta.INDEXES}{collection_id}/", 0)
        made = [
            index
            for index in _indexes(pairs, {collection_id: known})
            if index.name == name and index.created <= until
        ]
        return max(made, key=lambda index: index.created).field_name if made else ""

    def databases(self) -> frozenset[str]:
        """Return the names of the databases that there are now."""
        return frozenset(self._databases()[1].values())

    def aliases(self) -> Aliases:
        """Return what every alias stands for now."""
        revision, databases = self._databases()
        return self._aliases(databases, revision)

    def alias_ended(self, database: str, alias: str) -> int:
        """Return when an alias was last dropped, 0 if the catalog has forgotten it."""
        revision, databases = self._databases()
        for database_id, name in databases.items():
            if name == database:
                key = f"{meta.ALIASES}{database_id}/{alias}"
                found = self._versions(f"{key}_ts", revision)
                ends = [v for v in found if v[1] == key and v[2] == meta.TOMBSTONE]
                return ends[-1][0] if ends else 0
        return 0

    def imports(self) -> list[ImportMeta]:
        """Return the bulk imports that brought rows and are not forgotten yet."""
        return meta.imports(self._read(meta.IMPORTS, 0))

    def access(self) -> RbacMeta:
        """Return which users and roles there are now, and what they may do."""
        return access([*self._read(ACCESS, 0), *self._read(PRIVILEGE_GROUPS, 0)])

    def watch(self, revision: int) -> CatalogWatch:
        """Follow the collections from ``revision`` on: a snapshot's revision plus one."""
        prefixes = [f"{self._root}{prefix}".encode() for prefix in _WATCHED]
        return CatalogWatch(self._client.watch(prefixes, revision), self._root)

    def close(self) -> None:
        """Release the connection; watches go on. Idempotent."""
        self._client.close()

    def _databases(self) -> tuple[int, dict[int, str]]:
        """Return the databases now, and the revision that "now" is."""
        listing = self._client.read(f"{self._root}{meta.DATABASES}".encode())
        found = meta.databases(self._present(listing.pairs))
        if not found:
            raise OperatorError(
                f"etcd holds no databases of a Milvus (2.2.9 or newer) below {self._root}; "
                "check rootPath and metaSubPath in sourceConfig.etcd"
            )
        return listing.revision, found

    def _collections(
        self, databases: dict[int, str], revision: int
    ) -> dict[int, CollectionMeta]:
        kinds = [_by_collection(self._read(kind, revision)) for kind in _BELONGINGS]
        found: dict[int, CollectionMeta] = {}
        for prefix, database in _homes(databases):
            for pair in self._read(prefix, revision):
                key = pair[0].removeprefix(prefix)
                own = [of_kind.get(key, []) for of_kind in kinds]
                one = meta.collection(pair, database, *own)
                found[one.id] = one
        told = history.collection_versions(self._versions(meta.COLLECTIONS, revision))
        return {
            each: _with_versions(found[each], told.get(each, []), databases)
            for each in sorted(found)
        }

    def _collection(
        self, pair: tuple[str, bytes], database: str, revision: int
    ) -> CollectionMeta:
        key = pair[0].rpartition("/")[2]
        own = [self._read(f"{kind}{key}/", revision) for kind in _BELONGINGS]
        return meta.collection(pair, database, *own)

    def _with_history(
        self, found: CollectionMeta, databases: dict[int, str], revision: int
    ) -> CollectionMeta:
        told: list[history.Version] = []
        for prefix, _ in _homes(databases):
            told += self._versions(f"{prefix}{found.id}_ts", revision)
        told = history.collection_versions(sorted(told)).get(found.id, [])
        return _with_versions(found, told, databases)

    def _versions(self, prefix: str, revision: int) -> list[history.Version]:
        key = f"{self._root}{history.SNAPSHOTS}{prefix}".encode()
        return history.versions(self._below(self._client.read(key, revision).pairs))

    def _aliases(self, databases: dict[int, str], revision: int) -> Aliases:
        found: Aliases = {}
        for database_id, database in databases.items():
            prefix = f"{meta.ALIASES}{database_id}/"
            for pair in self._read(prefix, revision):
                found[database, pair[0].removeprefix(prefix)] = meta.alias(pair)
        return found

    def _read(self, prefix: str, revision: int) -> meta.Pairs:
        listing = self._client.read(f"{self._root}{prefix}".encode(), revision)
        return self._present(listing.pairs)

    def _present(self, pairs: list[tuple[bytes, bytes]]) -> meta.Pairs:
        """Leave out what Milvus removed, and the root of the keys."""
        return [pair for pair in self._below(pairs) if pair[1] != meta.TOMBSTONE]

    def _below(self, pairs: list[tuple[bytes, bytes]]) -> meta.Pairs:
        return [(key.decode().removeprefix(self._root), value) for key, value in pairs]


class CatalogWatch:
    """What happened to the source's collections. Used by one thread at a time."""

    def __init__(self, stream: EtcdWatch, root: str) -> None:
        self._stream = stream
        self._root = root

    def changed(self) -> CatalogChanges:
        """Return, at once, what changed since the last call.

        A collection changed if its properties, schema, partitions, indexes or loading
        were written or removed.

        Raises:
            CdcError: The watch is broken, or the changes from its revision on are no
                longer held: take a new snapshot and watch from there.
        """
        keys = [key.decode().removeprefix(self._root) for key in self._stream.take()]
        found = map(_COLLECTION_OF_KEY.match, keys)
        return CatalogChanges(
            any(key.startswith(meta.DATABASES) for key in keys),
            frozenset(int(match[1]) for match in found if match),
            any(key.startswith(meta.ALIASES) for key in keys),
            any(key.startswith(meta.IMPORTS) for key in keys),
            any(key.startswith(_OF_ACCESS) for key in keys),
        )

    def close(self) -> None:
        """End the watch. Idempotent."""
        self._stream.close()


def _homes(databases: dict[int, str]) -> Iterator[tuple[str, str]]:
    """Yield where the collections of each database are kept, and its name."""
    yield meta.COLLECTIONS_BEFORE_DATABASES, DEFAULT_DATABASE
    for database_id, name in databases.items():
        yield f"{meta.COLLECTIONS}{database_id}/", name


def _with_versions(
    found: CollectionMeta, told: list[history.Version], databases: dict[int, str]
) -> CollectionMeta:
    """Add what the collection was called, and when it was last written down."""
    names = history.names(told, databases)
    now = NameSince(found.created, found.database, found.name)
    if not names or (names[-1].database, names[-1].name) != (now.database, now.name):
        names = [now]
    altered = told[-1][0] if told else found.created
    return replace(found, names=tuple(names), altered=altered)


def _by_collection(pairs: meta.Pairs) -> dict[str, meta.Pairs]:
    """Group pairs of keys ``<kind>/<collection>/<own id>`` by collection."""
    groups = groupby(pairs, key=lambda pair: pair[0].split("/")[-2])
    return {key: list(group) for key, group in groups}


def _indexes(
    pairs: meta.Pairs, collections: Mapping[int, CollectionMeta]
) -> Iterator[IndexMeta]:
    for key, group in _by_collection(pairs).items():
        known = collections.get(int(key))
        names = meta.field_names(known.schema) if known else {}
        for pair in group:
            yield meta.index(pair, names)


def _access(etcd: Etcd) -> EtcdConfig:
    return EtcdConfig(
        endpoints=tuple(etcd.address),
        username=etcd.username if etcd.enable_auth else "",
        password=etcd.password,
        tls=etcd.enable_tls,
        certificate=etcd.tls_cert_path,
        key=etcd.tls_key_path,
        ca=etcd.tls_ca_cert_path,
    )
