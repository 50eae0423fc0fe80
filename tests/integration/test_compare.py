"""Comparing real servers: equal ones, and ones tampered with in each way."""

from __future__ import annotations

import math
import struct
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from pymilvus import CollectionSchema, DataType, FieldSchema, MilvusClient
from pymilvus.client.types import LoadState

from cdc_actors.compare import CollectionReport, Kind, Report, compare
from cdc_actors.embedded.ports import PortBlock
from cdc_actors.errors import TransientError
from cdc_actors.grpc_common import NO_KEEPALIVE
from cdc_actors.target.connection import tls_arguments
from cdc_actors.tasks import ConnectParam
from tests.support.databases import databases_of
from tests.support.servers import drop
from tests.support.tls import certificates, tls_front
from tests.support.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

BOOKS = "books"
KEYS = ["", "it's", 'a "quote"', "back\\slash", "line\nend", "e\u0301", "\U0001f4da"]
SCHEMA = CollectionSchema(
    [
        FieldSchema("id", DataType.VARCHAR, is_primary=True, max_length=64),
        FieldSchema("price", DataType.DOUBLE),
        FieldSchema("about", DataType.JSON),
        FieldSchema(
            "pages", DataType.ARRAY, element_type=DataType.INT32, max_capacity=4
        ),
        FieldSchema("vector", DataType.FLOAT_VECTOR, dim=4),
    ],
    enable_dynamic_field=True,
)
PARTITIONS = ("_default", "shelf")


def row(key: str, **changes: Any) -> dict[str, Any]:
    """Return a row of ``SCHEMA``."""
    values = {
        "id": key,
        "price": 0.0,
        "about": {"n": [1, 2.5, None], "name": key},
        "pages": [1, 2],
        "vector": [0.1, 0.2, 0.3, 0.4],
        "colour": "red",
    }
    return values | changes


def create(client: MilvusClient, name: str, schema: CollectionSchema) -> None:
    """Create a collection with its last field indexed, and load it."""
    client.create_collection(name, schema=schema)
    binary = schema.fields[-1].dtype == DataType.BINARY_VECTOR
    indexes = client.prepare_index_params()
    kind, metric = ("BIN_FLAT", "HAMMING") if binary else ("FLAT", "L2")
    field = schema.fields[-1].name
    indexes.add_index(field, index_type=kind, metric_type=metric)
    client.create_index(name, indexes, sync=False)
    client.load_collection(name)


def fill(client: MilvusClient, schema: CollectionSchema = SCHEMA) -> None:
    """Make the collection ``BOOKS`` with a row of each key in each partition."""
    client.create_collection(BOOKS, schema=schema)
    client.create_partition(BOOKS, "shelf")
    indexes = client.prepare_index_params()
    indexes.add_index("vector", index_type="FLAT", metric_type="L2")
    client.create_index(BOOKS, indexes, sync=False)
    client.load_collection(BOOKS)
    for partition in PARTITIONS:
        rows = [row(f"{key}{partition}") for key in KEYS] + [row("", price=math.nan)]
        rows = rows if partition == "_default" else rows[:-1]
        client.insert(BOOKS, rows, partition_name=partition)


@pytest.fixture(scope="module")
def original(source: EmbeddedMilvus) -> Iterator[EmbeddedMilvus]:
    """Yield the source with the collection ``BOOKS``."""
    client = MilvusClient(
        source.uri, timeout=60, dedicated=True, grpc_options=NO_KEEPALIVE
    )
    drop(client, BOOKS)
    fill(client)
    yield source
    drop(client, BOOKS)
    client.close()


@pytest.fixture
def copy(target_lite: EmbeddedLite) -> Iterator[MilvusClient]:
    """Yield a client of a Milvus Lite that has the same ``BOOKS``, to tamper with."""
    client = MilvusClient(
        target_lite.uri, timeout=60, dedicated=True, grpc_options=NO_KEEPALIVE
    )
    drop(client, BOOKS)
    fill(client)
    yield client
    drop(client, BOOKS)
    client.close()


@pytest.fixture
def report(original: EmbeddedMilvus, target_lite: EmbeddedLite) -> Any:
    """Return what compares ``BOOKS`` at the source with the copy."""

    def run(**options: Any) -> CollectionReport:
        result = compare(
            original.uri,
            "",
            target_lite.uri,
            "",
            databases_selected=lambda _, name: name == BOOKS,
            **options,
        )
        assert result.equal is result.collections[0].equal
        return result.collections[0]

    return run


