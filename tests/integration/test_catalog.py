"""The catalog of a real source: listed, looked up and watched in its etcd."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.changes import physical_seconds
from cdc_actors.config import Etcd
from cdc_actors.embedded.milvus import EmbeddedMilvus
from cdc_actors.errors import OperatorError, TransientError
from cdc_actors.rbac_rules import User
from cdc_actors.source.catalog.client import EtcdCatalog
from tests.support.tls import certificates, tls_front

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.source.catalog.watch import CatalogWatch

CLOSED = "http://127.0.0.1:1"


@pytest.fixture
def client(
    source: EmbeddedMilvus, emptied: Callable[[EmbeddedMilvus], MilvusClient]
) -> MilvusClient:
    """Return a client of an empty source."""
    return emptied(source)


@pytest.fixture
def catalog(source: EmbeddedMilvus) -> Iterator[EtcdCatalog]:
    """Yield a catalog of the source."""
    with contextlib.closing(
        EtcdCatalog(Etcd(address=(source.etcd_address,)))
    ) as catalog:
        yield catalog


def _create(client: MilvusClient, name: str, **options: object) -> None:
    schema = client.create_schema(enable_dynamic_field=True, description="what it is")
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("text", DataType.VARCHAR, max_length=50)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
    client.create_collection(name, schema=schema, **options)


def _index(client: MilvusClient, name: str, **options: object) -> None:
    params = client.prepare_index_params()
    params.add_index("vector", metric_type="L2", **options)
    client.create_index(name, params)


def _found(
    catalog: EtcdCatalog, name: str, database: str = "default"
) -> CollectionMeta:
    found = catalog.find(database, name)
    assert found
    return found


def _sees(watch: CatalogWatch, collection_id: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if collection_id in watch.changed().collections:
            return True
        time.sleep(0.02)
    return False


def _breaks(watch: CatalogWatch) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            watch.changed()
        except TransientError:
            return True
        time.sleep(0.02)
    return False


def _settled(watch: CatalogWatch) -> None:
    """Take what the setting up of a test wrote."""
    quiet = time.monotonic() + 1
    while time.monotonic() < quiet:
        if watch.changed().collections:
            quiet = time.monotonic() + 1
        time.sleep(0.02)


def _etcd(address: str, method: str, request: bytes) -> None:
    """Call etcd with a request of one's own."""
    with grpc.insecure_channel(address.removeprefix("http://")) as channel:
        channel.unary_unary(f"/etcdserverpb.{method}")(request, timeout=60)


def test_collection_is_as_the_source_describes_it(
    client: MilvusClient, catalog: EtcdCatalog
) -> None:
    """Name, schema, shards, times and properties are those that the API gives."""
    properties = {"collection.ttl.seconds": "1000"}
    _create(client, "c", num_shards=2, properties=properties, consistency_level=0)
    client.create_partition("c", "p")
    told = client.describe_collection("c")
    found = _found(catalog, "c")
    assert found.id == told["collection_id"]
    assert (found.name, found.description) == ("c", "what it is")
    assert (found.available, found.dropping) == (True, False)
    assert found.created == told["created_timestamp"]
    assert found.shards_num == len(found.shards) == told["num_shards"] == 2
    assert found.consistency_level == told["consistency_level"] == 0
    assert found.properties == properties
    names = [partition.name for partition in found.partitions.values()]
    assert names == client.list_partitions("c")
    assert set(found.start_positions) == set(found.channels)
    for shard, channel in zip(found.shards, found.channels, strict=True):
        assert shard.startswith(f"{channel}_{found.id}v")
    schema = schema_pb2.CollectionSchema.FromString(found.schema)
    names = [(field.fieldID, field.name) for field in schema.fields]
    assert names == [(field["field_id"], field["name"]) for field in told["fields"]]
    assert schema.enable_dynamic_field


