"""Tasks that wait for a server hear of it when it answers again, and nobody is pestered."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cdc_actors.config import Etcd, Kafka, Natsmq, Pulsar, Rocksmq, SourceConfig
from cdc_actors.peer import Peer
from cdc_actors.service import peers
from cdc_actors.service.peers import PeerWatch, peers_of
from tests.support.proxy import TcpProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = Peer("target", 19530, peers._MILVUS)
ETCD = Peer("127.0.0.1", 2379, peers._ETCD)
PATIENCE = 60


class Task:
    """Stands for the reference to a task's actor."""

    def __init__(self) -> None:
        self.told: SimpleQueue[object] = SimpleQueue()

    def tell(self, message: object) -> None:
        """Take a message."""
        self.told.put(message)


class Server:
    """A peer that a test lets answer or not; it counts how often it is looked at."""

    def __init__(self, *, up: bool) -> None:
        self.up = up
        self.looks = 0
        self._looked = threading.Condition()

    def answers(self) -> bool:
        """Answer as the test wants it."""
        with self._looked:
            self.looks += 1
            self._looked.notify_all()
            return self.up

    def wait(self, looks: int) -> None:
        """Wait until it was looked at so often."""
        with self._looked:
            assert self._looked.wait_for(lambda: self.looks >= looks, PATIENCE)


@pytest.fixture(autouse=True)
def _in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "INTERVAL", 0.01)
    monkeypatch.setattr(peers, "SPREAD", 0.0)


def wait_ended() -> None:
    """Wait until no peer is looked at any more."""
    deadline = time.monotonic() + PATIENCE
    while any(each.name == "peer-watch" for each in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_all_who_wait_are_told_once() -> None:
    """And however many they are, one thread looks for all of them."""
    watch, server, tasks = PeerWatch(), Server(up=False), [Task() for _ in range(5)]
    for number, task in enumerate(tasks):
        watch.watch(task, number, {server})  # type: ignore[arg-type]
    server.wait(3)
    watching = [each for each in threading.enumerate() if each.name == "peer-watch"]
    assert len(watching) == 1
    server.up = True
    found = [task.told.get(timeout=PATIENCE) for task in tasks]
    assert found == list(range(5))
    wait_ended()
    assert all(task.told.empty() for task in tasks)


def test_one_that_answers_is_not_what_is_missing() -> None:
    """Whoever failed for another reason goes on waiting, and is not looked after."""
    watch, server, task = PeerWatch(), Server(up=True), Task()
    watch.watch(task, "it is back", {server})  # type: ignore[arg-type]
    wait_ended()
    assert server.looks == 1
    assert task.told.empty()


def test_who_waits_no_longer_is_not_told() -> None:
    """And a server that nobody waits for is left alone."""
    watch, server, task = PeerWatch(), Server(up=False), Task()
    watch.watch(task, "it is back", {server})  # type: ignore[arg-type]
    server.wait(2)
    watch.forget(task)
    wait_ended()
    server.up = True
    assert task.told.empty()


def test_looks_are_spaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those for tasks that come one after the other."""
    slept: list[float] = []
    monkeypatch.setattr(peers, "INTERVAL", 3600.0)
    monkeypatch.setattr(peers.time, "sleep", slept.append)
    watch, server, task = PeerWatch(), Server(up=True), Task()
    for _ in range(3):
        watch._waiting[server] = {task: "it is back"}  # type: ignore[index]
        watch._follow(server)  # type: ignore[arg-type]
    assert slept[0] == 0.0
    assert min(slept[1:]) > 3000.0


def test_a_port_that_is_opened() -> None:
    """A server that is asked by TCP alone answers once it listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = Peer("127.0.0.1", server.getsockname()[1])
        assert peer.answers()
    assert not peer.answers()


@contextmanager
def grpc_server(code: grpc.StatusCode | None) -> Iterator[int]:
    """Serve gRPC on the port that is yielded; every call ends with a status."""

    def end(_request: bytes, context: grpc.ServicerContext) -> bytes:
        if code is not None:
            context.abort(code, "no")
        return b""

    class Handler(grpc.GenericRpcHandler):
        def service(self, _details: Any) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(end)

    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads, handlers=[Handler()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield port
        server.stop(None).wait()


@pytest.mark.parametrize(
    ("code", "answers"),
    [
        (None, True),
        (grpc.StatusCode.UNAUTHENTICATED, True),
        (grpc.StatusCode.UNAVAILABLE, False),
        (grpc.StatusCode.UNIMPLEMENTED, False),
    ],
)
def test_a_proxy_is_not_the_server(
    code: grpc.StatusCode | None, *, answers: bool
) -> None:
    """One that stands before a Milvus which is away listens, and answers nothing."""
    with grpc_server(code) as port:
        assert Peer("127.0.0.1", port, TARGET.method).answers() is answers


@pytest.mark.parametrize("status", [401, 403, 404, 503])
def test_a_proxy_that_answers_without_grpc(status: int) -> None:
    """Its status is not the server's, whatever gRPC makes of it."""
    with TcpProxy(1) as proxy:
        proxy.answer(status)
        assert not Peer("127.0.0.1", proxy.port, TARGET.method).answers()


def test_nobody_listens_for_grpc() -> None:
    """A closed port does not answer, either."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert not Peer("127.0.0.1", port, TARGET.method).answers()


@pytest.mark.parametrize(
    ("queue", "expected"),
    [
        ({"natsmq": Natsmq(address="nats://u:p@n:1")}, {Peer("n", 1)}),
        ({"natsmq": Natsmq(address="nats://n")}, {Peer("n", 4222)}),
        ({"kafka": Kafka(address="k, [::1]:9")}, {Peer("k", 9092), Peer("::1", 9)}),
        ({"pulsar": Pulsar(address="pulsar+ssl://p,q:1")}, {Peer("p", 6651)}),
        ({"rocksmq": Rocksmq(path="/var/rdb")}, set()),
    ],
)
def test_servers_of_a_task(queue: dict[str, Any], expected: set[Peer]) -> None:
    """Target, etcd and message queue, each with its own port."""
    source = SourceConfig(**queue)
    assert peers_of(source, "http://target") == {TARGET, ETCD, *expected}


def test_a_source_that_is_read_by_its_api_alone() -> None:
    """It has no etcd to wait for, but the API."""
    source = SourceConfig(uri="http://source:1", etcd=None)
    assert peers_of(source, "http://target") == {
        TARGET,
        Peer("source", 1, peers._MILVUS),
    }


def test_servers_behind_tls() -> None:
    """They are connected to, and asked nothing: keys and certificates are the task's."""
    etcd = Etcd(address=("https://e1:1", "e2:2"), enable_tls=True)
    source = SourceConfig(etcd=etcd, rocksmq=Rocksmq(path="/var/rdb"))
    found = peers_of(source, "https://[::1]")
    assert found == {Peer("::1", 443), Peer("e1", 1), Peer("e2", 2)}
