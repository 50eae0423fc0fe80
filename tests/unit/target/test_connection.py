"""What the target's answers mean: done, not now, or no."""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pymilvus.grpc_gen import common_pb2

from cdc_actors.errors import (
    AccessRefusedError,
    CdcError,
    CollectionError,
    KindRefusedError,
    OperationRefusedError,
    OperatorError,
    TransientError,
    UnclearAnswerError,
)
from cdc_actors.instruments import INSTRUMENTS
from cdc_actors.owned_time import FOREVER
from cdc_actors.target import connection as connection_module
from cdc_actors.target.answers import RateLimitError, TooLargeError, check, rpc_error
from cdc_actors.target.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

UNEXPECTED = 65535
"""Milvus 2.3.5 has this code for whatever its components did not expect."""


def answer(code: int, reason: str = "") -> common_pb2.Status:
    """Return a status as Milvus answers it."""
    return common_pb2.Status(code=code, reason=reason)


@pytest.mark.parametrize(
    "reason",
    [
        "sync new partition failed, reason: NodeNotFound",
        "show collection failed: rpc error: code = Unavailable",
        "service not ready[querycoord=3]",
    ],
)
@pytest.mark.parametrize("method", ["CreatePartition", "LoadCollection", "Insert"])
def test_a_target_that_is_starting_is_asked_again(method: str, reason: str) -> None:
    """Operations are not given up, no more than rows, for a node that is away."""
    with pytest.raises(UnclearAnswerError) as refusal:
        check(answer(UNEXPECTED, reason), method)
    assert refusal.value.is_starting


@pytest.mark.parametrize("lite", [False, True])
def test_what_is_unclear_is_no_for_operations_and_not_now_for_rows(
    lite: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """An operation may be left out and is told of; rows may not."""
    unclear = answer(UNEXPECTED, "at most one distinct index is allowed per field")
    with pytest.raises(OperationRefusedError, match="at most one"):
        check(unclear, "CreateIndex", lite=lite)
    with pytest.raises(TransientError):
        check(unclear, "Insert", lite=lite)


def test_rows_of_a_partition_that_is_not_known_yet() -> None:
    """Milvus (2.3.5) has answered so of one that it had just created."""
    with pytest.raises(TransientError):
        check(answer(200, "partition not found[partition=maps]"), "Insert")


def test_a_rate_limit_is_told_apart() -> None:
    """It is no failure: nothing was done, and waiting helps."""
    with pytest.raises(RateLimitError):
        check(answer(8, "rate limit exceeded"), "Flush")


def test_success_is_silent() -> None:
    """Milvus's own zero, old and new."""
    check(answer(0), "Insert")


class Refusal(grpc.RpcError):
    """A call that fails with a status of gRPC's."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self.code = lambda: code
        self.details = lambda: details


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "auth check failure, please check username"),
        (grpc.StatusCode.PERMISSION_DENIED, "PrivilegeInsert: permission deny"),
    ],
)
def test_login_and_privileges_are_the_tasks(
    code: grpc.StatusCode, details: str
) -> None:
    """Every collection meets the same refusal, so none is set aside for it."""
    error = rpc_error(Refusal(code, details), "Insert")
    assert isinstance(error, AccessRefusedError)
    assert not isinstance(error, CollectionError)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1400, "not authenticated"),
        (1401, "privilege not permitted"),
        (UNEXPECTED, "auth check failure, please check username and password"),
    ],
)
@pytest.mark.parametrize("method", ["Insert", "CreateIndex"])
def test_login_and_privileges_in_an_answer_are_the_tasks(
    method: str, code: int, reason: str
) -> None:
    """Milvus says so with codes of its own, too."""
    with pytest.raises(AccessRefusedError):
        check(answer(code, reason), method)


DENY = "it's a deny api, fullMethod:/milvus.proto.milvus.MilvusService"


@pytest.mark.parametrize("method", ["Flush", "CreateDatabase", "OperatePrivilegeV2"])
@pytest.mark.parametrize(
    ("code", "details"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, "permission deny"),
        (grpc.StatusCode.UNIMPLEMENTED, "unknown method"),
        (grpc.StatusCode.UNKNOWN, DENY),
    ],
)
def test_a_kind_that_rows_do_not_need(
    method: str, code: grpc.StatusCode, details: str
) -> None:
    """It is refused alone: neither the task nor a collection ends for it."""
    error = rpc_error(Refusal(code, details), method)
    assert type(error) is KindRefusedError
    assert (method in str(error), details in str(error)) == (True, True)


@pytest.mark.parametrize(("code", "reason"), [(1401, "no"), (UNEXPECTED, DENY)])
def test_a_kind_that_rows_do_not_need_in_an_answer(code: int, reason: str) -> None:
    """So it is where Milvus, or what stands before it, answers with a status of its own."""
    with pytest.raises(KindRefusedError, match=reason):
        check(answer(code, reason), "DropRole")


@pytest.mark.parametrize(
    ("code", "details", "meaning"),
    [
        (grpc.StatusCode.UNKNOWN, DENY, KindRefusedError),
        (grpc.StatusCode.UNIMPLEMENTED, "unknown method", KindRefusedError),
        (grpc.StatusCode.PERMISSION_DENIED, "permission deny", AccessRefusedError),
    ],
)
def test_aliases_that_nobody_may_have(
    code: grpc.StatusCode, details: str, meaning: type[Exception]
) -> None:
    """A target may have none; a missing privilege is for the operator to give."""
    assert type(rpc_error(Refusal(code, details), "CreateAlias")) is meaning


def test_a_login_is_refused_to_every_kind() -> None:
    """The task's, whatever was asked."""
    error = rpc_error(Refusal(grpc.StatusCode.UNAUTHENTICATED, "no"), "Flush")
    assert isinstance(error, AccessRefusedError)


def test_what_nobody_may_ask_is_refused_at_once() -> None:
    """What a managed Milvus denies to all does not pass by itself."""
    error = rpc_error(Refusal(grpc.StatusCode.UNKNOWN, DENY), "CreatePartition")
    assert type(error) is OperationRefusedError


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (UNEXPECTED, "partition number (16) exceeds max configuration (16)"),
        (
            UNEXPECTED,
            "sum_collections(parition*shard) exceeding the max general capacity",
        ),
        (250, "no more"),
    ],
)
def test_a_limit_of_partitions_does_not_pass_by_itself(code: int, reason: str) -> None:
    """It is a clear refusal, though Milvus has no code for it."""
    with pytest.raises(OperationRefusedError):
        check(answer(code, reason), "CreatePartition")


