"""The real server on a real socket: bounds, bad clients, and the graceful stop."""

from __future__ import annotations

import json
import select
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection

import pytest

from cdc_http import Server, create_app
from tests.support.cdc import wait_until
from tests.support.http_service import ALL, TARGET, FakeService

LIST = b'{"request_type":"list"}'
EMPTY = {"code": 200, "data": {"tasks": []}}
LIMIT = 4096


@contextmanager
def serving(service=None, **bounds):
    """Serve on a free port, and let go of whatever waits at the end."""
    service = service or FakeService()
    app = create_app(service, max_body_bytes=LIMIT)
    server = Server(app, "127.0.0.1", 0, max_body_bytes=LIMIT, **bounds)
    server.start()
    try:
        yield server, service
    finally:
        service.gate.set()
        server.stop()


def connected(server):
    """Return an open HTTP connection, closed at the end of its with block."""
    connection = HTTPConnection(*server.address, timeout=60)
    connection.connect()
    return closing(connection)


def ask(server, body=LIST, method="POST", path="/cdc", headers=None):
    """Return the status and the JSON of one request on a connection of its own."""
    with connected(server) as connection:
        return exchange(connection, body, method, path, headers)


def exchange(connection, body=LIST, method="POST", path="/cdc", headers=None):
    """Return the status and the JSON of one request."""
    connection.request(method, path, body=body, headers=headers or {})
    return answer_on(connection.getresponse())


def answer_on(response):
    """Return status and JSON; the answer must be JSON, its code the status."""
    assert response.headers["content-type"] == "application/json"
    answer = json.loads(response.read())
    assert answer["code"] == response.status
    return response.status, answer


def raw(server, data):
    """Return all that the server says to bytes on a socket, until it closes."""
    with socket.create_connection(server.address, timeout=60) as client:
        client.sendall(data)
        return read_all(client)


def read_all(client):
    """Return what arrives until the other side closes."""
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


def is_answered(server):
    """Say whether a small answer is taken before the server lets its client go."""
    small = b"GET /small HTTP/1.1\r\nConnection: close\r\n\r\n"
    try:
        return raw(server, small).endswith(b"\r\n\r\n\0")
    except ConnectionResetError:
        return False


def is_closed(client):
    """Say whether the other side closed, be it with bytes of ours still unread."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def error_in(reply, status):
    """Return the message of an error as raw bytes of HTTP."""
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.")
    assert int(head.split()[1]) == status, reply
    assert b"Content-Type: application/json" in head
    answer = json.loads(body)
    assert answer["code"] == status
    return answer["message"]


def refused(server):
    """Say whether a new connection is refused, or was in the queue of a closed one."""
    try:
        socket.create_connection(server.address, timeout=60).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    return False


def test_it_serves_where_it_says():
    """Port 0 becomes a real one, and one connection carries several requests."""
    with serving() as (server, _), connected(server) as connection:
        host, port = server.address
        assert host == "127.0.0.1"
        assert port > 0
        assert exchange(connection) == (200, EMPTY)
        assert exchange(connection) == (200, EMPTY)


@pytest.mark.parametrize("host", ["localhost", ""])
def test_a_host_of_several_addresses_is_one_listener(host):
    """A name makes one listener; no name is every address, as `:8444` is in Go."""
    server = Server(create_app(FakeService()), host, 0)
    server.start()
    try:
        assert ask(server) == (200, EMPTY)
    finally:
        server.stop()


def test_a_port_that_is_taken_is_an_error_at_start():
    """The caller hears of it at once and not from a thread."""
    with serving() as (server, service):
        second = Server(create_app(service), *server.address)
        with pytest.raises(OSError, match="in use"):
            second.start()
        second.stop()


def test_silent_connections_do_not_keep_others_out():
    """The oldest make room; a request under way, and one that comes, are answered."""
    many = 300
    with serving(client_seconds=3600) as (server, service), ExitStack() as stack:
        service.gate.clear()
        busy = stack.enter_context(connected(server))
        busy.request("POST", "/cdc", body=LIST)
        assert service.entered.wait(60)
        silent = [
            stack.enter_context(socket.create_connection(server.address, timeout=60))
            for _ in range(many)
        ]
        asked = b"GET /openapi.json HTTP/1.1\r\nConnection: close\r\n\r\n"
        assert raw(server, asked).startswith(b"HTTP/1.1 200")
        service.gate.set()
        alive = b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n"
        assert raw(server, alive).startswith(b"HTTP/1.1 200")
        assert answer_on(busy.getresponse()) == (200, EMPTY)
        silent[-1].sendall(alive)
        assert read_all(silent[-1]).startswith(b"HTTP/1.1 200")
        assert is_closed(silent[0])


def test_it_does_not_say_what_it_is():
    """No answer names the software, errors included."""
    with serving() as (server, _):
        ok = raw(server, b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n")
        bad = raw(server, b"nonsense\r\n\r\n")
    assert ok.startswith(b"HTTP/1.1 200")
    assert b"waitress" not in (ok + bad).lower()


def test_a_client_cannot_say_who_it_is():
    """Headers of proxies are not believed: the address is the socket's."""
    headers = {"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6"}
    body = {
        "request_type": "create",
        "request_data": {"milvus_connect_param": TARGET, "collection_infos": ALL},
    }
    with serving() as (server, service):
        status, _ = ask(server, json.dumps(body), headers=headers)
    assert status == 200
    assert service.asked[0][3].address == "127.0.0.1"