def test_snapshot_has_everything(client: MilvusClient, catalog: EtcdCatalog) -> None:
    """One snapshot has databases and collections; beside it, indexes and what is loaded."""
    client.create_database("other")
    _create(client, "indexed")
    _index(client, "indexed", index_type="IVF_FLAT", index_name="ix", nlist=8)
    _create(client, "loaded")
    _index(client, "loaded", index_type="AUTOINDEX")
    client.load_collection("loaded")

    snapshot = catalog.snapshot()

    assert set(snapshot.databases.values()) == {"default", "other"}
    available = {c.name: c for c in snapshot.collections.values() if c.available}
    assert set(available) == {"indexed", "loaded"}
    assert available["loaded"] == catalog.collection(available["loaded"].id)
    searchable = catalog.indexes_and_loads(snapshot.collections)
    indexes = {i.name: i for each in searchable.values() for i in each.indexes}
    assert (indexes["ix"].field_name, indexes["ix"].params) == (
        "vector",
        {"index_type": "IVF_FLAT", "metric_type": "L2", "nlist": "8"},
    )
    automatic = indexes["vector"].params
    assert automatic == {"index_type": "AUTOINDEX", "metric_type": "L2"}
    assert indexes["ix"].created > available["indexed"].created
    loaded = searchable[available["loaded"].id].load
    assert loaded is not None
    assert (loaded.replicas, loaded.whole) == (1, True)
    assert loaded.partitions == set(available["loaded"].partitions)
    assert searchable[available["indexed"].id].load is None


