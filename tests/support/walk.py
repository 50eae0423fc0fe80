"""A source that is walked through at random: what it has, and what may be done to it.

The world remembers what it did, so that it asks only what Milvus 2.3.5 takes; a refusal is
a fault of the walk. Values it forgets, for the comparison takes them from the source.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pymilvus import MilvusClient

from tests.support.workload_schemas import FLOAT_SPECS, KEY, VECTOR, Spec, text

if TYPE_CHECKING:
    from random import Random

    FullName = tuple[str, str]

TIMEOUT = 120.0
DEFAULT = "default"
DATABASES = ("one", "two")
NAMES = ("a", "b", "c", "d")
PARTITIONS = ("p", "q", "not_default")
MOST = 5
"""How many collections there are at most: each takes its time."""

KEYS = 60
"""How many keys a collection draws from: so few that most are written again and again."""

SPECS = FLOAT_SPECS
INDEXES = {
    "FLAT": {},
    "HNSW": {"M": 8, "efConstruction": 32},
    "IVF_FLAT": {"nlist": 16},
}
TTL = "collection.ttl.seconds"


@dataclass(slots=True, kw_only=True, eq=False)
class Collection:
    """A collection at the source. ``live`` has the partition of each key."""

    database: str
    name: str
    spec: Spec
    partitions: list[str]
    pool: list[int | str]
    live: dict[int | str, str] = field(default_factory=dict)
    index: str = ""
    loaded: Literal["", "partly", "wholly"] = ""

    @property
    def divided(self) -> bool:
        """Whether a partition key says where rows go."""
        return bool(self.spec.partition_key)

    def __str__(self) -> str:
        return f"{self.database}.{self.name}"


class World:
    """Everything that a source has. One thread uses it."""

    def __init__(self, uri: str, asked: list[str]) -> None:
        """The source must be empty; what it is asked is added to ``asked``."""
        self._uri = uri
        self._asked = asked
        self._clients: dict[str, MilvusClient] = {}
        self.databases = [DEFAULT]
        self.collections: list[Collection] = []
        self.aliases: dict[FullName, Collection | None] = {}

    def close(self) -> None:
        """Let no alias dangle, which nobody could find, and close the connections."""
        for alias in self.aliases_of(None):
            self.drop_alias(alias)
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def client(self, database: str = DEFAULT) -> MilvusClient:
        """Return a client of a database."""
        if database not in self._clients:
            self._clients[database] = MilvusClient(
                self._uri, db_name=database, timeout=TIMEOUT, dedicated=True
            )
        return self._clients[database]

    def _ask(self, database: str, method: str, *args: Any, **more: Any) -> Any:
        said = ", ".join(map(_brief, [*args, *filter(None, more.values())]))
        self._asked.append(f"{database}: {method}({said})")
        return getattr(self.client(database), method)(*args, timeout=TIMEOUT, **more)

    def free_names(self, database: str) -> list[str]:
        """Return what a collection or an alias of a database may be called."""
        taken = {c.name for c in self.collections if c.database == database}
        taken |= {alias for where, alias in self.aliases if where == database}
        return [name for name in NAMES if name not in taken]

    def roomy(self) -> list[str]:
        """Return the databases in which another collection may be created."""
        if len(self.collections) >= MOST:
            return []
        return [each for each in self.databases if self.free_names(each)]

    def aliases_of(self, collection: Collection | None) -> list[FullName]:
        """Return the aliases of a collection, or those of what was dropped."""
        return [key for key, to in self.aliases.items() if to is collection]

    def create_database(self, name: str) -> None:
        """Create a database."""
        self._ask(DEFAULT, "create_database", name)
        self.databases.append(name)

    def drop_database(self, name: str, *, aliases: bool) -> None:
        """Drop a database, the collections in it first, and their ``aliases`` before."""
        for collection in [c for c in self.collections if c.database == name]:
            self.drop(collection, aliases=aliases)
        self.aliases = {key: to for key, to in self.aliases.items() if key[0] != name}
        self._ask(DEFAULT, "drop_database", name)
        self.databases.remove(name)
        if client := self._clients.pop(name, None):
            client.close()

    def begin(self, database: str, name: str, rng: Random) -> None:
        """Create a collection of one kind or another, with some rows."""
        created = self.create(database, name, rng.choice(SPECS), rng)
        self.insert(created, created.partitions[0], rng)

    def create(self, database: str, name: str, spec: Spec, rng: Random) -> Collection:
        """Create a collection, every other time with an index and loaded."""
        partitioned = {"num_partitions": 3} if spec.partition_key else {}
        self._ask(
            database,
            "create_collection",
            name,
            schema=spec.schema(),
            num_shards=rng.randint(1, 3),
            **partitioned,
        )
        collection = Collection(
            database=database,
            name=name,
            spec=spec,
            partitions=[""] if spec.partition_key else ["_default"],
            pool=_pool(spec, rng),
        )
        self.collections.append(collection)
        if rng.random() < 0.5:
            self.create_index(collection, rng.choice(list(INDEXES)))
            self.load(collection)
        return collection

    def drop(self, collection: Collection, *, aliases: bool) -> None:
        """Drop a collection, its ``aliases`` first or not at all.

        2.3.5 lets them dangle: they can be altered and dropped, but nothing shows them. It
        takes a collection of their name, too, which then nobody can reach.
        """
        for alias in self.aliases_of(collection):
            if aliases:
                self.drop_alias(alias)
            else:
                self.aliases[alias] = None
        self._ask(collection.database, "drop_collection", collection.name)
        self.collections.remove(collection)

    def rename(self, collection: Collection, name: str, database: str = "") -> None:
        """Call a collection otherwise, or move it into another database."""
        old = collection.database, collection.name
        self._ask(old[0], "rename_collection", old[1], name, target_db=database)
        collection.name = name
        collection.database = database or collection.database
        self._forget(*old)
        self._forget(collection.database, name)

    def _forget(self, database: str, name: str) -> None:
        """Have pymilvus look up a schema anew: it does not know what a rename does."""
        self.client()._get_connection()._invalidate_schema(name, db_name=database)

    def exchange(self, one: Collection, other: Collection) -> None:
        """Give each of two collections of a database the name of the other."""
        names = one.name, other.name
        self.rename(one, "between")
        self.rename(other, names[0])
        self.rename(one, names[1])

    def create_partition(self, collection: Collection, name: str) -> None:
        """Create a partition."""
        self._ask(collection.database, "create_partition", collection.name, name)
        collection.partitions.append(name)

    def drop_partition(self, collection: Collection, name: str) -> None:
        """Drop a partition; Milvus wants it released."""
        if collection.loaded:
            self.release_partition(collection, name)
        self._ask(collection.database, "drop_partition", collection.name, name)
        collection.partitions.remove(name)
        gone = [key for key, where in collection.live.items() if where == name]
        for key in gone:
            del collection.live[key]

    def load_partition(self, collection: Collection, name: str) -> None:
        """Load one partition."""
        self._ask(collection.database, "load_partitions", collection.name, [name])
        collection.loaded = collection.loaded or "partly"

    def release_partition(self, collection: Collection, name: str) -> None:
        """Release one partition."""
        self._ask(collection.database, "release_partitions", collection.name, [name])
        collection.loaded = "partly"

    def create_alias(self, collection: Collection, alias: str) -> None:
        """Give a collection an alias."""
        self._ask(collection.database, "create_alias", collection.name, alias)
        self.aliases[collection.database, alias] = collection

    def alter_alias(self, alias: FullName, collection: Collection) -> None:
        """Let an alias stand for another collection of its database."""
        self._ask(alias[0], "alter_alias", collection.name, alias[1])
        self.aliases[alias] = collection

    def drop_alias(self, alias: FullName) -> None:
        """Drop an alias."""
        self._ask(alias[0], "drop_alias", alias[1])
        del self.aliases[alias]

    def create_index(self, collection: Collection, kind: str) -> None:
        """Create the index of the vectors."""
        indexes = MilvusClient.prepare_index_params()
        indexes.add_index(
            VECTOR, index_type=kind, metric_type="L2", params=INDEXES[kind]
        )
        self._ask(
            collection.database, "create_index", collection.name, indexes, sync=False
        )
        collection.index = kind

    def drop_index(self, collection: Collection) -> None:
        """Drop the index of the vectors; Milvus wants the collection released."""
        if collection.loaded:
            self.release(collection)
        self._ask(collection.database, "drop_index", collection.name, VECTOR)
        collection.index = ""

    def load(self, collection: Collection) -> None:
        """Load a collection, whole."""
        self._ask(collection.database, "load_collection", collection.name)
        collection.loaded = "wholly"

    def release(self, collection: Collection) -> None:
        """Release a collection."""
        self._ask(collection.database, "release_collection", collection.name)
        collection.loaded = ""

    def flush(self, collection: Collection) -> None:
        """Flush a collection."""
        self._ask(collection.database, "flush", collection.name)

    def alter_properties(self, collection: Collection, ttl: int) -> None:
        """Let rows live for so many seconds, and many they are."""
        self._ask(
            collection.database,
            "alter_collection_properties",
            collection.name,
            {TTL: ttl},
        )

    def insert(self, collection: Collection, partition: str, rng: Random) -> None:
        """Insert rows whose keys are not there."""
        keys = _some(rng, [k for k in collection.pool if k not in collection.live])
        if not keys:
            return
        given = self._ask(
            collection.database,
            "insert",
            collection.name,
            [collection.spec.row(rng, key) for key in keys],
            partition_name=partition or None,
        )
        collection.live |= dict.fromkeys(given["ids"], partition)
        if collection.spec.auto_id:
            collection.pool = collection.pool[len(keys) :]

    def upsert(self, collection: Collection, partition: str, rng: Random) -> None:
        """Upsert keys of one partition, live and new: others would come twice."""
        if collection.spec.auto_id:
            self.insert(collection, partition, rng)
            return
        elsewhere = {k for k, where in collection.live.items() if where != partition}
        keys = _some(rng, [k for k in collection.pool if k not in elsewhere])
        if keys:
            self._ask(
                collection.database,
                "upsert",
                collection.name,
                [collection.spec.row(rng, key) for key in keys],
                partition_name=partition or None,
            )
            collection.live |= dict.fromkeys(keys, partition)

    def delete(self, collection: Collection, partition: str, rng: Random) -> None:
        """Delete keys, of one partition if it is named; some are not there."""
        keys = _some(rng, [*collection.live, *collection.pool])
        self._ask(
            collection.database,
            "delete",
            collection.name,
            filter=f"{KEY} in {_listed(keys)}",
            partition_name=partition or None,
        )
        for key in keys:
            if partition in ("", collection.live.get(key)):
                collection.live.pop(key, None)


def _pool(spec: Spec, rng: Random) -> list[int | str]:
    """Return the keys that may come; of those that Milvus gives only how many."""
    if spec.key.name == "INT64":
        return list(range(-KEYS // 2, KEYS // 2))
    return list(dict.fromkeys(text(rng) for _ in range(KEYS)))


def _some(rng: Random, keys: list[int | str]) -> list[int | str]:
    """Return a few of different keys, or many."""
    different = list(dict.fromkeys(keys))
    return rng.sample(different, min(rng.choice((1, 4, 30)), len(different)))


def _brief(thing: Any) -> str:
    """Return what is asked, in short."""
    if isinstance(thing, list) and thing and isinstance(thing[0], dict):
        return f"{len(thing)} rows"
    return repr(thing)[:60]


_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"})


def _listed(keys: list[int | str]) -> str:
    texts = [
        f'"{key.translate(_ESCAPES)}"' if isinstance(key, str) else str(key)
        for key in keys
    ]
    return f"[{', '.join(texts)}]"
