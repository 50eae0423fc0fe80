"""Random writes to a Milvus 2.3, over all its data types.

Keys stay unique: a live key is written again by upsert only. So the workload remembers,
for each collection, which keys are live and in which partition; values it forgets, for the
comparison takes them from the source itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Self

from pymilvus import DataType, MilvusClient

from tests.support.workload_schemas import (
    BINARY_SPECS,
    FLOAT_SPECS,
    GROUPS,
    KEY,
    VECTOR,
    Spec,
    text,
)

if TYPE_CHECKING:
    from types import TracebackType

TIMEOUT = 60.0
KEYS = 1_500
"""How many keys a collection draws from, and so the most rows that it has."""

PARTITIONS = 4

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"})
# The neighbours of the extremes: 2.3 can neither return 2**63-1 nor parse -(2**63).
_INTS = (-(2**63) + 1, 2**63 - 2, *range(-KEYS // 2, KEYS // 2 - 2))


@dataclass(slots=True, kw_only=True)
class Collection:
    """A collection at the source, as the workload knows it.

    ``live`` has the partition of each key; it is empty where a partition key decides.
    """

    name: str
    spec: Spec
    partitions: list[str]
    pool: list[int | str]
    live: dict[int | str, str] = field(default_factory=dict)

    def free(self, count: int) -> list[int | str]:
        """Return up to ``count`` keys that are not live."""
        return [key for key in self.pool if key not in self.live][:count]

    def without(self, keys: list[int | str]) -> None:
        """Forget keys that are deleted."""
        for key in keys:
            self.live.pop(key, None)


class Workload:
    """Writes at random to the Milvus at ``uri``; the same writes for the same seed.

    Only the keys that Milvus gives itself differ from run to run. Collections stay loaded
    and indexed. ``binary_vectors`` adds what Milvus Lite cannot hold. Used by one thread.
    """

    def __init__(self, uri: str, seed: int, *, binary_vectors: bool) -> None:
        self._rng = Random(seed)
        self._client = MilvusClient(uri, timeout=TIMEOUT, dedicated=True)
        self._specs = FLOAT_SPECS + (BINARY_SPECS if binary_vectors else ())
        self.collections: dict[str, Collection] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._client.close()

    def rows(self) -> dict[str, int]:
        """Return how many rows the source should have, by collection."""
        return {name: len(each.live) for name, each in self.collections.items()}

    def setup(self) -> None:
        """Create one collection of each kind, with an index, loaded, and some rows."""
        for number, spec in enumerate(self._specs):
            self._create(f"load_{number}", spec)
        for collection in self.collections.values():
            self._insert(collection)

    def step(self) -> str:
        """Do one random operation on one collection; return what it was."""
        collection = self._rng.choice(list(self.collections.values()))
        name = self._rng.choices(tuple(_WEIGHTS), tuple(_WEIGHTS.values()))[0]
        getattr(self, f"_{name}")(collection)
        return f"{name} {collection.name}"

    def wait_loaded(self) -> None:
        """Wait until a source that was started again can delete what a filter finds."""
        for name in self.collections:
            self._client.load_collection(name, timeout=TIMEOUT)

    def _create(self, name: str, spec: Spec) -> None:
        partitioned = {"num_partitions": PARTITIONS} if spec.partition_key else {}
        self._client.create_collection(
            name,
            schema=spec.schema(),
            num_shards=self._rng.randint(1, 3),
            timeout=TIMEOUT,
            **partitioned,
        )
        self._index(name, spec)
        self._client.load_collection(name, timeout=TIMEOUT)
        self.collections[name] = Collection(
            name=name,
            spec=spec,
            partitions=[""] if spec.partition_key else ["_default"],
            pool=self._pool(spec),
        )

    def _index(self, name: str, spec: Spec) -> None:
        binary = spec.vector == DataType.BINARY_VECTOR
        kind = "BIN_FLAT" if binary else self._rng.choice(("FLAT", "HNSW"))
        indexes = MilvusClient.prepare_index_params()
        indexes.add_index(
            VECTOR,
            index_type=kind,
            metric_type="HAMMING" if binary else self._rng.choice(("L2", "IP")),
            params={"M": 8, "efConstruction": 32} if kind == "HNSW" else {},
        )
        self._client.create_index(name, indexes, timeout=TIMEOUT, sync=False)

    def _pool(self, spec: Spec) -> list[int | str]:
        if spec.key == DataType.INT64:
            return self._rng.sample(_INTS, len(_INTS))
        return list(dict.fromkeys(text(self._rng) for _ in range(KEYS)))

    def _insert(self, collection: Collection) -> None:
        keys = collection.free(self._size())
        if collection.spec.auto_id:
            keys = [""] * min(self._size(), KEYS - len(collection.live))
        if not keys:
            self._delete_keys(collection)
            return
        partition = self._rng.choice(collection.partitions)
        rows = [collection.spec.row(self._rng, key) for key in keys]
        given = self._client.insert(
            collection.name, rows, partition_name=partition or None, timeout=TIMEOUT
        )
        self._rng.shuffle(collection.pool)
        collection.live |= dict.fromkeys(given["ids"], partition)

    def _upsert(self, collection: Collection) -> None:
        """Upsert keys of one partition, live and new: others would come twice."""
        if collection.spec.auto_id:
            self._insert(collection)
            return
        partition = self._rng.choice(collection.partitions)
        here = [key for key, where in collection.live.items() if where == partition]
        size = self._size()
        keys = self._rng.sample(here, min(size, len(here))) + collection.free(size // 4)
        if not keys:
            return
        rows = [collection.spec.row(self._rng, key) for key in keys]
        self._client.upsert(
            collection.name, rows, partition_name=partition or None, timeout=TIMEOUT
        )
        collection.live |= dict.fromkeys(keys, partition)

    def _delete_keys(self, collection: Collection) -> None:
        """Delete keys wherever they are, some of which are not there."""
        keys = self._sample(collection)
        if not collection.spec.auto_id:
            keys += collection.free(2)
        if keys:
            self._delete(collection, _any_of(keys), "")
            collection.without(keys)

    def _delete_in_partition(self, collection: Collection) -> None:
        """Delete keys in one partition; those of the others stay."""
        partition = self._rng.choice(collection.partitions)
        keys = self._sample(collection)
        if keys:
            self._delete(collection, _any_of(keys), partition)
            here = [key for key in keys if collection.live[key] == partition]
            collection.without(here)

    def _delete_matching(self, collection: Collection) -> None:
        """Delete by an expression; the source says what that left."""
        condition = f"grp == {self._rng.randrange(GROUPS)}"
        self._delete(collection, condition, "")
        rows = self._client.query(
            collection.name,
            "grp >= 0",
            output_fields=[KEY],
            consistency_level="Strong",
            timeout=TIMEOUT,
        )
        left = {row[KEY] for row in rows}
        collection.without([key for key in collection.live if key not in left])

    def _delete(self, collection: Collection, condition: str, partition: str) -> None:
        self._client.delete(
            collection.name,
            filter=condition,
            partition_name=partition or None,
            timeout=TIMEOUT,
        )

    def _flush(self, collection: Collection) -> None:
        self._client.flush(collection.name, timeout=TIMEOUT)

    def _create_partition(self, collection: Collection) -> None:
        if collection.spec.partition_key or len(collection.partitions) >= PARTITIONS:
            self._insert(collection)
            return
        name = f"part_{len(collection.partitions)}"
        self._client.create_partition(collection.name, name, timeout=TIMEOUT)
        collection.partitions.append(name)

    def _recreate(self, collection: Collection) -> None:
        """Drop a collection and create another one under its name."""
        self._client.drop_collection(collection.name, timeout=TIMEOUT)
        others = [spec for spec in self._specs if spec != collection.spec]
        self._create(collection.name, self._rng.choice(others))
        self._insert(self.collections[collection.name])

    def _sample(self, collection: Collection) -> list[int | str]:
        live = list(collection.live)
        return self._rng.sample(live, min(self._size(), len(live)))

    def _size(self) -> int:
        few, many = self._rng.randint(2, 40), self._rng.randint(40, 300)
        return self._rng.choice((1, few, few, many))


_WEIGHTS = {
    "insert": 30,
    "upsert": 20,
    "delete_keys": 20,
    "delete_in_partition": 8,
    "delete_matching": 8,
    "flush": 3,
    "create_partition": 4,
    "recreate": 2,
}


def _any_of(keys: list[int | str]) -> str:
    return f"{KEY} in [{', '.join(map(_literal, keys))}]"


def _literal(key: int | str) -> str:
    return f'"{key.translate(_ESCAPES)}"' if isinstance(key, str) else str(key)
