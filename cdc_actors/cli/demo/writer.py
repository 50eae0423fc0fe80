"""What users do: write at the source, and read at the target."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from pymilvus import CollectionSchema, DataType, FieldSchema, MilvusClient
from pymilvus.exceptions import MilvusException

from cdc_actors.beside import uninterrupted
from cdc_actors.errors import OperatorError
from cdc_actors.grpc_common import NO_KEEPALIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Key = int | str

_TIMEOUT = 60.0
_BATCH = 250
_UPDATED = 10
_DELETED = 20
_TOPICS = ("coffee", "tea", "juice", "water", "wine")


@dataclass(slots=True, kw_only=True)
class Tally:
    """How many rows were written in which way."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    def __str__(self) -> str:
        return (
            f"{self.inserted:,} inserted, {self.updated:,} updated, "
            f"{self.deleted:,} deleted"
        )


@dataclass(slots=True, kw_only=True)
class _Collection:
    """A collection and the keys of its rows; ``key_of`` makes the key of a number."""

    name: str
    dim: int
    index: dict[str, Any]
    key_of: Callable[[int], Key]
    keys: list[Key] = field(default_factory=list)
    made: int = 0

    def schema(self) -> CollectionSchema:
        text = isinstance(self.key_of(0), str)
        key = DataType.VARCHAR if text else DataType.INT64
        length = {"max_length": 64} if text else {}
        fields = [
            FieldSchema("id", key, is_primary=True, **length),
            FieldSchema("vector", DataType.FLOAT_VECTOR, dim=self.dim),
            FieldSchema("topic", DataType.VARCHAR, max_length=64),
            FieldSchema("price", DataType.DOUBLE),
            FieldSchema("details", DataType.JSON),
        ]
        return CollectionSchema(fields, enable_dynamic_field=True)

    def row(self, rng: Random, key: Key) -> dict[str, Any]:
        return {
            "id": key,
            "vector": [rng.uniform(-1, 1) for _ in range(self.dim)],
            "topic": rng.choice(_TOPICS),
            "price": rng.uniform(1, 100),
            "details": {"stock": rng.randrange(1000), "tags": rng.sample(_TOPICS, 2)},
            f"extra_{rng.randrange(3)}": rng.random() < 0.5,  # noqa: PLR2004 - a coin
        }

    def new_keys(self, count: int) -> list[Key]:
        keys = [self.key_of(number) for number in range(self.made, self.made + count)]
        self.made += count
        self.keys += keys
        return keys


class Writer:
    """Writes to the Milvus at ``uri``. Used by one thread.

    Every method raises OperatorError with Milvus's words where that refuses.
    """

    def __init__(self, uri: str) -> None:
        self._rng = Random()  # noqa: S311 - no secrets
        self._client = _connected(uri, "source")
        hnsw = {"index_type": "HNSW", "params": {"M": 8, "efConstruction": 64}}
        flat = {"index_type": "FLAT", "params": {}}
        customer = "customer-{:06}".format
        self._archive = _Collection(name="archive", dim=32, index=flat, key_of=int)
        self._new = (
            _Collection(name="articles", dim=128, index=hnsw, key_of=int),
            _Collection(name="customers", dim=64, index=flat, key_of=customer),
        )
        self._collections = (*self._new, self._archive)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._client.close()

    @property
    def names(self) -> list[str]:
        """The collections."""
        return [collection.name for collection in self._collections]

    @property
    def rows(self) -> int:
        """How many rows the source has now."""
        return sum(len(collection.keys) for collection in self._collections)

    @uninterrupted
    def write_archive(self, rows: int, progress: Callable[[str], None]) -> Tally:
        """Create the collection ``archive``, and write ``rows`` rows as ``write`` does."""
        with _errors("source"):
            self._create(self._archive)
        return self._write_all(rows, lambda count: [(self._archive, count)], progress)

    @uninterrupted
    def flush_archive(self) -> None:
        """Have all rows of the archive written into files."""
        with _errors("source"):
            self._client.flush(self._archive.name, timeout=_TIMEOUT)

    @uninterrupted
    def create(self) -> None:
        """Create the other collections; give each an index, and load it."""
        with _errors("source"), ThreadPoolExecutor() as pool:
            # At once: a load waits most of its time.
            list(pool.map(self._create, self._new))
            list(pool.map(self._load, self._collections))

    @uninterrupted
    def write(self, rows: int, progress: Callable[[str], None]) -> Tally:
        """Insert ``rows`` rows; update some and delete some in between."""
        return self._write_all(rows, self._shares, progress)

    def _shares(self, count: int) -> list[tuple[_Collection, int]]:
        """Half are articles."""
        quarter = count // 4
        return list(
            zip(self._collections, (count - 2 * quarter, quarter, quarter), strict=True)
        )

    def _write_all(
        self,
        rows: int,
        shares: Callable[[int], list[tuple[_Collection, int]]],
        progress: Callable[[str], None],
    ) -> Tally:
        tally = Tally()
        with _errors("source"):
            for begin in range(0, rows, _BATCH):
                for collection, share in shares(min(_BATCH, rows - begin)):
                    self._write(collection, share, tally)
                progress(str(tally))
        return tally

    def _create(self, collection: _Collection) -> None:
        self._client.create_collection(
            collection.name,
            schema=collection.schema(),
            num_shards=2,
            timeout=_TIMEOUT,
        )

    def _load(self, collection: _Collection) -> None:
        name = collection.name
        index = MilvusClient.prepare_index_params()
        index.add_index("vector", metric_type="L2", **collection.index)
        self._client.create_index(name, index, timeout=_TIMEOUT)
        self._client.load_collection(name, timeout=_TIMEOUT)

    def _write(self, collection: _Collection, count: int, tally: Tally) -> None:
        if not count:
            return
        name, client = collection.name, self._client
        keys = collection.new_keys(count)
        client.insert(name, self._some(collection, keys), timeout=_TIMEOUT)
        chosen = self._rng.sample(collection.keys, -(-count // _UPDATED))
        client.upsert(name, self._some(collection, chosen), timeout=_TIMEOUT)
        gone = set(self._rng.sample(collection.keys, count // _DELETED))
        if gone:
            client.delete(name, ids=list(gone), timeout=_TIMEOUT)
        collection.keys = [key for key in collection.keys if key not in gone]
        tally.inserted += count
        tally.updated += len(chosen)
        tally.deleted += len(gone)

    def _some(self, collection: _Collection, keys: list[Key]) -> list[dict[str, Any]]:
        return [collection.row(self._rng, key) for key in keys]


class Reader:
    """Counts rows at the Milvus at ``uri``. Used by one thread."""

    def __init__(self, uri: str) -> None:
        self._client = _connected(uri, "target")

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._client.close()

    @uninterrupted
    def rows(self, names: list[str]) -> int:
        """Return how many rows it has in these collections, none where it cannot say."""
        return sum(map(self._count, names))

    def _count(self, name: str) -> int:
        try:
            rows = self._client.query(
                name,
                "",
                output_fields=["count(*)"],
                consistency_level="Strong",
                timeout=_TIMEOUT,
            )
        except MilvusException:
            return 0
        return int(rows[0]["count(*)"])


@uninterrupted
def _connected(uri: str, side: str) -> MilvusClient:
    with _errors(side):
        return MilvusClient(
            uri, timeout=_TIMEOUT, dedicated=True, grpc_options=NO_KEEPALIVE
        )


@contextmanager
def _errors(side: str) -> Iterator[None]:
    try:
        yield
    except MilvusException as error:
        raise OperatorError(f"The {side} refuses: {error.message}") from error
