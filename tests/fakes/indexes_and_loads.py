"""A collection with indexes and loads, and what looks at it, without any server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from pymilvus.grpc_gen import schema_pb2

from cdc_actors.pipeline.metadata.indexes_and_loads import IndexesAndLoads
from cdc_actors.pipeline.work import CatalogOperation
from cdc_actors.source.catalog.client import IndexAndLoadState, IndexMeta, LoadMeta
from cdc_actors.source.catalog.model import PartitionMeta

if TYPE_CHECKING:
    from collections.abc import Container

    from cdc_actors.pipeline.work import ForwardRequest
    from cdc_actors.tasks import CollectionEntry

ID = 445
VERSION = (2, 3, 0)


class Server:
    """One collection as a Milvus has it, which refuses what Milvus refuses."""

    def __init__(self) -> None:
        self.partitions = {1}
        self.indexes: dict[str, str] = {}
        self.whole = False
        self.loaded: set[int] = set()

    @property
    def shown(self) -> tuple[dict[str, str], bool, set[int]]:
        """What must be the same at source and target."""
        return self.indexes, self.whole, self.loaded

    def create_partition(self, number: int) -> None:
        """Of a whole collection that is loaded, it is, too."""
        self.partitions.add(number)
        if self.whole:
            self.loaded.add(number)

    def create_index(self, name: str, kind: str) -> None:
        """Create it; the same again is nothing new."""
        assert self.indexes.get(name, kind) == kind, "there is another"
        self.indexes[name] = kind

    def drop_index(self, name: str) -> None:
        """Drop it, if it is there; not while anything is loaded."""
        assert not self.loaded, "it is loaded"
        self.indexes.pop(name, None)

    def load(self, some: set[int] | None = None) -> None:
        """Load all, or some partitions."""
        assert self.indexes, "there is no index"
        self.whole |= some is None
        self.loaded |= self.partitions if some is None else some

    def release(self, some: set[int] | None = None) -> None:
        """Release all, or some partitions."""
        self.loaded -= self.partitions if some is None else some
        self.whole &= bool(self.loaded)

    def do(self, work: CatalogOperation) -> None:
        """Do what the catalog shows."""
        wanted = work.detail.request
        some = {int(name) for name in wanted.get("partition_names", ())}
        match work.kind:
            case "CreateIndex":
                (kind,) = (each["value"] for each in wanted["extra_params"])
                self.create_index(wanted["index_name"], kind)
            case "DropIndex":
                self.drop_index(wanted["index_name"])
            case "LoadCollection":
                self.load()
            case "ReleaseCollection":
                self.release()
            case "LoadPartitions":
                self.load(some)
            case "ReleasePartitions":
                self.release(some)


class Source(Server):
    """One whose catalog is read: with ids, and as its version writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: dict[str, int] = {}
        self.made = 0
        self.names_partitions = True
        self.fields: frozenset[int] = frozenset()
        self.shown_version = VERSION

    def field_of_index(self, _collection: int, _name: str, _until: int) -> str:
        """Return the only field that has indexes."""
        return "vector"

    def create_index(self, name: str, kind: str) -> None:
        """Give each a new id."""
        if name not in self.indexes:
            self.made += 1
            self.ids[name] = self.made
        super().create_index(name, kind)

    def version(self) -> tuple[int, ...]:
        """As the catalog does."""
        return self.shown_version

    def meta(self) -> SimpleNamespace:
        """The collection in the catalog, as far as it matters here."""
        found = {each: PartitionMeta(str(each), each) for each in self.partitions}
        schema = schema_pb2.CollectionSchema()
        for number, name in enumerate(("id", "vector", "text"), 100):
            schema.fields.add(fieldID=number, name=name)
        return SimpleNamespace(
            id=ID, partitions=found, schema=schema.SerializeToString()
        )

    def indexes_and_loads(self, _known: object) -> dict[int, IndexAndLoadState]:
        """As the catalog does."""
        indexes = tuple(
            IndexMeta(
                id=self.ids[name],
                collection_id=ID,
                field_id=100,
                field_name=name,
                name=name,
                params={"index_type": kind},
                created=10,
                deleted=False,
            )
            for name, kind in self.indexes.items()
        )
        named = self.names_partitions or not self.whole
        load = LoadMeta(
            collection_id=ID,
            replicas=1,
            whole=self.whole,
            partitions=frozenset(self.loaded) if named else frozenset(),
            fields=self.fields,
        )
        return {ID: IndexAndLoadState(indexes, load if self.loaded else None)}


class Harness:
    """One run's look at a source; what is asked of the target is kept.

    ``entry`` is what earlier runs did; ``tick`` is how far the log has come.
    """

    def __init__(self, source: Source, entry: CollectionEntry) -> None:
        self.source = source
        self.issued: list[CatalogOperation | ForwardRequest] = []
        self.times: list[int] = []
        self.tick = 1 << 60
        self.behind = False
        known = SimpleNamespace(entry=entry, channels=("c",))
        router = SimpleNamespace(get=lambda _id: known, is_ignored=lambda _id: False)
        pending = SimpleNamespace(
            defer=self._defer,
            withdraw=self._take_back,
        )
        channels = SimpleNamespace(
            tick=lambda _channel: self.tick, is_behind=lambda _channel: self.behind
        )
        self.indexes_and_loads = IndexesAndLoads(
            router, pending, channels, source, "requests"
        )

    def _defer(
        self, work: CatalogOperation | ForwardRequest, timestamp: int, _id: int
    ) -> None:
        self.issued.append(work)
        self.times.append(timestamp)

    def _take_back(self, _id: int, kinds: Container[str]) -> None:
        self.issued = [
            each
            for each in self.issued
            if not (isinstance(each, CatalogOperation) and each.kind in kinds)
        ]

    def look(self) -> list[CatalogOperation | ForwardRequest]:
        """Compare; return all that was asked and is not done yet."""
        self.indexes_and_loads.update(self.source.meta())
        self.indexes_and_loads.advance()
        return self.issued