def same(server: EmbeddedMilvus, *names: str, **options: Any) -> Report:
    """Compare collections of a server with themselves."""
    selected = options.pop("selected", lambda _, name: name in names)
    uri = server.uri
    return compare(uri, "", uri, "", databases_selected=selected, **options)


def test_a_copy_is_equal(copy: MilvusClient, report: Any) -> None:
    """Same rows at a Milvus and at a Milvus Lite: equal, and every row is counted."""
    found = report()
    assert found.equal, str(found)
    assert found.source_rows == found.target_rows == 2 * len(KEYS) + 1


def test_a_missing_row_is_named(copy: MilvusClient, report: Any) -> None:
    """A row that the target lacks is named with its partition and key."""
    copy.delete(BOOKS, filter='id == "e\u0301shelf"')
    found = report()
    assert not found.equal
    assert found.missing.count == 1
    assert str(found.missing.examples[0]) == "shelf / 'e\u0301shelf'"
    assert found.extra.count == found.different.count == 0


def test_an_extra_row_is_named(copy: MilvusClient, report: Any) -> None:
    """A row that only the target has is named."""
    copy.insert(BOOKS, [row('"new"')])
    found = report()
    assert not found.equal
    assert [each.key for each in found.extra.examples] == ['"new"']


def test_a_row_in_another_partition_is_another_row(
    copy: MilvusClient, report: Any
) -> None:
    """A key in the wrong partition is missing in one and extra in the other."""
    copy.delete(BOOKS, filter='id == "it\'sshelf"')
    copy.insert(BOOKS, [row("it'sshelf")])
    found = report()
    assert [each.partition for each in found.missing.examples] == ["shelf"]
    assert [each.partition for each in found.extra.examples] == ["_default"]


def next_float(value: float) -> float:
    """Return the float32 whose bits are one more."""
    bits = struct.unpack("<I", struct.pack("<f", value))[0] + 1
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"vector": [0.1, 0.2, 0.3, next_float(0.4)]}, "vector[3]"),
        ({"about": {"n": [1, 2.5, 0], "name": "_default"}}, "about"),
        ({"price": -0.0}, "price: 0.0 -> -0.0"),
        ({"pages": [1, 2, 3]}, "pages: 2 elements -> 3"),
        ({"colour": "blue"}, "colour: 'red' -> 'blue'"),
        ({"size": 1}, "size: None -> 1"),
    ],
)
def test_changed_content_is_named(
    copy: MilvusClient, report: Any, changes: dict[str, Any], text: str
) -> None:
    """One changed bit of a vector, or any other value, is found and told."""
    copy.upsert(BOOKS, [row("_default", **changes)])
    found = report()
    assert not found.equal
    assert [each.key for each in found.different.examples] == ["_default"]
    assert found.different.examples[0].text.startswith(text)


def test_json_with_names_in_another_order_is_equal(
    copy: MilvusClient, report: Any
) -> None:
    """JSON is compared as what it says, not as text."""
    copy.upsert(
        BOOKS, [row("_default", about={"name": "_default", "n": [1, 2.5, None]})]
    )
    assert report().equal


def test_a_missing_partition_is_named_with_its_rows(
    copy: MilvusClient, report: Any
) -> None:
    """A partition that the target lacks is told, and each of its rows is missing."""
    copy.drop_partition(BOOKS, "shelf")
    found = report()
    assert [each.text for each in found.findings] == [
        "'shelf' is missing at the target"
    ]
    assert found.missing.count == len(KEYS)
    assert found.source_rows == 2 * len(KEYS) + 1


def test_another_schema_is_named(copy: MilvusClient, report: Any) -> None:
    """Other fields are told, and rows that cannot be compared are not called equal."""
    drop(copy, BOOKS)
    fields = [each for each in SCHEMA.fields if each.name != "pages"]
    create(copy, BOOKS, CollectionSchema(fields))
    found = report()
    texts = [each.text for each in found.findings if each.kind is Kind.SCHEMA]
    assert texts == [
        "enable_dynamic_field: True -> False",
        "only the source has a field 'pages'",
    ]
    assert any(each.kind is Kind.UNREAD for each in found.findings)
    assert not found.equal


