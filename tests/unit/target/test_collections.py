"""Collections at the target that others create, drop or call by an alias meanwhile."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from pymilvus.grpc_gen import milvus_pb2, schema_pb2
from structlog.testing import capture_logs

from cdc_actors.changes import Definition
from cdc_actors.errors import (
    CdcError,
    CollectionError,
    KindRefusedError,
    OperationRefusedError,
    UnclearAnswerError,
)
from cdc_actors.target import auto_ids
from cdc_actors.target.aliases import set_alias
from cdc_actors.target.collections import (
    computed_fields,
    create_collection,
    create_partition,
    describe,
    drop_collection,
    drop_partition,
)
from cdc_actors.target.databases import drop_database, ensure_database
from cdc_actors.target.renames import rename_collection
from cdc_actors.target.shards import create_limited
from tests.fakes.newer_target import NewerTarget

if TYPE_CHECKING:
    from collections.abc import Callable

Look = Any


def schema(name: str, *fields: str) -> schema_pb2.CollectionSchema:
    """Return a schema of an INT64 key and some INT64 fields."""
    made = schema_pb2.CollectionSchema(name=name)
    for field in ("id", *fields):
        made.fields.add(
            name=field, data_type=schema_pb2.Int64, is_primary_key=field == "id"
        )
    return made


def definition(name: str = "books") -> Definition:
    """Return a collection of the source."""
    return Definition(
        database="default",
        name=name,
        schema=schema(name).SerializeToString(),
        shards=1,
        consistency_level=0,
        partitions=(),
        properties={},
    )


NO = OperationRefusedError("it is refused", 1)
UNCLEAR = UnclearAnswerError("it did not work", 65535)


class Target:
    """A Milvus that refuses all but looks; each look is answered by the next of ``looks``.

    The last one stays. ``refusal`` is what anything else is answered with.
    """

    is_lite = True
    version = "2.3.5"

    def __init__(self, method: str, *looks: Look, refusal: CdcError = NO) -> None:
        self._refusal = refusal
        self.alias_lock = Lock()
        self._method = method
        self._looks = list(looks)
        self.refused: list[str] = []

    def call(self, method: str, _request: Any, _database: str) -> Any:
        """Answer a look, or refuse."""
        if method == "ListDatabases" and self._method != method:
            return milvus_pb2.ListDatabasesResponse(db_names=["default"])
        if method != self._method:
            self.refused.append(method)
            raise self._refusal
        look = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        if look is None:
            raise OperationRefusedError("collection not found", 100)
        return look


def shown(found: schema_pb2.CollectionSchema) -> milvus_pb2.DescribeCollectionResponse:
    """Return what DescribeCollection answers."""
    return milvus_pb2.DescribeCollectionResponse(schema=found)


def create(target: Target) -> bool:
    """Create the collection of the source."""
    return create_collection(target, definition(), lambda: None)  # type: ignore[arg-type]


def test_alias_with_the_name_is_not_taken_for_the_collection() -> None:
    """Milvus describes by an alias what that stands for; nothing is asked for its rows."""
    target = Target("DescribeCollection", shown(schema("library")))
    with pytest.raises(CollectionError, match=r"alias default\.books.*library"):
        create(target)
    drop_collection(target, "default", "books")  # type: ignore[arg-type]
    assert describe(target, "default", "books") is None  # type: ignore[arg-type]
    assert target.refused == []


@pytest.mark.parametrize("refusal", [NO, UNCLEAR])
def test_collection_that_comes_after_the_look_is_adopted(refusal: CdcError) -> None:
    """Another made it with the same fields: it was there before."""
    looks = None, shown(schema("books"))
    target = Target("DescribeCollection", *looks, refusal=refusal)
    assert create(target) is True
    assert target.refused == ["CreateCollection"]


def test_other_collection_that_comes_after_the_look() -> None:
    """Its fields are the reason, not that it exists."""
    target = Target("DescribeCollection", None, shown(schema("books", "more")))
    with pytest.raises(CollectionError, match="another schema"):
        create(target)


def test_refused_creation_is_refused() -> None:
    """Nothing is there afterwards either."""
    with pytest.raises(OperationRefusedError, match="it is refused"):
        create(Target("DescribeCollection", None))


def test_a_collection_whose_key_the_target_generates() -> None:
    """It would refuse the source's keys: the difference is the reason."""
    found = schema("books")
    found.fields[0].autoID = True
    with pytest.raises(CollectionError, match="target Int64 primary auto-id"):
        create(Target("DescribeCollection", shown(found)))


