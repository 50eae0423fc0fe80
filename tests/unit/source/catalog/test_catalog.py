"""How much the catalog asks etcd for: few requests, whatever else there is."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.config import Etcd
from cdc_actors.errors import CdcError, OperatorError, SourceChangedError
from cdc_actors.source.catalog.client import EtcdCatalog
from cdc_actors.source.catalog.model import DATABASES as DATABASES_PREFIX
from cdc_actors.source.catalog.model import END_OF_TIME
from cdc_actors.source.versions import UnsupportedVersionError
from tests.fakes.fake_etcd import FakeEtcd
from tests.support.recorded_life import CatalogWrite, life, messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.recorded_life import NodeMessage


DATABASES = pytest.mark.parametrize("databases", [1, 64])


@pytest.mark.parametrize(
    ("root_path", "meta_sub_path", "root"),
    [
        ("by-dev", "meta", "by-dev/meta/"),
        ("", "meta", "meta/"),
        ("by-dev", "", "by-dev/"),
        ("", "", ""),
        ("/a//b/", "/meta", "/a/b/meta/"),
        ("/", "meta", "/meta/"),
        ("/", "", "/"),
    ],
)
def test_keys_are_put_together_as_milvus_does(
    root_path: str, meta_sub_path: str, root: str
) -> None:
    """An empty path is no prefix."""
    catalog = EtcdCatalog(Etcd(root_path=root_path, meta_sub_path=meta_sub_path))
    assert catalog._key(DATABASES_PREFIX).decode() == f"{root}{DATABASES_PREFIX}"
    catalog.close()


@DATABASES
def test_a_changed_collection_takes_one_request(databases: int) -> None:
    """However many databases there are, and also when it has moved to another one."""
    etcd = FakeEtcd(databases)
    catalog = etcd.catalog()
    known = etcd.create(databases, "c")
    watch = catalog.watch(catalog.snapshot().revision + 1)

    etcd.rename(known, 1, "moved")
    assert watch.changed().collections == {known}
    etcd.requests = 0
    found = catalog.collection(known)

    assert etcd.requests == 1
    assert found is not None
    assert (found.database, found.name) == ("default", "moved")
    assert [name.name for name in found.names] == ["c", "moved"]
    assert list(found.partitions) == [1]


@DATABASES
def test_a_new_collection_takes_one_request(databases: int) -> None:
    """The watch says where it stands; whoever is ahead of the watch takes four more."""
    etcd = FakeEtcd(databases)
    catalog = etcd.catalog()
    watch = catalog.watch(catalog.snapshot().revision + 1)
    new = etcd.create(databases, "c")

    etcd.requests = 0
    assert catalog.collection(new)
    assert etcd.requests <= 5

    newer = etcd.create(databases, "d")
    assert newer in watch.changed().collections
    etcd.requests = 0
    assert catalog.collection(newer)
    assert etcd.requests == 1


def test_a_dropped_collection_takes_a_handful_of_requests() -> None:
    """It is looked for once where else it may be, and then it is known to be gone."""
    etcd = FakeEtcd(64)
    catalog = etcd.catalog()
    dropped = etcd.create(64, "c")
    catalog.snapshot()
    etcd.drop(dropped)

    etcd.requests = 0
    assert catalog.collection(dropped) is None
    assert etcd.requests <= 5
    assert not catalog._known.prefixes(dropped)


def test_what_changed_together_is_read_together() -> None:
    """A hundred collections in as many databases are a few requests."""
    etcd = FakeEtcd(100)
    catalog = etcd.catalog()
    made = [etcd.create(number, "c") for number in range(1, 101)]
    catalog.snapshot()

    etcd.requests = 0
    found = catalog.collections(made)

    assert list(found) == made
    assert {len(each.partitions) for each in found.values()} == {1}
    assert etcd.requests <= 5


def test_a_name_is_found_without_listing_the_database() -> None:
    """Each request of a client asks for one: the other collections are not read."""
    etcd = FakeEtcd()
    catalog = etcd.catalog()
    for number in range(200):
        etcd.create(1, f"c{number}")
    catalog.snapshot()
    new = etcd.create(1, "new")

    etcd.requests = etcd.sent = 0
    found = [catalog.find("default", name) for name in ("c7", "new", "none")]

    assert [each and each.name for each in found] == ["c7", "new", None]
    assert found[1] is not None
    assert found[1].id == new
    assert etcd.requests <= 10
    assert etcd.sent <= 20


@pytest.mark.parametrize("number", [1, 100])
def test_indexes_and_loads_of_some_take_few_requests(number: int) -> None:
    """A few collections are asked for by their ids, many all together."""
    etcd = FakeEtcd()
    catalog = etcd.catalog()
    made = [etcd.create(1, f"c{each}") for each in range(number)]
    known = catalog.snapshot().collections

    etcd.requests = 0
    assert list(catalog.indexes_and_loads(known)) == made
    assert etcd.requests <= 3


def test_without_its_time_whatever_the_source_does_may_have_been_before() -> None:
    """So that nothing is taken for new; every Milvus that can be read stores it."""
    assert FakeEtcd(1).catalog().time() == END_OF_TIME


@pytest.mark.parametrize("anew", [True, False], ids=["set up anew", "wiped"])
@pytest.mark.parametrize(
    "ask",
    [
        lambda catalog: catalog.collection(1000),
        lambda catalog: catalog.collections([1000]),
        lambda catalog: catalog.find("default", "c"),
        lambda catalog: catalog.databases(),
        lambda catalog: catalog.aliases(),
        lambda catalog: catalog.rbac(),
        lambda catalog: catalog.snapshot(),
    ],
)
def test_what_a_wiped_source_no_longer_has_was_not_dropped(
    ask: Callable[[EtcdCatalog], object], *, anew: bool
) -> None:
    """Nothing is said to be gone, be the source empty or another Milvus."""
    etcd = FakeEtcd()
    etcd.create_database(1, "default", created=7)
    etcd.create(1, "c")
    catalog = etcd.catalog()
    assert catalog.created() == 7
    ask(catalog)
    etcd.wipe()
    error: type[CdcError] = OperatorError
    if anew:
        etcd.create_database(1, "default", created=8)
        error = SourceChangedError
    with pytest.raises(
        error, match="was set up anew" if anew else "holds no databases"
    ):
        ask(catalog)


def test_a_source_whose_log_is_that_of_a_newer_one_is_refused() -> None:
    """Whoever asks the catalog for its version, or for everything, is told."""
    etcd = FakeEtcd()
    etcd.put("session/rootcoord", b'{"Version":"2.5.27"}')
    assert etcd.catalog().version() == (2, 5, 27)
    etcd.put("session/streamingnode-5", b"{}")
    catalog = etcd.catalog()
    for ask in (catalog.version, catalog.snapshot):
        with pytest.raises(UnsupportedVersionError, match="streaming service"):
            ask()


def test_what_a_real_2_6_writes_down() -> None:
    """Times of alterations and truncations without any version kept, arrays of structs."""
    etcd = FakeEtcd(databases=0)
    for step in life("2.6.20"):
        if isinstance(step, CatalogWrite):
            etcd.write(step.key, step.value)
    with closing(etcd.catalog()) as catalog:
        names = ("structs", "auto_dyn", "every_nullable", "arrays", "wide")
        found = {each: catalog.find("default", each) for each in names}
        moved = catalog.find("db1", "moved")
    schemas = {
        name: schema_pb2.CollectionSchema.FromString(meta.schema)
        for name, meta in found.items()
        if meta is not None
    }
    structs = schemas["structs"].struct_array_fields
    assert [(each.name, [f.name for f in each.fields]) for each in structs] == [
        ("st", ["st[n]", "st[w]", "st[e]"])
    ]
    altered = {each for each, m in found.items() if m and m.altered > m.created}
    assert altered == {"every_nullable", "arrays"}
    assert moved is not None
    assert moved.altered > moved.created
    [truncation] = [m for m in messages("2.6.20") if _is_truncation(m)]
    assert found["auto_dyn"] is not None
    assert found["auto_dyn"].truncated == (int(truncation.properties["_tt"], 36),)
    assert found["wide"] is not None
    assert set(found["wide"].truncated) == {0}


def _is_truncation(message: NodeMessage) -> bool:
    own = not message.properties.get("_vc", "").endswith("_vcchan")
    return message.properties["_t"] == "38" and own
