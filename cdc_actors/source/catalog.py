"""The source's catalog: listed from etcd at one revision, then watched from there."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from cdc_actors.errors import OperatorError
from cdc_actors.source import catalog_meta as meta
from cdc_actors.source.catalog_meta import CollectionMeta, IndexMeta, LoadMeta
from cdc_actors.source.etcd import Access, EtcdClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.config import Etcd
    from cdc_actors.source.etcd import EtcdWatch

__all__ = [
    "Catalog",
    "CatalogSnapshot",
    "CatalogWatch",
    "CollectionMeta",
    "IndexMeta",
    "LoadMeta",
]

_WATCHED = (
    meta.COLLECTIONS,
    meta.COLLECTIONS_BEFORE_DATABASES,
    meta.FIELDS,
    meta.PARTITIONS,
    meta.INDEXES,
    meta.COLLECTION_LOADS,
    meta.PARTITION_LOADS,
)
_COLLECTION_OF_KEY = re.compile(
    rf"(?:{meta.COLLECTIONS}\d+/|{'|'.join(_WATCHED[1:])})(\d+)(?:/|$)"
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
        """Return everything, at one revision."""
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
        )

    def collection(self, collection_id: int) -> CollectionMeta | None:
        """Return one collection as it is now, None if etcd does not have it.

        Linearizable: what Milvus had acknowledged before the call is seen.
        """
        revision, databases = self._databases()
        for prefix, database in _homes(databases):
            for key, value in self._read(f"{prefix}{collection_id}", revision):
                if key == f"{prefix}{collection_id}":
                    return self._collection((key, value), database, revision)
        return None

    def find(self, database: str, name: str) -> CollectionMeta | None:
        """Return the collection of that name that is available now, None without one."""
        revision, databases = self._databases()
        for prefix, home in _homes(databases):
            if home != database:
                continue
            for pair in self._read(prefix, revision):
                found = meta.collection(pair, home, [], [])
                if found.available and found.name == name:
                    return self._collection(pair, home, revision)
        return None

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
                f"etcd holds no databases of a Milvus (2.3 or newer) below {self._root}; "
                "check rootPath and metaSubPath in sourceConfig.etcd"
            )
        return listing.revision, found

    def _collections(
        self, databases: dict[int, str], revision: int
    ) -> dict[int, CollectionMeta]:
        fields = _by_collection(self._read(meta.FIELDS, revision))
        partitions = _by_collection(self._read(meta.PARTITIONS, revision))
        found: dict[int, CollectionMeta] = {}
        for prefix, database in _homes(databases):
            for pair in self._read(prefix, revision):
                key = pair[0].removeprefix(prefix)
                parts = fields.get(key, []), partitions.get(key, [])
                one = meta.collection(pair, database, *parts)
                found[one.id] = one
        return dict(sorted(found.items()))

    def _collection(
        self, pair: tuple[str, bytes], database: str, revision: int
    ) -> CollectionMeta:
        own = pair[0].rpartition("/")[2]
        fields = self._read(f"{meta.FIELDS}{own}/", revision)
        partitions = self._read(f"{meta.PARTITIONS}{own}/", revision)
        return meta.collection(pair, database, fields, partitions)

    def _read(self, prefix: str, revision: int) -> meta.Pairs:
        listing = self._client.read(f"{self._root}{prefix}".encode(), revision)
        return self._present(listing.pairs)

    def _present(self, pairs: list[tuple[bytes, bytes]]) -> meta.Pairs:
        """Leave out what Milvus removed, and the root of the keys."""
        return [
            (key.decode().removeprefix(self._root), value)
            for key, value in pairs
            if value != meta.TOMBSTONE
        ]


class CatalogWatch:
    """What happened to the source's collections. Used by one thread at a time."""

    def __init__(self, stream: EtcdWatch, root: str) -> None:
        self._stream = stream
        self._root = root

    def changed(self) -> set[int]:
        """Return, at once, the ids of the collections that changed since the last call.

        Changed: its properties, schema, partitions, indexes or loading were written or
        removed.

        Raises:
            CdcError: The watch is broken, or the changes from its revision on are no
                longer held: take a new snapshot and watch from there.
        """
        keys = (key.decode().removeprefix(self._root) for key in self._stream.take())
        return {int(match[1]) for match in map(_COLLECTION_OF_KEY.match, keys) if match}

    def close(self) -> None:
        """End the watch. Idempotent."""
        self._stream.close()


def _homes(databases: dict[int, str]) -> Iterator[tuple[str, str]]:
    """Yield where the collections of each database are kept, and its name."""
    yield meta.COLLECTIONS_BEFORE_DATABASES, meta.DEFAULT_DATABASE
    for database_id, name in databases.items():
        yield f"{meta.COLLECTIONS}{database_id}/", name


def _by_collection(pairs: meta.Pairs) -> dict[str, meta.Pairs]:
    """Group pairs of keys ``<kind>/<collection>/<own id>`` by collection."""
    groups = groupby(pairs, key=lambda pair: pair[0].split("/")[-2])
    return {key: list(group) for key, group in groups}


def _indexes(
    pairs: meta.Pairs, collections: dict[int, CollectionMeta]
) -> Iterator[IndexMeta]:
    for key, group in _by_collection(pairs).items():
        known = collections.get(int(key))
        names = meta.field_names(known.schema) if known else {}
        for pair in group:
            yield meta.index(pair, names)


def _access(etcd: Etcd) -> Access:
    return Access(
        endpoints=tuple(etcd.address),
        username=etcd.username if etcd.enable_auth else "",
        password=etcd.password,
        tls=etcd.enable_tls,
        certificate=etcd.tls_cert_path,
        key=etcd.tls_key_path,
        ca=etcd.tls_ca_cert_path,
    )