def test_an_unknown_method_is_405():
    """A method that nobody knows is treated as any other that is not POST."""
    with serving() as (server, _):
        status, answer = ask(server, method="BREW")
    assert (status, answer["message"]) == (405, "only support the POST method")


def test_fifty_clients_pause_one_task_and_one_of_them_does_it():
    """Each of 50 clients at once gets its answer, and only one of them is the first."""
    with serving() as (server, service):
        ask(server, _create("0" * 32))
        pause = _request("pause", task_id="0" * 32)
        start = threading.Barrier(50)

        def client(_):
            with connected(server) as connection:
                start.wait(60)
                return exchange(connection, pause)[0]

        with ThreadPoolExecutor(50) as pool:
            statuses = sorted(pool.map(client, range(50)))
    assert statuses == [200] + [409] * 49
    assert service.tasks["0" * 32].state == "Paused"


def test_no_more_requests_at_once_than_threads():
    """Requests beyond the threads wait their turn and are answered."""
    busy, peak, lock = 0, 0, threading.Lock()
    both_busy = threading.Barrier(2)

    def app(_environ, start_response):
        nonlocal busy, peak
        with lock:
            busy += 1
            peak = max(peak, busy)
        both_busy.wait(60)
        with lock:
            busy -= 1
        body = b'{"code": 200}'
        start_response(
            "200 OK",
            [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
            ],
        )
        return [body]

    server = Server(app, "127.0.0.1", 0, threads=2)
    server.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: ask(server), range(8)))
    finally:
        server.stop()
    assert answers == [(200, {"code": 200})] * 8
    assert peak == 2


def test_a_connection_above_the_limit_waits_for_one_that_is_not_busy():
    """Too many connections are not refused: the next is served once one is silent."""
    with (
        serving(connections=2) as (server, service),
        connected(server) as first,
        connected(server) as second,
    ):
        service.gate.clear()
        for each in (first, second):
            service.entered.clear()
            each.request("POST", "/cdc", body=LIST)
            assert service.entered.wait(60)
        with connected(server) as third:
            third.request("POST", "/cdc", body=LIST)
            assert not select.select([third.sock], [], [], 0)[0]
            service.gate.set()
            for each in (first, second, third):
                assert answer_on(each.getresponse()) == (200, EMPTY)


def test_a_connection_above_the_limit_takes_the_place_of_a_silent_one():
    """It is the one that has been silent longest."""
    with (
        serving(connections=2) as (server, _),
        connected(server) as first,
        connected(server) as second,
    ):
        assert exchange(first) == exchange(second) == (200, EMPTY)
        # A client may have its answer before the server is done with it.
        wait_until(lambda: len(server._idle()) == 2, "both are silent")
        # Nor need it be done with the first one first.
        silent = {each.addr[1]: each for each in server._idle()}
        silent[first.sock.getsockname()[1]].last_activity -= 60
        assert ask(server) == exchange(second) == (200, EMPTY)
        assert is_closed(first.sock)


@pytest.mark.parametrize("length", [LIMIT + 1, 3 * LIMIT])
def test_a_body_too_large_is_413(length):
    """The client gets its answer whole, and the next request is served."""
    with serving() as (server, service):
        status, answer = ask(server, LIST.ljust(length))
        assert ask(server) == (200, EMPTY)
    assert (status, service.asked) == (413, [("list",)])
    assert f"larger than {LIMIT} bytes" in answer["message"]


def test_a_body_much_too_large_is_413_before_it_is_sent():
    """A length beyond all bounds is refused on the header alone."""
    head = b"POST /cdc HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"
    with serving() as (server, _):
        assert "Too Large" in error_in(raw(server, head), 413)


def test_a_chunked_body_is_bounded_too():
    """Chunks add up to a request, or to a 413."""

    def chunked(count):
        chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
        return (
            b"POST /cdc HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
            b"Connection: close\r\n\r\n"
            + b"%x\r\n%s\r\n" % (len(LIST), LIST)
            + chunk * count
            + b"0\r\n\r\n"
        )

    with serving() as (server, _):
        assert raw(server, chunked(1)).endswith(
            json.dumps(EMPTY, separators=(",", ":")).encode()
        )
        assert "larger than" in error_in(raw(server, chunked(5)), 413)