def test_a_refused_request_is_not_the_tasks() -> None:
    """What the target does not know, or does not want, is one operation's matter."""
    unknown = Refusal(grpc.StatusCode.UNIMPLEMENTED, "unknown method")
    assert isinstance(rpc_error(unknown, "RenameCollection"), OperationRefusedError)


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_what_a_proxy_answers_over_http_passes(status: int) -> None:
    """It says nothing of the target: neither to an operation nor to a login."""
    code = {
        401: grpc.StatusCode.UNAUTHENTICATED,
        403: grpc.StatusCode.PERMISSION_DENIED,
        404: grpc.StatusCode.UNIMPLEMENTED,
        500: grpc.StatusCode.UNKNOWN,
    }[status]
    text = f"Received http2 header with status: {status}"
    error = rpc_error(Refusal(code, text), "CreateIndex")
    assert type(error) is TransientError
    assert "before the target, not by it" in str(error)


class Stub:
    """Methods that are unknown, but for those that are answered."""

    def __init__(self, *answered: str) -> None:
        self._answered = answered

    def __getattr__(self, method: str) -> Any:
        def call(*_: object, **__: object) -> SimpleNamespace:
            if method not in self._answered:
                raise Refusal(grpc.StatusCode.UNIMPLEMENTED, "no")
            return SimpleNamespace(code=0, error_code=0, version="2.3.5")

        future = SimpleNamespace(result=call, add_done_callback=lambda _: None)
        call.future = lambda *_a, **_k: future  # type: ignore[attr-defined]
        return call


def connection_to(stub: object) -> Connection:
    """Return a connection whose requests go to a double."""
    connection = object.__new__(Connection)
    connection._handler = SimpleNamespace(_stub=stub)
    connection._name = "the target"
    connection._cancelled = lambda: False
    connection._answered = set()
    connection.version = "2.3.5"
    return connection


