"""The catalog that a source's API shows, beside that of its etcd."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from cdc_actors.errors import OperatorError, SourceChangedError, TransientError
from cdc_actors.source import api_watch
from cdc_actors.source.api_catalog import ApiCatalog
from cdc_actors.source.catalog.model import LoadMeta
from cdc_actors.source.public_api import PublicApi
from cdc_actors.source.versions import UnsupportedVersionError
from tests.fakes.public_source import PublicSource
from tests.support.recorded_life import CatalogWrite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cdc_actors.source.catalog.base import CatalogChanges, Watch
    from cdc_actors.source.catalog.client import CollectionMeta
    from tests.support.recorded_life import Step


PATIENCE, LOOK_SECONDS = 60.0, 0.01


@pytest.fixture
def source(request: pytest.FixtureRequest) -> Iterator[PublicSource]:
    """Yield a source of which nothing is played yet."""
    source = PublicSource(getattr(request, "param", "2.6.20"), "rocksmq")
    with closing(source.nodes), closing(source.api):
        yield source


@pytest.fixture
def catalog(source: PublicSource) -> Iterator[ApiCatalog]:
    """Yield a catalog of its API."""
    with closing(ApiCatalog(PublicApi(source.api.uri, ""))) as catalog:
        yield catalog


def without_the_unknown(meta: CollectionMeta) -> CollectionMeta:
    """Return a collection without what only etcd has."""
    schema = schema_pb2.CollectionSchema.FromString(meta.schema)
    schema.ClearField("version")
    schema.ClearField("dbName")
    return replace(
        meta,
        names=(),
        truncated=(),
        dynamic_field=b"",
        start_positions=dict.fromkeys(meta.start_positions, b""),
        schema=schema.SerializeToString(deterministic=True),
    )


def a_third(step: Step) -> bool:
    """Tell whether there are partitions, aliases and a second database."""
    return isinstance(step, CatalogWrite) and "aliases/" in step.key


@pytest.mark.parametrize("source", ["2.6.20", "3.0.0"], indirect=True)
@pytest.mark.parametrize("until", [a_third, lambda _: False], ids=["early", "end"])
def test_it_shows_what_etcd_has(
    source: PublicSource, catalog: ApiCatalog, until: Callable[[Step], bool]
) -> None:
    """Collections, partitions, properties, aliases, databases, users and rights."""
    source.play(until)
    with closing(source.etcd.catalog()) as wanted:
        there = wanted.snapshot()
        found = catalog.snapshot()
        available = {i: meta for i, meta in there.collections.items() if meta.available}
        assert available
        assert list(found.collections) == sorted(available)
        for number, meta in found.collections.items():
            assert without_the_unknown(meta) == without_the_unknown(available[number])
            assert catalog.find(meta.database, meta.name) == meta
        assert found.databases == there.databases
        assert {k: v.collection_id for k, v in found.aliases.items()} == {
            k: v.collection_id for k, v in there.aliases.items()
        }
        assert catalog.databases() == wanted.databases()
        assert catalog.created() == wanted.created()
        assert catalog.rbac().rules == wanted.rbac().rules
        assert catalog.rbac().passwords.keys() == wanted.rbac().passwords.keys()
        states = catalog.indexes_and_loads(found.collections)
        for number, state in wanted.indexes_and_loads(available).items():
            made = sorted(state.indexes, key=lambda each: each.id)
            timeless = [replace(each, created=0) for each in made]
            assert list(states[number].indexes) == timeless
            assert bool(states[number].load) == bool(state.load)


def test_where_a_struct_has_its_fields(
    source: PublicSource, catalog: ApiCatalog
) -> None:
    """By their long names, as etcd and the log have them."""
    source.play()
    found = catalog.find("default", "structs")
    assert found is not None
    schema = schema_pb2.CollectionSchema.FromString(found.schema)
    [struct] = schema.struct_array_fields
    assert {each.name for each in struct.fields} == {"st[n]", "st[w]", "st[e]"}


def test_an_alias_is_no_name(source: PublicSource, catalog: ApiCatalog) -> None:
    """DescribeCollection takes it for one."""
    source.play(a_third)
    [(database, alias)] = catalog.aliases()
    assert catalog.find(database, alias) is None


def test_what_is_not_there(source: PublicSource, catalog: ApiCatalog) -> None:
    """It is looked for in two listings, and is gone then."""
    source.play()
    assert catalog.collection(7) is None
    assert catalog.find("default", "nothing") is None
    assert catalog.field_of_index(7, "i", 1) == ""
    assert catalog.root_coordinator() == ""


def test_one_that_was_renamed_is_found_again(
    source: PublicSource, catalog: ApiCatalog
) -> None:
    """Under its last name there is nothing, or another one."""
    source.play(a_third)
    before = catalog.snapshot().collections
    source.play()
    after = catalog.collections(sorted(before))
    renamed = {i for i, meta in after.items() if meta.name != before[i].name}
    assert renamed
    assert set(after) < set(before)
    catalog.forget(before)
    assert catalog.collections(sorted(before)) == after


@pytest.mark.parametrize("stale", ["gone", "quick"])
def test_indexes_are_those_of_a_collection_by_any_name(
    source: PublicSource, catalog: ApiCatalog, stale: str
) -> None:
    """One that was renamed has not lost them, nor those of what has its name now."""
    source.play()
    found = catalog.snapshot().collections
    wanted = catalog.indexes_and_loads(found)
    stated = [i for i in found if wanted[i].indexes and found[i].name != stale]
    assert stated
    for number in stated:
        renamed = {number: replace(found[number], name=stale)}
        assert catalog.indexes_and_loads(renamed) == {number: wanted[number]}
    gone = {7: replace(found[stated[0]], id=7)}
    assert not catalog.indexes_and_loads(gone)[7].indexes


def test_its_time_is_that_of_the_source(
    source: PublicSource, catalog: ApiCatalog
) -> None:
    """Whatever it cannot know the time of was not later."""
    source.play()
    before = source.api.now
    assert before <= catalog.time() <= source.api.now
    assert catalog.alias_ended("default", "al") > before


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("2.5.27", "whose API does not tell all of its log"),
        ("2.6.19", "whose API does not tell all of its log"),
        ("v3.1.0", "the versions 2.2.16 to 3.0"),
        ("master", "says that its version is 'master'"),
    ],
)
def test_versions_that_cannot_be_read(
    source: PublicSource, catalog: ApiCatalog, version: str, words: str
) -> None:
    """The reason is the version, and what helps."""
    source.api.version = version
    with pytest.raises(OperatorError, match=words):
        catalog.snapshot()
    source.api.version = "v2.6.20-dev"
    assert catalog.version() == (2, 6, 20)
    assert issubclass(UnsupportedVersionError, OperatorError)


def test_keys_of_etcd_are_refused(catalog: ApiCatalog) -> None:
    """It is said what is needed."""
    with pytest.raises(OperatorError, match=r"there is no sourceConfig\.etcd\.address"):
        catalog.read_below(["datacoord-meta/"])


class Api:
    """Answers as told, by method."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def call(self, method: str, _request: Any, _database: str = "") -> Any:
        """Answer."""
        return self.answers[method]

    def close(self) -> None:
        """Do nothing."""


