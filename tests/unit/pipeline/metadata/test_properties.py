"""Which properties were altered or dropped, as the source's API shows it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from cdc_actors.pipeline.metadata.properties import Properties
from cdc_actors.pipeline.source_api import SourceApi
from cdc_actors.target.properties import DESCRIPTION
from cdc_actors.tasks import CollectionEntry
from cdc_actors.tasks.details import PropertiesDetail

if TYPE_CHECKING:
    from collections.abc import Callable

META: Any = SimpleNamespace(id=7, database="default", name="a", created=1, altered=2)
SCHEMA = schema_pb2.CollectionSchema(name="a", description="first")


class Source:
    """The source's API, and a run that is told what to do. Stands for all around."""

    def __init__(self, version: str, begun: dict[str, str]) -> None:
        self.version = version
        self.shown = dict(begun)
        self.description = "first"
        self.told: list[PropertiesDetail] = []
        entry = CollectionEntry(
            collection_id=7,
            database="default",
            name="a",
            schema=SCHEMA.SerializeToString(),
            properties=begun,
        )
        collection = SimpleNamespace(entry=entry)
        self.collections = SimpleNamespace(
            get=lambda _: collection, is_ignored=lambda _: False
        )

    def call(self, method: str, _request: Any, _database: str) -> Any:
        """Describe the collection."""
        assert method == "DescribeCollection"
        pairs = [{"key": k, "value": v} for k, v in self.shown.items()]
        schema = {"name": "a", "description": self.description}
        return milvus_pb2.DescribeCollectionResponse(
            collectionID=7, schema=schema, properties=pairs
        )

    def is_due(self, _collection: Any, _timestamp: int) -> bool:
        """Let everything be done at once."""
        return True

    def deliver_operation(self, _collection: Any, work: Any) -> None:
        """Take note."""
        self.told.append(work.detail)


def follow(source: Any) -> Callable[[], list[PropertiesDetail]]:
    """Return what looks at one source, and returns what it tells to do."""
    follower = Properties(SourceApi(lambda: source), source, source)

    def look() -> list[PropertiesDetail]:
        source.told.clear()
        follower.update(META)
        follower.advance()
        return list(source.told)

    return look


def test_what_was_dropped_is_dropped_once() -> None:
    """Milvus 2.5 can drop properties, and alter the description."""
    source = Source("v2.5.27", {"a": "1", "b": "2"})
    look = follow(source)
    assert look() == []
    source.shown = {"a": "3", "c": "4"}
    source.description = "second"
    altered = {"a": "3", "c": "4", DESCRIPTION: "second"}
    assert look() == [PropertiesDetail(altered, ("b",))]
    assert look() == []
    source.shown["b"] = "2"
    assert look() == [PropertiesDetail({"b": "2"})]


def test_what_an_older_source_does_not_show_is_not_dropped() -> None:
    """It cannot drop any; a restart may have it show those from before."""
    source = Source("2.3.5", {"a": "1", "b": "2"})
    look = follow(source)
    source.shown = {"a": "3"}
    assert look() == [PropertiesDetail({"a": "3"})]


def test_properties_of_the_sources_own_are_not_dropped() -> None:
    """They were never given to the target."""
    source = Source("v2.5.27", {"collection.replica.number": "2", "a": "1"})
    look = follow(source)
    source.shown = {"a": "1"}
    assert look() == []