def test_unknown_is_what_the_target_says_while_it_is_there() -> None:
    """A proxy without a backend knows no operation, and a Milvus those it has answered."""
    connection = connection_to(Stub("GetVersion", "Flush"))
    with pytest.raises(OperationRefusedError, match="does not know"):
        connection.call("RenameCollection", None, "default")
    connection.call("Flush", None, "default")
    connection._handler = SimpleNamespace(_stub=Stub("GetVersion"))
    with pytest.raises(TransientError, match="not by it"):
        connection.call("Flush", None, "default")
    connection._handler = SimpleNamespace(_stub=Stub())
    with pytest.raises(TransientError, match="not by it"):
        connection.call("RenameCollection", None, "default")


@pytest.mark.parametrize(
    ("code", "details"),
    [
        ("RESOURCE_EXHAUSTED", "grpc: received message larger than max (9 vs. 8)"),
        ("RESOURCE_EXHAUSTED", "Received message larger than max (9 vs. 8)"),
        ("RESOURCE_EXHAUSTED", "gRPC message exceeds maximum size 8: 9"),
        ("OUT_OF_RANGE", "Error, decoded message length too large: found 9 bytes"),
        ("UNKNOWN", "Received http2 header with status: 413"),
    ],
)
def test_a_message_that_is_too_large_for_the_way(code: str, details: str) -> None:
    """Whoever says so in gRPC's words, nothing was done: it can be sent in parts."""
    error = rpc_error(Refusal(grpc.StatusCode[code], details), "Insert")
    assert isinstance(error, TooLargeError)
    assert not error.may_be_done
    other = rpc_error(Refusal(grpc.StatusCode[code], details), "CreateCollection")
    assert isinstance(other, TransientError)


@pytest.mark.parametrize(
    "reason",
    [
        "nats: maximum payload exceeded",
        "Broker: Message size too large",
        "message size exceeds MaxMessageSize: MessageTooBig",
        "rpc error: code = ResourceExhausted desc = grpc: received message larger than max",
    ],
)
def test_a_message_that_is_too_large_for_the_target_s_queue(reason: str) -> None:
    """Of an insert for several shards some messages may have been written."""
    with pytest.raises(TooLargeError) as refused:
        check(answer(UNEXPECTED, reason), "Insert")
    assert refused.value.may_be_done


@pytest.mark.parametrize(
    "details",
    [
        "request is rejected by grpc RateLimiter middleware, please retry later",
        "rate limit exceeded[rate=0.1]",
        "Too Many Requests",
    ],
)
def test_a_rate_limit_is_no_matter_of_size(details: str) -> None:
    """The status is the one of messages that are too large."""
    refusal = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, details)
    assert isinstance(rpc_error(refusal, "Insert"), RateLimitError)


def test_http_413_as_grpc_shows_it() -> None:
    """A proxy that answers 413 is told apart from one that is broken."""
    with answering_413() as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/Insert", _serialized_whole, _serialized_whole)
        with pytest.raises(grpc.RpcError) as refused:
            call(b"rows", timeout=10)
    assert isinstance(rpc_error(refused.value, "Insert"), TooLargeError)


def _serialized_whole(message: bytes) -> bytes:
    return message


@contextmanager
def answering_413() -> Iterator[int]:
    """Yield the port of an HTTP/2 server that answers one request with status 413."""
    frame = struct.Struct(">BHBBI")
    headers, settings, end = 1, 4, 5

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as stream:
            connection.sendall(frame.pack(0, 0, settings, 0, 0))
            stream.read(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
            while head := stream.read(frame.size):
                high, low, kind, _flags, number = frame.unpack(head)
                stream.read(high << 16 | low)
                if kind == headers:
                    # HPACK: a literal for entry 8 of the static table, ":status".
                    connection.sendall(
                        frame.pack(0, 5, headers, end, number) + b"\x08\x03413"
                    )

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]


FOLDER = Path(__file__).parents[2] / "support" / "recorded"
RECORDED = json.loads((FOLDER / "answers.json").read_text())
"""Answers of real servers, as they sent them."""

MEANINGS: dict[str, type[Exception]] = {
    "no such collection": OperationRefusedError,
    "refused": OperationRefusedError,
    "rate limit": RateLimitError,
    "writing denied": UnclearAnswerError,
    "too large": TooLargeError,
}