def databases(**found: int) -> milvus_pb2.ListDatabasesResponse:
    """Return an answer with databases and when they were made."""
    return milvus_pb2.ListDatabasesResponse(
        db_names=found,
        created_timestamp=found.values(),
        db_ids=range(1, 1 + len(found)),
    )


def test_a_source_that_was_set_up_anew() -> None:
    """Nothing is said to be gone of it."""
    api = Api(ListDatabases=databases(default=1))
    catalog = ApiCatalog(api)  # type: ignore[arg-type]
    assert catalog.created() == 1
    api.answers["ListDatabases"] = databases(default=2)
    with pytest.raises(SourceChangedError, match="set up anew"):
        catalog.created()


def test_a_user_who_may_not_see_the_default_database() -> None:
    """The source cannot be told from another one."""
    answer = milvus_pb2.ListDatabasesResponse(
        db_names=["shop"], created_timestamp=[5], db_ids=[9]
    )
    catalog = ApiCatalog(Api(ListDatabases=answer))  # type: ignore[arg-type]
    with pytest.raises(OperatorError, match="does not show the database default"):
        catalog.created()


def test_some_partitions_that_are_loaded(
    source: PublicSource, catalog: ApiCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are named; where all are, the whole collection counts as loaded."""
    source.play(a_third)
    meta = next(m for m in catalog.snapshot().collections.values() if m.partitions)
    first, *_ = meta.partitions
    names = {each.name for each in meta.partitions.values()}
    loaded = {meta.partitions[first].name}

    def state(request: Any, _context: Any) -> Any:
        is_loaded = set(request.partition_names) <= loaded
        found = common_pb2.LoadStateLoaded if is_loaded else common_pb2.LoadStateNotLoad
        return milvus_pb2.GetLoadStateResponse(state=found)

    partitions = {**meta.partitions, 5: replace(meta.partitions[first], name="other")}
    owner = replace(meta, partitions=partitions)
    monkeypatch.setattr(type(catalog), "_is_loaded", _loaded_by(state))
    [found] = catalog.indexes_and_loads({meta.id: owner}).values()
    some = frozenset(i for i, each in partitions.items() if each.name in loaded)
    assert found.load == LoadMeta(
        collection_id=meta.id, replicas=1, whole=False, partitions=some
    )
    loaded |= names | {"other"}
    [found] = catalog.indexes_and_loads({meta.id: owner}).values()
    assert found.load is not None
    assert found.load.whole


def _loaded_by(state: Callable[[Any, Any], Any]) -> Any:
    def is_loaded(_self: Any, _owner: Any, *names: str) -> bool:
        request = milvus_pb2.GetLoadStateRequest(partition_names=names)
        return bool(state(request, None).state == common_pb2.LoadStateLoaded)

    return is_loaded


def wait(watch: Watch, wanted: Callable[[CatalogChanges], object]) -> CatalogChanges:
    """Wait until a change is told of."""
    end = time.monotonic() + PATIENCE
    while not wanted(found := watch.changed()):
        assert time.monotonic() < end
        time.sleep(LOOK_SECONDS)
    return found


def test_what_changes_is_told_of(
    source: PublicSource, catalog: ApiCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At first everything has; then what differs from the last look."""
    monkeypatch.setattr(api_watch, "LOOK_SECONDS", 0.01)
    source.play(a_third)
    with closing(catalog.watch(1)) as watch:
        first = wait(watch, lambda found: found.collections)
        assert first.collections == set(catalog.snapshot().collections)
        assert first.databases
        assert first.aliases
        assert first.rbac
        source.play()
        later = wait(watch, lambda found: found.collections)
        assert later.collections


def test_a_source_that_cannot_be_looked_at(
    source: PublicSource, catalog: ApiCatalog
) -> None:
    """The watch is broken."""
    source.play(a_third)
    source.api.close()
    with (
        closing(catalog.watch(1)) as watch,
        pytest.raises(TransientError, match="the source's API, asked to ListDatabases"),
    ):
        wait(watch, lambda _: False)


@pytest.mark.parametrize(
    ("uri", "login"),
    [
        ("http://127.0.0.1:1", "root:Milvus"),
        ("http://u:p%20w@127.0.0.1:1", ""),
        ("https://127.0.0.1:1", "token"),
    ],
)
def test_a_source_that_is_away(uri: str, login: str) -> None:
    """With or without TLS, a login in its address or beside it."""
    with (
        closing(PublicApi(uri, login)) as api,
        pytest.raises(TransientError, match="UNAVAILABLE"),
    ):
        api.time()
    assert grpc.StatusCode.UNAVAILABLE
