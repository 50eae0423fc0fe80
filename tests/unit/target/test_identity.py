"""Source and target are told apart by what they say of their components."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest
from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.config import SourceConfig
from cdc_actors.errors import OperationRefusedError, TransientError
from cdc_actors.target import identity
from cdc_actors.target.identity import (
    OtherMilvusError,
    SameMilvusError,
    refuse_other,
    refuse_source,
)

STARTED = "2026-11-28 19:13:44.668545488 +0000 UTC"
KNOWN = 453_000_000_000_000_001


def component(started: str = STARTED, address: str = "10.0.0.1:53100") -> Any:
    """Return a node of the topology as Milvus (2.3.5) shows it."""
    infos = {
        "type": "rootcoord",
        "hardware_infos": {"ip": address},
        "created_time": started,
    }
    return {"identifier": 1, "infos": infos}


class Server:
    """A Milvus with some components and collections; without any it does not tell."""

    is_lite = False
    uri = "http://target:19530"

    def __init__(self, *nodes: Any, collections: tuple[int, ...] = ()) -> None:
        self._nodes = nodes
        self._collections = collections

    def call(self, method: str, _request: Any, _database: str) -> Any:
        """Answer as Milvus does."""
        match method:
            case "GetMetrics" if self._nodes:
                text = json.dumps({"nodes_info": self._nodes})
                return milvus_pb2.GetMetricsResponse(response=text)
            case "ListDatabases":
                return milvus_pb2.ListDatabasesResponse(db_names=["default"])
            case "ShowCollections":
                ids = self._collections
                return milvus_pb2.ShowCollectionsResponse(collection_ids=ids)
        raise OperationRefusedError(f"the target does not know {method}")

    def close(self) -> None:
        """Do nothing."""


class Source:
    """What stands at the source's address: a server, or nothing where it is None."""

    server: ClassVar[Server | None] = None

    def __new__(cls, *_: Any, **__: Any) -> Any:
        """Connect."""
        if cls.server is None:
            raise TransientError("cannot connect to the source")
        return cls.server


@pytest.fixture(autouse=True)
def _source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "Connection", Source)


def check(target: Server, source: Server | None, *known: int) -> None:
    """Look whether a target is the source."""
    Source.server = source
    refuse_source(target, SourceConfig(), lambda: known)  # type: ignore[arg-type]


def test_servers_with_one_component_in_common_are_one_milvus() -> None:
    """Some proxy may have an older picture of the rest: one component is enough."""
    later = component("2026-11-28 20:00:00.000000001 +0000 UTC", "10.0.0.2:53100")
    with pytest.raises(SameMilvusError, match="is the source itself"):
        check(Server(component()), Server(component(), later))


@pytest.mark.parametrize(
    "other",
    [component("2026-11-28 19:13:44.668545489 +0000 UTC"), component(address="b:1")],
    ids=["another start", "another address"],
)
def test_other_components_are_another_milvus(other: Any) -> None:
    """Even if the collections are the same: it was restored from a copy of the source."""
    check(Server(other, collections=(KNOWN,)), Server(component()), KNOWN)


def test_what_cannot_be_told_waits_where_collections_are_the_same() -> None:
    """The source's API is away, and the target has a collection of the source."""
    with pytest.raises(TransientError, match="does not answer"):
        check(Server(component(), collections=(KNOWN,)), None, KNOWN)


@pytest.mark.parametrize("nodes", [(component(),), ()], ids=["tells", "does not tell"])
def test_other_collections_are_another_milvus(nodes: Any) -> None:
    """The source's API is away; ids of collections come from a cluster's own clock."""
    check(Server(*nodes, collections=(KNOWN + 1,)), None, KNOWN)


def test_milvus_lite_is_never_a_source() -> None:
    """It is asked for nothing."""
    lite = Server()
    lite.is_lite = True
    check(lite, None, KNOWN)


def away() -> Any:
    """Stand for an address where nobody answers."""
    raise TransientError("connection refused")


@pytest.mark.parametrize(
    ("target", "earlier"),
    [
        (Server(collections=(KNOWN, 5)), away),
        (Server(component()), lambda: Server(component(), component("later"))),
        (Server(component(), collections=(5,)), lambda: Server(component())),
    ],
    ids=["a collection of ours", "a component", "a component, the collection is gone"],
)
def test_another_address_of_the_same_milvus(target: Any, earlier: Any) -> None:
    """A collection of the task, or a component of the old address, is proof."""
    refuse_other(target, {KNOWN}, earlier)


@pytest.mark.parametrize(
    ("target", "known", "earlier", "words"),
    [
        (Server(collections=(5,)), {KNOWN}, away, "is another Milvus"),
        (Server(component("a")), set(), lambda: Server(component("b")), "is another"),
        (Server(component()), set(), away, "connection refused"),
        (Server(), set(), Server, "nothing tells whether"),
    ],
    ids=["other collections", "other components", "the old is away", "neither tells"],
)
def test_an_address_of_another_milvus(
    target: Any, known: set[int], earlier: Any, words: str
) -> None:
    """It is refused, whatever is told; what nothing tells the operator may."""
    with pytest.raises(OtherMilvusError, match=words):
        refuse_other(target, known, earlier)
    if "is another" in words:
        with pytest.raises(OtherMilvusError, match=words):
            refuse_other(target, known, earlier, told=True)
    else:
        refuse_other(target, known, earlier, told=True)