def test_snapshot_is_read_in_pages(
    client: MilvusClient, catalog: EtcdCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A catalog larger than one answer of etcd is read to its end."""
    for number in range(3):
        _create(client, f"c{number}")
    whole = catalog.snapshot()
    monkeypatch.setattr("cdc_actors.source.catalog.etcd._PAGE", 2)
    paged = catalog.snapshot()
    assert paged.collections == whole.collections


def test_same_name_again_is_another_collection(
    client: MilvusClient, catalog: EtcdCatalog
) -> None:
    """A name leads to the collection that bears it now; the old one is being dropped."""
    _create(client, "c")
    old = _found(catalog, "c")
    client.drop_collection("c")
    assert catalog.find("default", "c") is None
    _create(client, "c")
    new = _found(catalog, "c")
    assert new.id > old.id
    gone = catalog.collection(old.id)
    assert gone is None or gone.dropping
    client.rename_collection("c", "d")
    assert catalog.find("default", "c") is None
    assert _found(catalog, "d").id == new.id
    assert catalog.collection(1) is None


def test_databases_are_apart(
    source: EmbeddedMilvus, client: MilvusClient, catalog: EtcdCatalog
) -> None:
    """Collections of one name in two databases are two; a dropped database is gone."""
    _create(client, "c")
    client.create_database("other")
    other = MilvusClient(source.uri, db_name="other", timeout=30)
    _create(other, "c")
    found = {name: _found(catalog, "c", name) for name in ("default", "other")}
    assert found["default"].id != found["other"].id
    by_id = catalog.collection(found["other"].id)
    assert by_id == found["other"]
    assert by_id.database == "other"
    other.drop_collection("c")
    client.drop_database("other")
    assert set(catalog.snapshot().databases.values()) == {"default"}
    assert catalog.find("other", "c") is None


def test_names_that_a_collection_had(
    source: EmbeddedMilvus, client: MilvusClient, catalog: EtcdCatalog
) -> None:
    """Every name is known with its time, also after a move to another database."""
    _create(client, "c")
    created = _found(catalog, "c")
    assert [each.name for each in created.names] == ["c"]
    assert created.altered == created.names[0].since == created.created
    client.rename_collection("c", "d")
    client.create_database("other")
    client.rename_collection("d", "d", target_db="other")
    moved = _found(catalog, "d", "other")
    names = [(each.database, each.name) for each in moved.names]
    assert names == [("default", "c"), ("default", "d"), ("other", "d")]
    times = [each.since for each in moved.names]
    assert times == sorted(set(times))
    assert moved.altered == times[-1]
    assert catalog.snapshot().collections[moved.id] == moved
    other = MilvusClient(source.uri, db_name="other", timeout=30)
    other.drop_collection("d")
    client.drop_database("other")


def test_aliases(client: MilvusClient, catalog: EtcdCatalog) -> None:
    """An alias is known with its collection and its time, and when it was dropped."""
    _create(client, "c")
    _create(client, "d")
    client.create_alias("c", "al")
    first = catalog.aliases()["default", "al"]
    assert first.collection_id == _found(catalog, "c").id
    client.alter_alias("d", "al")
    second = catalog.snapshot().aliases["default", "al"]
    assert second.collection_id == _found(catalog, "d").id
    assert second.since > first.since
    assert catalog.alias_ended("default", "al") == 0
    client.drop_alias("al")
    assert ("default", "al") not in catalog.aliases()
    assert catalog.alias_ended("default", "al") > second.since
    assert catalog.alias_ended("default", "never") == 0


def test_watch_tells_of_aliases_and_users(
    client: MilvusClient, catalog: EtcdCatalog
) -> None:
    """What belongs to no collection is told by its kind."""
    _create(client, "c")
    revision = catalog.snapshot().revision
    with contextlib.closing(catalog.watch(revision + 1)) as watch:
        client.create_alias("c", "al")
        assert _tells(watch, "aliases")
        client.create_user("ann", "Secret123")
        assert _tells(watch, "rbac")
        assert User("ann") in catalog.rbac().rules
        client.drop_user("ann")
        assert User("ann") not in catalog.rbac().rules


def _tells(watch: CatalogWatch, kind: str) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if getattr(watch.changed(), kind):
            return True
        time.sleep(0.02)
    return False


def test_watch_sees_what_happens(client: MilvusClient, catalog: EtcdCatalog) -> None:
    """Whatever is done to a collection makes the watch name it."""
    revision = catalog.snapshot().revision
    _create(client, "c")
    found = _found(catalog, "c")
    with contextlib.closing(catalog.watch(revision + 1)) as watch:
        assert _sees(watch, found.id), "created between listing and watching"
        steps: list[Callable[[], object]] = [
            lambda: client.create_partition("c", "p"),
            lambda: _index(client, "c", index_type="FLAT"),
            lambda: client.load_collection("c"),
            lambda: client.release_collection("c"),
            lambda: client.drop_index("c", "vector"),
            lambda: client.drop_partition("c", "p"),
            lambda: client.rename_collection("c", "d"),
            lambda: client.drop_collection("d"),
        ]
        for number, step in enumerate(steps):
            _settled(watch)
            step()
            assert _sees(watch, found.id), f"step {number}"


def test_watch_of_forgotten_changes_breaks(
    source: EmbeddedMilvus, client: MilvusClient, catalog: EtcdCatalog
) -> None:
    """A watch from a revision that etcd has compacted says so instead of skipping."""
    _create(client, "c")
    revision = catalog.snapshot().revision
    field_one = 0x08
    _etcd(source.etcd_address, "KV/Compact", bytes([field_one]) + _varint(revision))
    with contextlib.closing(catalog.watch(1)) as watch:
        assert _breaks(watch)
    with contextlib.closing(catalog.watch(revision + 1)) as watch:
        found = _found(catalog, "c")
        client.drop_collection("c")
        assert _sees(watch, found.id)


def _varint(number: int) -> bytes:
    low, high = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])


def test_crashed_etcd_is_transient_and_comes_back(tmp_path: Path) -> None:
    """While etcd is away calls and watches say so; when it is back, calls go through."""
    with EmbeddedMilvus(tmp_path) as server:
        catalog = EtcdCatalog(Etcd(address=(server.etcd_address,)))
        revision = catalog.snapshot().revision
        watch = catalog.watch(revision + 1)
        server.kill()
        assert _breaks(watch)
        watch.close()
        with pytest.raises(TransientError, match="etcd does not answer"):
            catalog.snapshot()
        server.start()
        assert catalog.snapshot().revision >= revision
        catalog.close()


def test_endpoints_are_tried_in_turn(source: EmbeddedMilvus) -> None:
    """An endpoint that is down is passed over; all of them down is an error."""
    catalog = EtcdCatalog(Etcd(address=(CLOSED, source.etcd_address)))
    assert catalog.snapshot().databases
    catalog.close()
    away = EtcdCatalog(Etcd(address=(CLOSED, CLOSED)))
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:1: "):
        away.snapshot()
    away.close()


def test_wrong_root_path_is_said(source: EmbeddedMilvus) -> None:
    """Paths that lead to no Milvus are an error that names what to check."""
    catalog = EtcdCatalog(Etcd(address=(source.etcd_address,), root_path="elsewhere"))
    with pytest.raises(OperatorError, match=r"elsewhere/meta/; check rootPath"):
        catalog.snapshot()
    catalog.close()


def test_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a login etcd is read, also after it forgot the token; without, it refuses."""
    with EmbeddedMilvus(tmp_path) as server:
        address = server.etcd_address
        _enable_login(address)
        right = {"enable_auth": True, "username": "root", "password": "secret"}
        catalog = EtcdCatalog(Etcd(address=(address,), **right))
        revision = catalog.snapshot().revision
        monkeypatch.setattr(catalog._client, "_token", "forgotten.1")
        assert catalog.snapshot().revision >= revision
        with contextlib.closing(catalog.watch(revision)) as watch:
            assert not _breaks_at_once(watch)
        catalog.close()
        _refused(Etcd(address=(address,)), "user name is empty")
        wrong = Etcd(address=(address,), **{**right, "password": "wrong"})
        _refused(wrong, "authentication failed")


def _enable_login(address: str) -> None:
    user, role = b"\x0a\x04root", b"\x12\x04root"
    _etcd(address, "Auth/UserAdd", user + b"\x12\x06secret")
    _etcd(address, "Auth/RoleAdd", user)
    _etcd(address, "Auth/UserGrantRole", user + role)
    _etcd(address, "Auth/AuthEnable", b"")


def _breaks_at_once(watch: CatalogWatch) -> bool:
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        with contextlib.suppress(TransientError):
            watch.changed()
            time.sleep(0.02)
            continue
        return True
    return False


def _refused(etcd: Etcd, words: str) -> None:
    with (
        contextlib.closing(EtcdCatalog(etcd)) as catalog,
        pytest.raises(OperatorError, match=words),
    ):
        catalog.snapshot()


def test_login_where_none_is_needed(source: EmbeddedMilvus) -> None:
    """A login given for an etcd without logins does no harm."""
    login = {"enable_auth": True, "username": "u", "password": "p"}
    etcd = Etcd(address=(source.etcd_address,), **login)
    with contextlib.closing(EtcdCatalog(etcd)) as catalog:
        assert catalog.snapshot().databases


def test_tls_on_both_sides(source: EmbeddedMilvus, tmp_path: Path) -> None:
    """With authority, certificate and key etcd is reached; without them it is not."""
    files = certificates(tmp_path)
    with tls_front(source.etcd_address, files) as address:
        settings = {
            "enable_tls": True,
            "tls_cert_path": str(files.certificate),
            "tls_key_path": str(files.key),
            "tls_ca_cert_path": str(files.authority),
        }
        with contextlib.closing(
            EtcdCatalog(Etcd(address=(address,), **settings))
        ) as found:
            assert found.snapshot().databases
        settings["tls_ca_cert_path"] = ""
        with (
            contextlib.closing(
                EtcdCatalog(Etcd(address=(address,), **settings))
            ) as other,
            pytest.raises(TransientError),
        ):
            other.snapshot()


def test_missing_certificate_is_said(source: EmbeddedMilvus) -> None:
    """A file that cannot be read is named."""
    etcd = Etcd(
        address=(source.etcd_address,), enable_tls=True, tls_ca_cert_path="/none.pem"
    )
    with pytest.raises(OperatorError, match=r"cannot read /none\.pem"):
        EtcdCatalog(etcd)


def test_time_is_just_ahead_of_the_source(
    client: MilvusClient, catalog: EtcdCatalog
) -> None:
    """It is later than whatever was done before it was asked, by a few seconds."""
    before = catalog.time()
    _create(client, "c")
    created = _found(catalog, "c").created
    assert created < catalog.time()
    assert physical_seconds(before) - physical_seconds(created) < 60
