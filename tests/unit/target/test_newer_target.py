"""A target of Milvus 2.5.27, as far as its recorded answers and requests go."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from cdc_actors.changes import Definition, Insert, Rows
from cdc_actors.rbac_rules import Grant
from cdc_actors.target.collections import create_collection, defaulted_fields
from cdc_actors.target.columns import named_columns
from cdc_actors.target.rbac import add, request_name
from tests.support.answering import connection_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.target.connection import Connection

FOLDER = Path(__file__).parents[2] / "support" / "recorded"
RECORDED = json.loads((FOLDER / "columns_2_5_27.json").read_text())
"""Columns as they are in the log and as the server takes them, and some answers."""
ROWS = 3


def decoded(texts: dict[str, str]) -> dict[str, bytes]:
    """Return recorded bytes by name."""
    return {name: base64.b64decode(text) for name, text in texts.items()}


class Playing(grpc.GenericRpcHandler):
    """Answers as recorded, everything else with success; ``asked`` is what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []
        self.metadata: dict[str, dict[str, str]] = {}
        self._answers = decoded(RECORDED["answers"])

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler:
        """Return what answers calls of a method."""
        method = handler_call_details.method.rpartition("/")[2]
        self.metadata[method] = dict(handler_call_details.invocation_metadata)

        def answer(request: bytes, _context: grpc.ServicerContext) -> bytes:
            self.asked.append((method, request))
            if method == "ListDatabases":
                named = milvus_pb2.ListDatabasesResponse(db_names=["default"])
                return bytes(named.SerializeToString())
            return self._answers.get(method, b"")

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def playing() -> Iterator[tuple[Playing, Connection]]:
    """Yield the server and a connection to it."""
    handler = Playing()
    with connection_to(handler) as connection:
        yield handler, connection


def test_a_collection_that_is_missing_is_created(
    playing: tuple[Playing, Connection],
) -> None:
    """The server says with its older codes alone that there is none."""
    server, connection = playing
    definition = Definition(
        database="default",
        name="nope",
        schema=base64.b64decode(RECORDED["schema"]),
        shards=1,
        consistency_level=0,
        properties={},
        partitions=(),
    )
    assert connection.version == "2.5.27"
    assert create_collection(connection, definition, lambda: None) is False
    created = [
        request for method, request in server.asked if method == "CreateCollection"
    ]
    [request] = map(milvus_pb2.CreateCollectionRequest.FromString, created)
    assert request.collection_name == "nope"


def test_columns_of_the_log_become_those_that_are_taken() -> None:
    """Default values need flags, nulls must go; the server refused the log's own."""
    schema = schema_pb2.CollectionSchema.FromString(
        base64.b64decode(RECORDED["schema"])
    )
    log, taken = decoded(RECORDED["log"]), decoded(RECORDED["taken"])
    insert = Insert(1, "dml_0_1v0", "_default", 1, ROWS, tuple(log.values()), 100)
    defaulted = defaulted_fields(schema)
    assert defaulted == {"d", "s", "nd"}
    sent = named_columns(Rows(insert), (), defaulted)
    assert sent.keys() == taken.keys()
    for name, column in taken.items():
        parse = schema_pb2.FieldData.FromString
        assert parse(sent[name]) == parse(column)
    part = named_columns(Rows(insert, range(1, ROWS)), (), defaulted)
    flags = schema_pb2.FieldData.FromString(part["d"]).valid_data
    assert list(flags) == [True] * (ROWS - 1)


def test_null_rows_are_taken_out_of_every_kind_of_column() -> None:
    """The server refuses their fillers, among arrays those that are of no type at all."""
    for written in decoded(RECORDED["nullable"]).values():
        before = schema_pb2.FieldData.FromString(written)
        insert = Insert(1, "dml_0_1v0", "_default", 1, 8, (written,), 100)
        [column] = named_columns(Rows(insert)).values()
        after = schema_pb2.FieldData.FromString(column)
        assert list(after.valid_data) == list(before.valid_data)
        kind = before.scalars.WhichOneof("data")
        had = getattr(before.scalars, kind).data
        kept = [had[row] for row, valid in enumerate(before.valid_data) if valid]
        assert 0 < len(kept) < len(had)
        assert list(getattr(after.scalars, kind).data) == kept


@pytest.mark.parametrize("name", ["books", "*"])
def test_a_grant_names_who_grants(
    playing: tuple[Playing, Connection], name: str
) -> None:
    """Also where nobody logs in: "fail to get authorization from the md" otherwise."""
    server, connection = playing
    grant = Grant("r", "Global", "default", name, "DescribeCollection")
    add(connection, grant)
    asked = server.metadata[request_name(grant, remove=False)]
    assert base64.b64decode(asked["authorization"]) == b"root:"
    connection.call("ListDatabases", milvus_pb2.ListDatabasesRequest(), "default")
    assert "authorization" not in server.metadata["ListDatabases"]
