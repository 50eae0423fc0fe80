"""Requests from the replicate channel, asked of the target's names."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from cdc_actors.changes import Request
from cdc_actors.errors import OperationRefusedError
from cdc_actors.source.decode import REQUEST_KINDS, decode
from cdc_actors.target.requests import forward, issue, message_for


def request(kind: str, **fields) -> Request:
    """Return the request as the log holds it."""
    message = getattr(milvus_pb2, f"{kind}Request")(**fields)
    message.base.timestamp = 7
    payload = message.SerializeToString()
    return Request(kind, 7, fields["db_name"], (), payload)


ABOUT_ONE = [kind for kind in REQUEST_KINDS if kind != "Flush"]


@pytest.mark.parametrize("kind", ABOUT_ONE)
def test_a_request_is_read_from_the_log(kind):
    """A message of each kind is the request that the client sent, of its collection."""
    message = getattr(milvus_pb2, f"{kind}Request")(collection_name="a")
    message.base.msg_type = common_pb2.MsgType.Value(kind)
    message.base.timestamp = 7
    payload = message.SerializeToString()
    assert decode(payload) == Request(kind, 7, "default", ("a",), payload)


@pytest.mark.parametrize("kind", ABOUT_ONE)
def test_names_are_the_targets(kind):
    """Database and collection are replaced, and the source's header is gone."""
    asked = request(kind, db_name="here", collection_name="a")
    message = message_for(asked, "there", "b")
    assert (message.db_name, message.collection_name) == ("there", "b")
    assert not message.HasField("base")


def test_a_flush_of_several_is_asked_of_one():
    """Each collection's share of a flush names that collection only."""
    asked = request("Flush", db_name="here", collection_names=["a", "b"])
    message = message_for(asked, "there", "c")
    assert (message.db_name, list(message.collection_names)) == ("there", ["c"])


def test_a_flush_is_asked_of_milvus_lite():
    """It names collections in another way than all other requests do."""
    asked: list[str] = []
    target = SimpleNamespace(
        is_lite=True, call=lambda method, *_request: asked.append(method)
    )
    flush = request("Flush", db_name="here", collection_names=["a"])
    forward(target, flush, ("there", "c"))
    assert asked == ["Flush"]


def test_what_is_asked_stays():
    """All but the names is as the client asked it."""
    asked = request(
        "LoadPartitions",
        db_name="here",
        collection_name="a",
        partition_names=["p"],
        replica_number=2,
    )
    message = message_for(asked, "there", "b")
    assert (list(message.partition_names), message.replica_number) == (["p"], 2)


def test_a_load_that_the_catalog_shows_comes_without_skipped_fields():
    """It may be of some fields, which the target need not have."""
    asked = []
    target = SimpleNamespace(
        is_lite=False, call=lambda _kind, load, _db: asked.append(load.load_fields)
    )
    load = {"load_fields": ["id", "place", "parts[n]"], "replica_number": 1}
    done = issue(target, "LoadCollection", ("db", "a"), load, ("place", "parts"))
    assert asked == [["id"]]
    assert done == "without the fields place, parts[n], which the target cannot hold"


@pytest.mark.parametrize(("there", "is_done"), [("b", True), ("a", False)])
def test_a_partition_that_is_gone_is_released(there, is_done):
    """Its drop came first; a refusal to release one that is there stays one."""

    def call(method, *_request):
        if method == "ReleasePartitions":
            raise OperationRefusedError("partition not found[partition=a]")
        return milvus_pb2.ShowPartitionsResponse(partition_names=[there])

    target = SimpleNamespace(is_lite=False, call=call)
    arguments = {"partition_names": ["a"]}
    expected = nullcontext() if is_done else pytest.raises(OperationRefusedError)
    with expected:
        issue(target, "ReleasePartitions", ("default", "c"), arguments)