@pytest.mark.parametrize(
    "recorded", RECORDED, ids=lambda r: f"{r['version']} {r['name']}"
)
def test_what_newer_servers_answer(recorded: dict[str, str]) -> None:
    """Codes of the older enum are not read as those of today, whose numbers they share."""
    status = common_pb2.Status.FromString(base64.b64decode(recorded["status"]))
    with pytest.raises(CdcError) as refused:
        check(status, recorded["method"])
    assert type(refused.value) is MEANINGS[recorded["meaning"]]
    if recorded["meaning"] == "no such collection":
        assert isinstance(refused.value, OperationRefusedError)
        assert refused.value.code == 100


@pytest.mark.parametrize(
    ("legacy", "meaning"),
    [
        (common_pb2.CollectionNotExists, OperationRefusedError),
        (common_pb2.UnexpectedError, OperationRefusedError),
        (common_pb2.IllegalArgument, OperationRefusedError),
        (common_pb2.PermissionDenied, AccessRefusedError),
        (common_pb2.RateLimit, RateLimitError),
        (common_pb2.ForceDeny, UnclearAnswerError),
        (common_pb2.NotReadyServe, UnclearAnswerError),
    ],
)
def test_the_older_enum_alone(legacy: int, meaning: type[Exception]) -> None:
    """What it says counts, not what the number means among the codes of today."""
    with pytest.raises(meaning) as refused:
        check(common_pb2.Status(error_code=legacy, reason="no"), "CreateIndex")
    assert type(refused.value) is meaning


def test_tls_files_without_tls_are_refused() -> None:
    """Nothing is connected to: the token would go out in clear."""
    with pytest.raises(OperatorError, match="in clear"):
        Connection("http://127.0.0.1:1", "root:x", {"ca_pem_path": "ca.pem"})


@pytest.mark.parametrize(
    ("uri", "token", "sent"),
    [
        ("http://u:p%40ss@127.0.0.1:1", "", "u:p@ss"),
        ("http://u:p@127.0.0.1:1", "root:x", "root:x"),
        ("http://127.0.0.1:1", "", ""),
    ],
)
def test_the_login_in_an_address(
    monkeypatch: pytest.MonkeyPatch, uri: str, token: str, sent: str
) -> None:
    """It is used where there is no token."""
    tokens: list[str] = []

    def handler(*, token: str, **_: object) -> None:
        tokens.append(token)
        raise ValueError

    monkeypatch.setattr(connection_module, "GrpcHandler", handler)
    with pytest.raises(OperatorError):
        Connection(uri, token)
    assert tokens == [sent]


def test_nothing_is_sent_for_a_run_that_was_left_behind() -> None:
    """The next run may have deleted what a late insert would bring again."""
    sent: list[str] = []
    stub = SimpleNamespace(future=lambda *_a, **_k: sent.append("call"))
    handler = SimpleNamespace(_stub=SimpleNamespace(Delete=stub), _final_channel=None)
    connection = object.__new__(Connection)
    connection._handler = handler
    connection._name = "the target"
    connection._cancelled = lambda: True
    for send in (
        lambda: connection.call("Delete", None, "default"),
        lambda: connection.begin_insert(b"", "default"),
        lambda: connection.wait(1),
    ):
        with pytest.raises(TransientError, match="was cancelled"):
            send()
    assert sent == []


@pytest.mark.parametrize("name", ["the target", "the source"])
def test_only_what_a_target_takes_is_timed(name: str) -> None:
    """Rows by its address, too; what the source takes to answer is no matter of it."""
    port = {"the target": 1, "the source": 2}[name]
    connection = Connection.__new__(Connection)
    connection.uri, connection._name = f"http://timed:{port}", name
    connection._owned = FOREVER
    answer = SimpleNamespace(add_done_callback=lambda answered: answered(None))

    def counted() -> list[float]:
        values = INSTRUMENTS.get_sample_value
        of_all = values("cdc_target_request_seconds_count", {"method": "Delete"})
        of_one = values("cdc_target_rows_seconds_count", {"target": f"timed:{port}"})
        return [of_all or 0, of_one or 0]

    before = counted()
    connection._time(answer, "Delete")
    more = 1 if name == "the target" else 0
    assert counted() == [each + more for each in before]