def test_a_collection_whose_key_the_target_generates_unless_it_is_given() -> None:
    """It takes the source's keys, as one that the service has made."""
    found = schema("books")
    found.fields[0].autoID = True
    answer = shown(found)
    answer.properties.add(key="allow_insert_auto_id", value="true")
    assert create(Target("DescribeCollection", answer))


@pytest.mark.parametrize(
    ("version", "keeps"),
    [
        ("2.3.5", False),
        ("2.5.19", False),
        ("v2.5.20-dev", True),
        ("2.6.3", False),
        ("2.6.20", True),
        ("3.0.0", True),
        ("milvus_lite 3.2.2", False),
        ("a Milvus", False),
    ],
)
def test_versions_that_keep_given_keys(version: str, *, keeps: bool) -> None:
    """What is not known to keep them is given a field that is not auto-id."""
    assert auto_ids.keeps_given(version) is keeps


class FewShards:
    """A Milvus that takes few shards, and says so as its proxy or its root coordinator."""

    is_lite = False
    version = "2.3.5"

    def __init__(self, *limits: tuple[int, str]) -> None:
        self._limits = limits
        self.shards: list[int] = []

    def call(self, method: str, request: Any, _database: str) -> Any:
        """Create nothing that has too many shards."""
        if method == "ListDatabases":
            return milvus_pb2.ListDatabasesResponse(db_names=["default"])
        if method == "DescribeCollection":
            raise OperationRefusedError("collection not found", 100)
        self.shards.append(request.shards_num)
        for most, words in self._limits:
            if request.shards_num > most:
                raise UnclearAnswerError(words, 65535)
        return None


BY_PROXY = 16, "maximum shards's number should be limited to 16"
BY_ROOT = 2, "shard num (16) exceeds max configuration (2)"


@pytest.mark.parametrize(
    ("limits", "asked"),
    [
        ([BY_PROXY], [64, 16]),
        ([BY_ROOT], [64, 2]),
        ([BY_PROXY, BY_ROOT], [64, 16, 2]),
        ([(4, "shard num (64) exceeds system limit (4)")], [64, 4]),
    ],
    ids=["proxy", "root coordinator", "both", "2.4"],
)
def test_a_target_that_takes_fewer_shards(
    limits: list[tuple[int, str]], asked: list[int]
) -> None:
    """The collection is made with as many as it takes, and the log says so."""
    target: Any = FewShards(*limits)
    wanted = replace(definition(), shards=64)
    with capture_logs() as logs:
        assert create_collection(target, wanted, lambda: None) is False
    assert target.shards == asked
    assert [(each["event"], each["source"], each["target"]) for each in logs] == [
        ("shards_limited", 64, asked[-1])
    ]


def test_what_a_model_has_made_is_sent() -> None:
    """The target is to take it as it is, and goes on to make what BM25 does."""
    wanted = schema("books", "text", "meaning", "words")
    for kind, made in (
        (schema_pb2.TextEmbedding, "meaning"),
        (schema_pb2.BM25, "words"),
    ):
        wanted.functions.add(name=f"f_{made}", type=kind, output_field_names=[made])
    assert computed_fields(wanted) == {"words"}
    given: list[dict[str, str]] = []

    def call(method: str, request: Any, _database: str) -> None:
        if method == "DescribeCollection":
            raise OperationRefusedError("collection not found", 100)
        given.append({each.key: each.value for each in request.properties})

    target: Any = SimpleNamespace(call=call, is_lite=False, version="2.6.20")
    for each in (wanted, schema("books")):
        asked = replace(definition(), schema=each.SerializeToString())
        create_collection(target, asked, lambda: None)
    takes = {"collection.function.allowInsertNonBM25FunctionOutputs": "true"}
    assert given == [takes, {}]


def test_a_target_that_takes_fewer_buckets() -> None:
    """A collection with a partition key has as many as the target takes."""
    wanted = milvus_pb2.CreateCollectionRequest(shards_num=1, num_partitions=64)
    asked = []

    def call(_method: str, request: Any, _database: str) -> None:
        asked.append(request.num_partitions)
        if request.num_partitions > 16:
            raise OperationRefusedError(
                "partition number (64) exceeds max configuration (16)"
            )

    target: Any = SimpleNamespace(call=call)
    with capture_logs() as logs:
        create_limited(target, wanted)
    assert asked == [64, 16]
    assert [each["event"] for each in logs] == ["buckets_limited"]


def test_a_target_without_databases() -> None:
    """The default one is there; what another one's collection can do is said."""
    asked: list[str] = []

    def call(method: str, _request: Any, _database: str) -> None:
        asked.append(method)
        raise KindRefusedError("not here")

    target: Any = SimpleNamespace(call=call)
    ensure_database(target, "default")
    drop_database(target, "shop")
    assert asked == ["ListDatabases"]
    with pytest.raises(
        KindRefusedError, match="map shop to `default` with name_mapping"
    ):
        ensure_database(target, "shop")


