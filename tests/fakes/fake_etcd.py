"""An etcd in memory with a Milvus's catalog in it, which counts what it is asked."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from itertools import count
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import schema_pb2

from cdc_actors.config import Etcd
from cdc_actors.source.catalog import catalog_pb2, etcd_pb2
from cdc_actors.source.catalog import model as meta
from cdc_actors.source.catalog.client import EtcdCatalog
from cdc_actors.source.catalog.etcd import EtcdClient, EtcdConfig
from cdc_actors.source.catalog.history import SNAPSHOTS

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = "by-dev/meta/"
CREATED, DROPPING = 0, 2


class FakeEtcd:
    """What a Milvus (2.3.5) writes of databases and collections. Any thread may use it.

    ``requests`` counts what was asked since it was last set to 0, ``sent`` the pairs that
    were answered. Revisions are Milvus's timestamps, too.
    """

    def __init__(self, databases: int = 1) -> None:
        self.requests = 0
        self.sent = 0
        self.revision = 1
        self._ids = count(1000)
        self._lock = threading.Lock()
        self._pairs: dict[str, tuple[bytes, int]] = {}
        self._keys: list[str] = []  # In order.
        self._written: list[str] = []
        self.listeners: list[Callable[[], None]] = []
        self.collections: dict[int, tuple[int, str]] = {}
        self.dropping: set[int] = set()
        for number in range(1, databases + 1):
            self.create_database(number, "default" if number == 1 else f"d{number}")

    def catalog(self) -> EtcdCatalog:
        """Return a catalog that reads it."""
        catalog = EtcdCatalog(Etcd())
        catalog.close()
        catalog._client = _Client(self)
        return catalog

    def put(self, key: str, value: bytes) -> None:
        """Write a pair."""
        self.write(ROOT + key, value)

    def delete(self, key: str) -> None:
        """Remove a pair."""
        self.write(ROOT + key, None)

    def write(self, key: str, value: bytes | None) -> None:
        """Write a pair whose key is given in full, or remove it."""
        with self._lock:
            self.revision += 1
            self._written.append(key)
            self._set(key, value)
            listeners = tuple(self.listeners)
        for heard in listeners:
            heard()

    def _set(self, key: str, value: bytes | None) -> None:
        if value is None:
            del self._pairs[key]
            self._keys.remove(key)
            return
        if key not in self._pairs:
            insort(self._keys, key)
        self._pairs[key] = value, self.revision

    def has(self, beginning: str, end: str) -> bool:
        """Tell whether there is a key that begins and ends like this."""
        with self._lock:
            keys = list(self._pairs)
        return any(key.startswith(beginning) and key.endswith(end) for key in keys)

    def wipe(self) -> None:
        """Remove everything."""
        for key in list(self._pairs):
            self.delete(key.removeprefix(ROOT))

    def create_database(self, number: int, name: str, created: int = 1) -> None:
        """Make a database, at a time in nanoseconds since 1970."""
        info = catalog_pb2.DatabaseInfo(id=number, name=name, created_time=created)
        self.put(f"{meta.DATABASES}{number}", info.SerializeToString())

    def create(self, database: int, name: str) -> int:
        """Make a collection with a field and a partition; return its id."""
        new = next(self._ids)
        field = schema_pb2.FieldSchema(fieldID=100, name="id")
        self.put(f"{meta.FIELDS}{new}/100", field.SerializeToString())
        partition = catalog_pb2.PartitionInfo(partition_id=1, partition_name="p")
        self.put(f"{meta.PARTITIONS}{new}/1", partition.SerializeToString())
        self.rename(new, database, name)
        return new

    def rename(self, collection: int, database: int, name: str) -> None:
        """Give a collection a name and a database."""
        before, _ = self.collections.get(collection, (database, ""))
        if before != database:
            self._remove_own(collection, before)
        self.collections[collection] = database, name
        self._put_own(collection, CREATED)

    def begin_drop(self, collection: int) -> None:
        """Mark a collection as being dropped: its name is free."""
        self.dropping.add(collection)
        self._put_own(collection, DROPPING)

    def drop(self, collection: int) -> None:
        """Remove a collection."""
        database, _ = self.collections.pop(collection)
        self.dropping.discard(collection)
        self._remove_own(collection, database)
        self.delete(f"{meta.FIELDS}{collection}/100")
        self.delete(f"{meta.PARTITIONS}{collection}/1")

    def _put_own(self, collection: int, state: int) -> None:
        database, name = self.collections[collection]
        schema = schema_pb2.CollectionSchema(name=name).SerializeToString()
        info = catalog_pb2.CollectionInfo(id=collection, schema=schema, state=state)
        key = f"{meta.COLLECTIONS}{database}/{collection}"
        self.put(key, info.SerializeToString())
        self.put(f"{SNAPSHOTS}{key}_ts{self.revision}", info.SerializeToString())

    def _remove_own(self, collection: int, database: int) -> None:
        key = f"{meta.COLLECTIONS}{database}/{collection}"
        self.delete(key)
        self.put(f"{SNAPSHOTS}{key}_ts{self.revision}", meta.TOMBSTONE)

    def range(self, request: etcd_pb2.RangeRequest) -> etcd_pb2.RangeResponse:
        """Answer one range."""
        first, end = request.key.decode("latin-1"), request.range_end.decode("latin-1")
        with self._lock:
            keys = self._keys[
                bisect_left(self._keys, first) : bisect_left(self._keys, end)
            ]
            pairs = [(key, *self._pairs[key]) for key in keys]
        found = [
            etcd_pb2.KeyValue(key=key.encode(), value=value)
            for key, value, written in pairs
            if written >= request.min_mod_revision
        ]
        self.sent += len(found)
        header = etcd_pb2.ResponseHeader(revision=self.revision)
        return etcd_pb2.RangeResponse(header=header, kvs=found)

    def written_since(self, place: int) -> list[bytes]:
        """Return the keys written since so many."""
        return [key.encode() for key in self._written[place:]]


class _Client(EtcdClient):
    def __init__(self, etcd: FakeEtcd) -> None:
        super().__init__(EtcdConfig(endpoints=["127.0.0.1:1"]))
        self._etcd = etcd

    def _call(self, method: str, request: Any, _answer: type[Any]) -> Any:
        self._etcd.requests += 1
        if method == "KV/Range":
            return self._etcd.range(request)
        answers = [self._etcd.range(each.request_range) for each in request.success]
        header = etcd_pb2.ResponseHeader(revision=self._etcd.revision)
        return etcd_pb2.TxnResponse(
            header=header,
            responses=[etcd_pb2.ResponseOp(response_range=each) for each in answers],
        )

    def watch(self, _prefixes: object, _revision: int) -> Any:
        return _Watch(self._etcd)


class _Watch:
    """Tells of what is written from now on."""

    def __init__(self, etcd: FakeEtcd) -> None:
        self._etcd = etcd
        self._place = len(etcd.written_since(0))
        self._heard: Callable[[], None] | None = None

    def take(self) -> list[bytes]:
        keys = self._etcd.written_since(self._place)
        self._place += len(keys)
        return keys

    def listen(self, heard: Callable[[], None]) -> None:
        self._etcd.listeners.append(heard)
        self._heard = heard

    def close(self) -> None:
        """Tell of nothing more."""
        if self._heard in self._etcd.listeners:
            self._etcd.listeners.remove(self._heard)
