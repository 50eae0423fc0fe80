"""Behind smaller limits: what is too large as a whole arrives in parts, each row once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pymilvus import MilvusClient

from cdc_actors.embedded.milvus import EmbeddedMilvus
from tests.support.books import Books, wait_equal
from tests.support.cdc import wait_until
from tests.support.forwarder import Forwarder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cdc import Cdc

ROWS = 60
TEXT = 15_000
LARGE = 60_000
NARROW = {
    "proxy": {"grpc": {"serverMaxRecvSize": 300_000}},
    "natsmq": {"server": {"maxPayload": 100_000}},
}

MANY = 5000
LARGEST = 50_000


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[EmbeddedMilvus]:
    """Yield a target that takes 300 kB a request, and 100 kB a message of its queue."""
    with EmbeddedMilvus(tmp_path / "narrow", wanted=NARROW) as server:
        yield server


def test_target_that_takes_less_than_the_source(
    source: EmbeddedMilvus, narrow: EmbeddedMilvus, client: MilvusClient, cdc: Cdc
) -> None:
    """Rows come in parts, each once; of a row that never fits the key is told, no more.

    The queue may take the rows of one shard and refuse those of the other, and the
    service is killed between parts.
    """
    books = Books(client).create(text=TEXT, shards=2)
    tomes = Books(client, "tomes").create(text=LARGE, more=LARGE)
    books.insert(range(ROWS), text="x" * TEXT)
    tomes.insert([7], text="x" * LARGE, more="y" * LARGE)
    task = cdc.create(narrow.uri)
    wait_until(
        lambda: "request_halved" in cdc.log.read_text("utf-8"), "a request is halved"
    )
    cdc.kill()
    cdc.start()
    books.delete(range(0, ROWS, 3))
    books.insert(range(ROWS, 2 * ROWS), text="z" * TEXT)
    wait_equal(source, narrow, lambda _database, name: name == "books")
    assert count(narrow, "books") == count(source, "books")
    found = {each["name"]: each for each in cdc.get(task)["collections"]}
    assert found["tomes"]["state"] == "set_aside"
    assert "the row with the key 7 takes 1201" in found["tomes"]["reason"]
    assert "xxx" not in cdc.log.read_text("utf-8")


@pytest.mark.parametrize(
    "proxy", ["413", pytest.param("grpc", marks=pytest.mark.thorough)]
)
def test_proxy_that_takes_less_than_the_target(
    source: EmbeddedMilvus,
    target_milvus: EmbeddedMilvus,
    milvus: MilvusClient,
    client: MilvusClient,
    cdc: Cdc,
    proxy: str,
) -> None:
    """Inserts and deletes come in parts that fit, whoever refuses and how."""
    options: dict[str, Any] = {
        "options": (("grpc.max_receive_message_length", LARGEST),)
    }
    if proxy == "413":
        options = {"refuse": too_large}
    books = Books(client).create()
    books.insert(range(MANY))
    with Forwarder(target_milvus.uri, **options) as way:
        task = cdc.create(way.uri)
        wait_until(
            lambda: cdc.get(task)["rows_applied"] >= MANY, "the rows have arrived"
        )
        books.delete(range(1, MANY))
        wait_equal(source, target_milvus)
    assert count(target_milvus, "books") == 1
    assert "request_halved" in cdc.log.read_text("utf-8")
    assert "run_failed" not in cdc.log.read_text("utf-8")


def too_large(method: str, request: bytes) -> tuple[grpc.StatusCode, str] | None:
    """Refuse as gRPC shows a proxy's HTTP status 413."""
    if method in {"Insert", "Delete"} and len(request) > LARGEST:
        return grpc.StatusCode.UNKNOWN, "Received http2 header with status: 413"
    return None


def count(server: EmbeddedMilvus, name: str) -> int:
    """Return how many rows there are; a query by key would hide copies."""
    client = MilvusClient(server.uri, timeout=30, dedicated=True)
    try:
        client.load_collection(name)
        [row] = client.query(
            name, "", output_fields=["count(*)"], consistency_level="Strong"
        )
    finally:
        client.close()
    return row["count(*)"]
