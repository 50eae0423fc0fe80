"""A target whose proxy does not know of a partition that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from cdc_actors.changes import Batch, Rows
from cdc_actors.errors import OperationRefusedError, UnclearAnswerError
from cdc_actors.target import proxies
from cdc_actors.target.rows import RowWriter
from tests.support.answering import connection_to
from tests.support.changes import insert, key_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.target.connection import Connection

UNKNOWN = common_pb2.Status(code=200, reason="partition not found[partition=old]")
"""What Milvus 2.3.5 says of one that was made while its proxy was asked for it."""

FORGOTTEN = common_pb2.Status(
    code=65535, reason="can't find collection name default:books"
)
"""What it says where it was told to forget one while it was asked for it."""

GONE = common_pb2.Status(code=100, reason="collection not found[collection=44]")

LOAD = milvus_pb2.LoadPartitionsRequest(
    collection_name="books", partition_names=["old"]
)


class Stale(grpc.GenericRpcHandler):
    """Takes what names a partition once a property was altered, if ``heals``."""

    def __init__(self) -> None:
        self.heals = True
        self.refusal = UNKNOWN
        self.asked: list[str] = []
        self._is_known = False

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler:
        """Return what answers calls of a method."""
        method = handler_call_details.method.rpartition("/")[2]
        return grpc.unary_unary_rpc_method_handler(
            lambda _request, _context: self._answer(method).SerializeToString()
        )

    def _answer(self, method: str) -> Any:
        self.asked.append(method)
        if method == "ShowPartitions":
            names = ["_default", "old"]
            return milvus_pb2.ShowPartitionsResponse(partition_names=names)
        if method == "AlterCollection":
            self._is_known = self.heals
        refusal = None if self._is_known else self.refusal
        if method in {"Insert", "Delete"}:
            return milvus_pb2.MutationResult(status=refusal, delete_cnt=1)
        if method == "LoadPartitions" and refusal:
            return refusal
        if method == "AlterCollection" and refusal:
            return GONE
        return common_pb2.Status()


@pytest.fixture
def stale() -> Iterator[tuple[Stale, Connection]]:
    """Yield the server and a connection to it."""
    handler = Stale()
    with connection_to(handler) as connection:
        handler.asked.clear()
        yield handler, connection


def write(connection: Connection, batch: Batch) -> None:
    """Write to a partition that is there."""
    writer = RowWriter(connection, "default", "books", key_schema())
    writer.write(batch)
    writer.drain()


ROWS = Batch({}, (Rows(insert(1, partition="old")),))
KEYS = Batch({"old": [1]}, ())


@pytest.mark.parametrize("refusal", [UNKNOWN, FORGOTTEN], ids=["missed", "forgotten"])
@pytest.mark.parametrize(("batch", "method"), [(ROWS, "Insert"), (KEYS, "Delete")])
def test_rows_of_what_the_proxy_missed_or_forgot(
    stale: tuple[Stale, Connection], batch: Batch, method: str, refusal: Any
) -> None:
    """The proxy is made to look again, and takes them."""
    server, connection = stale
    server.refusal = refusal
    write(connection, batch)
    assert server.asked == ["ShowPartitions", method, "AlterCollection", method]


@pytest.mark.parametrize("batch", [ROWS, KEYS])
def test_rows_that_are_refused_still(
    stale: tuple[Stale, Connection], batch: Batch
) -> None:
    """What does not help is not done over and over."""
    server, connection = stale
    server.heals = False
    with pytest.raises(UnclearAnswerError, match="partition=old"):
        write(connection, batch)
    assert server.asked.count("AlterCollection") == 1


@pytest.mark.parametrize(
    ("reason", "is_stale"),
    [("[collection=470800325319206385]", True), ("[collection=books]", False)],
)
def test_a_collection_that_is_not_found(reason: str, *, is_stale: bool) -> None:
    """By an id it may be another, which was dropped; by its name it is not there."""
    refusal = OperationRefusedError(f"collection not found{reason}", 100)
    assert proxies.is_stale(refusal) == is_stale


def test_an_operation_on_a_partition_that_the_proxy_missed(
    stale: tuple[Stale, Connection],
) -> None:
    """It is asked again, and is not called refused."""
    server, connection = stale
    connection.call("LoadPartitions", LOAD, "default")
    assert server.asked == ["LoadPartitions", "AlterCollection", "LoadPartitions"]


def test_an_operation_that_is_refused_still(stale: tuple[Stale, Connection]) -> None:
    """The partition may really be gone."""
    server, connection = stale
    server.heals = False
    with pytest.raises(OperationRefusedError, match="partition=old"):
        connection.call("LoadPartitions", LOAD, "default")
    assert server.asked.count("LoadPartitions") == 2