def test_headers_too_large_are_431():
    """A header without end is cut off with an answer."""
    head = b"GET /livez HTTP/1.1\r\nX: ".ljust(16_384, b"x")
    with serving() as (server, _):
        assert "header" in error_in(raw(server, head), 431).lower()


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\x00" * 100 + b"\r\n\r\n",
        b"POST /cdc HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /cdc HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /cdc HTTP/1.1\r\nBad Header\r\n\r\n",
        b"POST /cdc HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_malformed_bytes_are_400(data):
    """Bytes that are no HTTP get the shape of every error, and harm nobody else."""
    with serving() as (server, _):
        error_in(raw(server, data), 400)
        assert ask(server) == (200, EMPTY)


def test_a_transfer_encoding_that_is_unknown_is_501():
    """Even this answer of the server has the shape of every error."""
    head = b"POST /cdc HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n"
    with serving() as (server, _):
        error_in(raw(server, head), 501)


def test_an_app_that_breaks_is_a_500_without_traceback():
    """What the app itself does not catch is JSON too."""

    def app(_environ, _start_response):
        raise ZeroDivisionError("secret")

    server = Server(app, "127.0.0.1", 0)
    server.start()
    try:
        status, answer = ask(server)
    finally:
        server.stop()
    assert status == 500
    assert "secret" not in answer["message"]
    assert "Traceback" not in answer["message"]


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"POST /cdc HT",
        b"POST /cdc HTTP/1.1\r\nContent-Length: 23\r\n\r\n{",
    ],
)
def test_half_a_request_is_closed_after_a_while(half):
    """A client that says no more is let go, and others are served meanwhile."""
    with (
        serving(client_seconds=1) as (server, service),
        socket.create_connection(server.address, timeout=60) as client,
    ):
        client.sendall(half)
        assert ask(server) == (200, EMPTY)
        assert read_all(client) == b""
    assert service.asked == [("list",)]


def test_a_client_that_trickles_is_closed_after_a_while():
    """A byte now and then does not keep a request open for ever."""
    over = threading.Event()
    with (
        serving(client_seconds=1) as (server, _),
        socket.create_connection(server.address, timeout=0.1) as client,
    ):
        client.sendall(b"POST /cdc HTTP/1.1\r\nX: ")
        while not over.is_set():
            try:
                client.sendall(b"x")
                if client.recv(1) == b"":
                    over.set()
            except TimeoutError:
                continue
            except OSError:
                over.set()
    assert over.is_set()


@pytest.mark.parametrize("size", [15 << 20, 64 << 20])
def test_a_client_that_does_not_read_is_let_go(size):
    """An answer that nobody takes keeps neither its connection nor a thread for ever."""

    def app(environ, start_response):
        body = bytes(size if environ["PATH_INFO"] == "/large" else 1)
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    server = Server(app, "127.0.0.1", 0, client_seconds=1, threads=1)
    server.start()
    try:
        with socket.create_connection(server.address, timeout=60) as client:
            client.sendall(b"GET /large HTTP/1.1\r\n\r\n")
            assert select.select([client], [], [], 60)[0]
            wait_until(lambda: is_answered(server), "others are answered")
            wait_until(lambda: not server._server.active_channels, "it is let go", 60)
            assert len(read_all(client)) < size
    finally:
        server.stop()


def test_a_stop_finishes_the_request_at_hand_and_refuses_new_ones():
    """A request in flight gets its answer; while it runs nobody new comes in."""
    with serving() as (server, service), connected(server) as connection:
        service.gate.clear()
        connection.request("POST", "/cdc", body=LIST)
        assert service.entered.wait(60)
        with ThreadPoolExecutor(1) as pool:
            stopped = pool.submit(server.stop, 60)
            while not refused(server):
                assert not stopped.done()
            service.gate.set()
            assert answer_on(connection.getresponse()) == (200, EMPTY)
            stopped.result(60)
        assert refused(server)


def test_a_stop_does_not_wait_for_clients_that_ask_nothing():
    """Idle connections and half requests are closed unanswered and not begun."""
    half = b"POST /cdc HTTP/1.1\r\nContent-Length: 23\r\n\r\n{"
    with serving() as (server, service), connected(server) as idle:
        exchange(idle)
        with socket.create_connection(server.address, timeout=60) as client:
            client.sendall(half)
            server.stop(600)
            assert is_closed(client)
        assert idle.sock.recv(1) == b""
    assert service.asked == [("list",)]


def test_a_stop_gives_up_at_its_deadline():
    """A request that never ends does not keep the service from ending."""
    with serving() as (server, service), connected(server) as connection:
        service.gate.clear()
        connection.request("POST", "/cdc", body=LIST)
        assert service.entered.wait(60)
        server.stop(0.1)
        assert connection.sock.recv(1) == b""
        assert refused(server)


def test_a_stop_may_come_again_or_without_a_start():
    """Whoever ends the service need not know how far it came."""
    server = Server(create_app(FakeService()), "127.0.0.1", 0)
    server.stop()
    with serving() as (running, _):
        running.stop()
        running.stop()
        assert refused(running)


def _request(kind, **data):
    return json.dumps({"request_type": kind, "request_data": data})


def _create(task_id):
    return _request(
        "create", task_id=task_id, milvus_connect_param=TARGET, collection_infos=ALL
    )