def test_a_partition_that_the_target_does_not_take() -> None:
    """Rows have no place: that is the collection's trouble, not that of a row."""
    target: Any = Target("ShowPartitions", names())
    with pytest.raises(
        CollectionError, match="takes no partition p, and so none"
    ) as no:
        create_partition(target, *BOOKS, "p")
    assert not isinstance(no.value, OperationRefusedError)


def test_a_target_that_takes_no_shards_at_all() -> None:
    """It is asked once, and its words are the error's."""
    target: Any = FewShards((0, "shard num (1) exceeds max configuration (0)"))
    with pytest.raises(UnclearAnswerError, match=r"max configuration \(0\)"):
        create_collection(target, definition(), lambda: None)
    assert target.shards == [1]


def names(*found: str) -> milvus_pb2.ShowPartitionsResponse:
    """Return what ShowPartitions answers."""
    return milvus_pb2.ShowPartitionsResponse(partition_names=found)


def databases(*found: str) -> milvus_pb2.ListDatabasesResponse:
    """Return what ListDatabases answers."""
    return milvus_pb2.ListDatabasesResponse(db_names=found)


BOOKS = "default", "books"
DONE: list[tuple[str, Callable[[Any], None], Look, Look]] = [
    (
        "DescribeCollection",
        lambda target: drop_collection(target, *BOOKS),
        shown(schema("books")),
        None,
    ),
    (
        "ShowPartitions",
        lambda target: create_partition(target, *BOOKS, "p"),
        names("p"),
        names("p"),
    ),
    (
        "ShowPartitions",
        lambda target: drop_partition(target, *BOOKS, "p"),
        names("p"),
        names(),
    ),
    (
        "ListDatabases",
        lambda target: ensure_database(target, "new"),
        databases(),
        databases("new"),
    ),
]
IDS = ["drop collection", "create partition", "drop partition", "create database"]


@pytest.mark.parametrize("refusal", [NO, UNCLEAR])
@pytest.mark.parametrize(("method", "act", "before", "after"), DONE, ids=IDS)
def test_refusal_of_what_is_so_already_is_a_success(
    method: str,
    act: Callable[[Any], None],
    before: Look,
    after: Look,
    refusal: CdcError,
) -> None:
    """Somebody else did the same between the look and the request, or it was done."""
    target = Target(method, before, after, refusal=refusal)
    act(target)
    assert len(target.refused) == 1


@pytest.mark.parametrize(
    ("method", "act", "look"),
    [
        (DONE[0][0], DONE[0][1], shown(schema("books"))),
        (DONE[1][0], DONE[1][1], names()),
        (DONE[2][0], DONE[2][1], names("p")),
        (DONE[3][0], DONE[3][1], databases()),
    ],
    ids=IDS,
)
def test_refusal_of_what_is_not_so_is_one(
    method: str, act: Callable[[Any], None], look: Look
) -> None:
    """What the target says is what the error says."""
    with pytest.raises(CollectionError, match="is refused"):
        act(Target(method, look))


@pytest.mark.parametrize(
    ("version", "aliases", "done_without"),
    [
        ("2.5.27", {("default", "al"): "books"}, ""),
        ("2.6.20", {}, "without its aliases al: must drop all aliases"),
    ],
)
def test_a_collection_with_an_alias_moves_to_another_database(
    version: str, aliases: dict[tuple[str, str], str], done_without: str
) -> None:
    """Where the target wants the alias dropped, it is, and that is told."""
    target = NewerTarget(version)
    connection: Any = target.connect(lambda: False)
    create_collection(connection, definition(), lambda: None)
    set_alias(connection, "default", "books", "al")
    old, new = ("default", "books"), ("db1", "books")
    reduced = rename_collection(connection, old, new, loaded=False)
    assert reduced.startswith(done_without)
    assert bool(reduced) == bool(done_without)
    assert list(target.collections) == [new]
    assert target.aliases == aliases
    assert rename_collection(connection, old, new, loaded=False) == ""


def test_a_rename_that_is_refused_for_another_reason() -> None:
    """The aliases stay."""
    target = NewerTarget("2.6.20")
    connection: Any = target.connect(lambda: False)
    for name in ("books", "tomes"):
        create_collection(connection, definition(name), lambda: None)
    set_alias(connection, "default", "books", "al")
    with pytest.raises(OperationRefusedError, match="exists"):
        rename_collection(
            connection, ("default", "books"), ("default", "tomes"), loaded=False
        )
    assert target.aliases == {("default", "al"): "books"}