def test_a_collection_at_one_side_is_named(copy: MilvusClient, report: Any) -> None:
    """A collection that the target lacks is a difference."""
    drop(copy, BOOKS)
    found = report()
    assert not found.equal
    assert [each.kind for each in found.findings] == [Kind.COLLECTION]


def test_a_database_at_one_side_is_named(
    original: EmbeddedMilvus, copy: MilvusClient, target_lite: EmbeddedLite
) -> None:
    """Collections of a database that the source lacks are differences, each named."""
    copy.create_database("other")
    other = MilvusClient(
        target_lite.uri,
        db_name="other",
        timeout=60,
        dedicated=True,
        grpc_options=NO_KEEPALIVE,
    )
    other.create_collection("lonely", schema=SCHEMA)
    found = compare(
        original.uri,
        "",
        target_lite.uri,
        "",
        databases_selected=lambda database, _: database == "other",
    )
    other.drop_collection("lonely")
    other.close()
    copy.drop_database("other")
    assert list(found.lines())[:2] == [
        "other.lonely: DIFFERENT, rows not compared",
        "  collection: is only at the target",
    ]


def test_an_alias_in_another_database_is_named(
    source: EmbeddedMilvus, target_lite: EmbeddedLite
) -> None:
    """Aliases are looked for in the collection's own database."""
    with ExitStack() as stack:
        for server in (source, target_lite):
            stack.enter_context(database_with_tales(server, "aside"))
        client = MilvusClient(source.uri, db_name="aside", timeout=60, dedicated=True)
        client.create_alias("tales", "stories")
        found = compare(
            source.uri,
            "",
            target_lite.uri,
            "",
            databases_selected=lambda database, _: database == "aside",
        )
        client.drop_alias("stories")
        client.close()
    assert [each.text for each in found.of(Kind.ALIAS)] == [
        "'stories' is missing at the target"
    ]


def test_a_target_behind_tls_is_read(target_lite: EmbeddedLite, tmp_path: Path) -> None:
    """With the files that a task has for it."""
    files = certificates(tmp_path)
    paths = {
        "ca_pem_path": str(files.authority),
        "client_pem_path": str(files.certificate),
        "client_key_path": str(files.key),
    }
    with tls_front(target_lite.uri, files) as uri:
        tls = tls_arguments(ConnectParam(uri=uri, **paths))
        assert "default" in databases_of(uri, tls)
        with pytest.raises(TransientError, match="the target"):
            databases_of(uri)
    with tls_front(target_lite.uri, files, mutual=False) as uri:
        one_way = tls_arguments(ConnectParam(uri=uri, ca_pem_path=str(files.authority)))
        assert "default" in databases_of(uri, one_way)


@contextmanager
def database_with_tales(
    server: EmbeddedMilvus | EmbeddedLite, database: str
) -> Iterator[None]:
    """Have a database with one collection, ``tales``, for a while."""
    there = {"timeout": 60, "dedicated": True, "grpc_options": NO_KEEPALIVE}
    with closing(MilvusClient(server.uri, **there)) as client:
        client.create_database(database)
        with closing(MilvusClient(server.uri, db_name=database, **there)) as inside:
            create(inside, "tales", SCHEMA)
            try:
                yield
            finally:
                inside.drop_collection("tales")
                client.drop_database(database)


def test_a_collection_that_is_not_loaded(copy: MilvusClient, report: Any) -> None:
    """It is reported as unread; or loaded to be read, and left as it is at the source."""
    copy.release_collection(BOOKS)
    found = report()
    assert [each.kind for each in found.findings] == [Kind.LOAD, Kind.UNREAD]
    assert not found.equal
    loaded = report(load=True)
    assert [each.kind for each in loaded.findings] == [Kind.LOAD]
    assert loaded.equal
    assert copy.get_load_state(BOOKS)["state"] == LoadState.Loaded


def test_another_index_is_told_beside_the_verdict(
    copy: MilvusClient, report: Any
) -> None:
    """An index of another kind is told, and leaves the rows equal."""
    copy.release_collection(BOOKS)
    copy.drop_index(BOOKS, "vector")
    indexes = copy.prepare_index_params()
    indexes.add_index("vector", index_type="HNSW", metric_type="L2")
    copy.create_index(BOOKS, indexes, sync=False)
    copy.load_collection(BOOKS)
    found = report()
    texts = [each.text for each in found.findings if each.kind is Kind.INDEX]
    assert texts == ["'vector': index_type 'FLAT' -> 'HNSW'"]
    assert found.equal


