"""What is said at once of a selection, and of what the target has otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.config import SourceConfig
from cdc_actors.errors import TransientError
from cdc_actors.service import misfits as module
from cdc_actors.service.misfits import misfits
from cdc_actors.service.selection_checks import NOTHING_YET
from cdc_actors.tasks import NameMapping
from tests.fakes.fake_source import FakeSource
from tests.fakes.fake_target import FakeTarget, StoredCollection
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.tasks import ConnectParam, TaskSpec
    from tests.fakes.fake_target import FakeConnection

ALL = replace(SPEC, collection_infos=("*",))


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> FakeSource:
    """Return a source."""
    source = FakeSource()
    monkeypatch.setattr(module, "open_catalog", lambda _: source.catalog)
    return source


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> FakeTarget:
    """Return a target."""
    target = FakeTarget()

    def connect(
        _param: ConnectParam, _token: str, cancelled: Callable[[], bool]
    ) -> FakeConnection:
        return target.connect(cancelled)

    monkeypatch.setattr(module, "connect", connect)
    return target


def said(spec: TaskSpec = ALL) -> list[str]:
    """Return what is said of a task."""
    return misfits(spec, "root:Milvus", SourceConfig())


def put(target: FakeTarget, name: str, database: str = "default") -> StoredCollection:
    """Have a collection at the target whose keys it generates."""
    schema = schema_pb2.CollectionSchema(name=name)
    schema.fields.add(
        name="id", data_type=schema_pb2.Int64, is_primary_key=True, autoID=True
    )
    stored = StoredCollection(schema)
    target.collections[database, name] = stored
    return stored


def test_a_key_that_the_target_generates(
    source: FakeSource, target: FakeTarget
) -> None:
    """The sentence names the collection and both keys; one that fits has none."""
    for name in ("books", "papers", "new"):
        source.create(name)
    put(target, "books")
    put(target, "papers").schema.fields[0].ClearField("autoID")
    (sentence,) = said()
    assert "collection default.books with another schema" in sentence
    assert "source Int64 primary, target Int64 primary auto-id" in sentence
    assert target.asked == []


def test_only_what_is_selected_and_by_its_name_at_the_target(
    source: FakeSource, target: FakeTarget
) -> None:
    """A database that the target has not is not looked into."""
    source.create("books")
    source.create("papers")
    put(target, "books")
    mapping = NameMapping(source_db="default", target_db="archive")
    mapped = replace(ALL, name_mapping=(mapping,))
    assert said(mapped) == []
    target.databases.add("archive")
    put(target, "books", "archive")
    assert "collection archive.books" in said(mapped)[0]
    assert said(replace(ALL, collection_infos=("papers",))) == []


def test_an_alias_in_its_place(source: FakeSource, target: FakeTarget) -> None:
    """It is no collection, and would be taken for one."""
    source.create("books")
    put(target, "library")
    target.aliases["default", "books"] = "library"
    (sentence,) = said()
    assert "alias default.books, which stands for the collection library" in sentence


def test_a_target_that_is_slow(
    source: FakeSource, target: FakeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request does not wait for it, and the answer says what was not looked at."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.2)
    source.create("books")
    target.silence("DescribeCollection")
    assert said() == [], "where there is no collection there is no alias"
    put(target, "library")
    (sentence,) = said()
    assert sentence.startswith("1 collections were not looked for at the target")


def test_a_source_that_is_away(
    source: FakeSource, target: FakeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is known of its collections, and nothing said."""
    source.create("books")
    put(target, "books")

    def away(_: object) -> None:
        raise TransientError("etcd does not answer")

    monkeypatch.setattr(module, "open_catalog", away)
    assert said() == []


@pytest.mark.parametrize(
    ("others", "named"),
    [(["shop"], "shop."), (["d", "c", "b", "e", "a"], "a, b, c and 2 more.")],
)
def test_databases_that_are_left_out(
    source: FakeSource,
    monkeypatch: pytest.MonkeyPatch,
    others: list[str],
    named: str,
) -> None:
    """Some of them are named, and what to ask for, even if the target is away."""
    source.create("books")
    for database in others:
        source.create("carts", database=database)

    def away(*_: object) -> None:
        raise TransientError("the target does not answer")

    monkeypatch.setattr(module, "connect", away)
    sentence, *_ = said()
    assert f"other databases of the source that have collections: {named}" in sentence
    assert '{"*": [{"name": "*"}]}' in sentence
    assert "--collection '*.*'" in sentence


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize(
    "changes",
    [
        {"db_collections": {"*": ("*",)}},
        {"db_collections": {"*": ("*",)}, "excludes": (("shop", "*"),)},
        {"db_collections": {"shop": ("carts",)}},
        {"collection_infos": ("books",)},
        {"collection_infos": (), "db_collections": {"shop": ("*",)}},
    ],
)
def test_a_selection_that_says_what_it_leaves_out(
    source: FakeSource, changes: dict[str, Any]
) -> None:
    """Who names databases or collections means these."""
    source.create("books")
    source.create("carts", database="shop")
    source.create("gone", database="old", available=False)
    assert said(replace(ALL, **changes)) == []


@pytest.mark.usefixtures("target")
def test_a_selection_of_nothing(source: FakeSource) -> None:
    """It is told until there is a collection that it takes."""
    source.create("books")
    papers = replace(ALL, collection_infos=("papers",))
    assert said(papers) == [NOTHING_YET]
    source.create("papers")
    assert said(papers) == []
    assert said(replace(papers, excludes=(("default", "papers"),))) == [NOTHING_YET]