def test_progress_tells_the_rows_compared(copy: MilvusClient, report: Any) -> None:
    """The callback hears the collection's name, and in the end all its rows."""
    heard: list[tuple[str, int]] = []
    report(progress=lambda name, rows: heard.append((name, rows)))
    assert heard[-1] == (f"default.{BOOKS}", 2 * len(KEYS) + 1)


BITS = CollectionSchema(
    [
        FieldSchema("id", DataType.INT64, is_primary=True),
        FieldSchema("vector", DataType.BINARY_VECTOR, dim=8),
    ]
)
MANY = 2_500
SMALLEST, LARGEST = -(2**63), 2**63 - 1


def bits(*keys: int) -> list[dict[str, Any]]:
    """Return rows of ``BITS``."""
    return [{"id": key, "vector": bytes([key % 251])} for key in keys]


@pytest.fixture
def real(
    source: EmbeddedMilvus, target_milvus: EmbeddedMilvus
) -> Iterator[tuple[MilvusClient, MilvusClient]]:
    """Yield clients of two Milvus with the same collection ``bits`` of several pages."""
    clients = [
        MilvusClient(server.uri, timeout=60, dedicated=True, grpc_options=NO_KEEPALIVE)
        for server in (source, target_milvus)
    ]
    for client in clients:
        client.drop_collection("bits")
        create(client, "bits", BITS)
        client.insert("bits", bits(SMALLEST, *range(MANY)))
        client.flush("bits")
        client.insert("bits", bits(*range(MANY, MANY + 10)))
    yield clients[0], clients[1]
    for client in clients:
        client.drop_collection("bits")
        client.close()


def test_what_only_a_milvus_can_differ_in(
    source: EmbeddedMilvus,
    target_milvus: EmbeddedMilvus,
    real: tuple[MilvusClient, MilvusClient],
) -> None:
    """Over pages and segments: doubled keys, a binary vector's bit, unread rows."""

    def run() -> CollectionReport:
        found = compare(
            source.uri,
            "",
            target_milvus.uri,
            "",
            databases_selected=lambda _, name: name == "bits",
        )
        return found.collections[0]

    _, target = real
    assert run().equal
    target.insert("bits", bits(SMALLEST, 1_700, MANY + 3, MANY + 3))
    target.upsert("bits", [{"id": 7, "vector": b"\x06"}])
    found = run()
    assert not found.equal
    assert [(each.key, each.text) for each in found.doubled.examples] == [
        (SMALLEST, "1 times at the source, 2 at the target"),
        (1_700, "1 times at the source, 2 at the target"),
        (MANY + 3, "1 times at the source, 3 at the target"),
    ]
    assert found.uneven == 3
    assert found.target_rows == MANY + 11 + 4
    assert [each.key for each in found.different.examples] == [7]
    assert found.missing.count == found.extra.count == 0
    target.insert("bits", bits(LARGEST))
    unread = [each for each in run().findings if each.kind is Kind.UNREAD]
    assert len(unread) == 1


def test_keys_doubled_alike_are_told_but_equal(
    source: EmbeddedMilvus, real: tuple[MilvusClient, MilvusClient]
) -> None:
    """Two rows of one key at both sides are no difference, but named."""
    real[0].insert("bits", bits(5))
    found = same(source, "bits").collections[0]
    assert found.equal
    assert [each.key for each in found.doubled.examples] == [5]


def test_a_server_that_is_away_is_a_transient_error(source: EmbeddedMilvus) -> None:
    """Nobody there: the error says which side, and asks for another try."""
    ports = PortBlock(("api",))
    uri = f"http://127.0.0.1:{ports['api']}"
    with pytest.raises(TransientError, match="the target"):
        compare(source.uri, "", uri, "")
    ports.close()


@pytest.mark.thorough
def test_the_workload_keeps_what_it_remembers(source: EmbeddedMilvus) -> None:
    """After 80 random operations the source has the rows that the workload knows.

    And its collections, of every data type, are equal to themselves, no key twice.
    """
    with Workload(source.uri, 2024, binary_vectors=True) as workload:
        workload.setup()
        for _ in range(80):
            workload.step()
    report = same(source, *workload.collections)
    assert report.equal, str(report)
    for found in report.collections:
        assert found.source_rows == len(workload.collections[found.name].live)
        assert found.doubled.count == 0
