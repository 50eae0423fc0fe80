"""A service that waits for the store has the owner answer. Real servers, real sockets."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection, HTTPException

import pytest
from structlog.testing import capture_logs

from cdc_actors.config.auth import Token
from cdc_actors.errors import UnavailableError, UnknownTaskError
from cdc_actors.store.ownership import Owner
from cdc_http import Server, create_app, events, passing_on
from cdc_http.tls import client_context, server_context
from cdc_http.tokens import new_token
from tests.support.cdc import wait_until
from tests.support.http_service import ALL, TARGET, Api, FakeService, entry, error_of
from tests.support.tls import certificates

ID = "a" * 32
EVENTS = f"/cdc/tasks/{ID}/events"
LINES = "application/x-ndjson"
OPS, OPS_HASH = new_token("ops")
EYE, EYE_HASH = new_token("eye")
TOKENS = (
    Token(name="ops", role="operator", hash=OPS_HASH),
    Token(name="eye", role="viewer", hash=EYE_HASH),
)
LIMIT = 4096
OTHER = "process 4711 on host there since then"
WAITS = f"the store belongs to {OTHER}"
NOBODY = "http://127.0.0.1:1"


class Node:
    """One service and its server."""

    def __init__(self, service: FakeService, server: Server) -> None:
        self.service = service
        self.server = server
        self.url = f"{server.scheme}://127.0.0.1:{server.address[1]}"

    def wait_for(self, url: str) -> None:
        """Take somebody at that URL for the owner."""
        self.service.owner = Owner("there", 4711, "then", url=url)
        self.service.failure = UnavailableError(WAITS)

    def connected(self, **more) -> closing[HTTPConnection]:
        """Return a connection, closed at the end of its with block."""
        return closing(HTTPConnection(*self.server.address, timeout=60, **more))

    def get(self, path, headers=None, method="GET", body=None):
        """Return status, headers and body of an answer."""
        with self.connected() as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()

    def ask(self, kind, data=None, **headers):
        """Return status and JSON of a request."""
        body = json.dumps({"request_type": kind, "request_data": data})
        status, _, answer = self.get("/cdc", headers, "POST", body)
        return status, json.loads(answer)

    def refusal(self, status=503):
        """Return the message of a refusal of ``list``."""
        found, answer = self.ask("list")
        assert (found, answer["code"]) == (status, status), answer
        return answer["message"]


@pytest.fixture
def start():
    """Return what starts a node; all are stopped at the end."""
    with ExitStack() as stack:

        def begin(service=None, tls=None, app=None, **bounds) -> Node:
            service = service or FakeService()
            app = app or create_app(service, max_body_bytes=LIMIT, **bounds)
            server = Server(app, "127.0.0.1", 0, max_body_bytes=LIMIT, tls=tls)
            server.start()
            stack.callback(server.stop)
            stack.callback(service.gate.set)
            return Node(service, server)

        yield begin


@pytest.fixture
def owner(start) -> Node:
    """Return a node that asks for tokens and has three events."""
    events = [entry(1, "created"), entry(2), entry(3)]
    return start(FakeService(events=events), tokens=TOKENS)


@pytest.fixture
def waiting(start, owner) -> Node:
    """Return one that waits for it."""
    node = start(tokens=TOKENS)
    node.wait_for(owner.url)
    return node


@contextmanager
def answering(sent: bytes):
    """Yield the URL of what answers one request with some bytes, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with listener.accept()[0] as client:
                client.recv(LIMIT)
                client.sendall(sent)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def bearer(token):
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


def test_a_request_is_the_owners(owner, waiting):
    """It gets body and token, and notes both the client and who passed it on."""
    data = {"milvus_connect_param": TARGET, "collection_infos": ALL, "task_id": ID}
    body = json.dumps({"request_type": "create", "request_data": data})
    with waiting.connected(source_address=("127.0.0.2", 0)) as connection:
        connection.request("POST", "/cdc", body, bearer(OPS))
        answer = json.load(connection.getresponse())
    assert answer == {"code": 200, "data": {"task_id": ID}}
    ((kind, task_id, spec, who),) = owner.service.asked
    assert (kind, task_id, spec.collection_infos) == ("create", ID, ("*",))
    assert (who.token_name, who.address) == ("ops", "127.0.0.2 (by 127.0.0.1)")
    assert waiting.service.asked == []


@pytest.mark.parametrize("accept", [LINES, "*/*"])
@pytest.mark.parametrize(
    "path",
    [
        f"{EVENTS}?after=1&limit=1",
        f"{EVENTS}?after=%31",
        f"{EVENTS}?after=1&after=2",
        f"{EVENTS}?f%6Flow=tr%C3%BCe+x&%",
        f"{EVENTS}?a[]={{|",
        "/cdc/tasks/%C3%BC%20%3F%FF/events",
    ],
)
def test_an_address_is_asked_for_as_it_came(owner, waiting, path, accept):
    """Path, query and headers are the same, and so is the answer."""
    headers = bearer(EYE) | {"Accept": accept}

    def seen(node):
        begin, _, query = path.partition("?")
        target = f"{begin}?{query}".encode("latin-1")
        lines = (f"{name}: {value}\r\n".encode() for name, value in headers.items())
        with socket.create_connection(node.server.address, timeout=60) as client:
            client.sendall(b"GET %s HTTP/1.0\r\n%s\r\n" % (target, b"".join(lines)))
            head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
        kept = [each for each in head.split(b"\r\n") if not each.startswith(b"Date")]
        return kept, body

    assert seen(waiting) == seen(owner)
    assert waiting.service.asked == []


def test_refusals_are_the_owners(owner, waiting):
    """Status, words and headers are those that it has for its own clients."""
    owner.service.failure = UnknownTaskError("not found: [x]")
    failures = [
        ("list", None, {}, 401),
        ("delete", {"task_id": ID}, bearer(EYE), 403),
        ("get", {"task_id": ID}, bearer(EYE), 404),
        ("get", {}, bearer(EYE), 400),
        ("list", None, bearer(EYE) | {"Content-Type": "text/xml"}, 415),
    ]
    for kind, data, headers, status in failures:
        answer = waiting.ask(kind, data, **headers)
        assert answer[0] == status
        assert answer == owner.ask(kind, data, **headers)
    assert waiting.get(EVENTS)[1]["Www-Authenticate"] == "Bearer"
    owner.service.failure = UnavailableError("the event log cannot answer")
    status, answer = waiting.ask("list", **bearer(OPS))
    assert (status, "the event log cannot answer" in answer["message"]) == (503, True)


def test_a_body_that_is_too_large_goes_no_further(owner, waiting):
    """It is refused in the owner's words."""
    much = {"name": "x" * LIMIT}
    for headers in ({}, bearer(OPS)):
        status, answer = waiting.ask("list", much, **headers)
        assert (status, str(LIMIT) in answer["message"]) == (413, True)
    assert (status, answer) == owner.ask("list", much, **bearer(OPS))


def test_when_to_come_again_is_told(start):
    """What stands before an owner may say so."""
    head = b"HTTP/1.1 429 Slowly\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n"
    waiting = start()
    with answering(head + b"{}") as url:
        waiting.wait_for(url)
        status, headers, body = waiting.get("/cdc", method="POST")
    assert (status, headers["Retry-After"], body) == (429, "7", b"{}")


@pytest.mark.parametrize(
    "path",
    ["/livez", "/readyz", "/metrics", "/openapi.json", "/", "/cdc/caller", "/nowhere"],
)
def test_what_is_of_the_service_itself_stays(waiting, path):
    """A probe asks this process, and not the owner."""
    waiting.wait_for(NOBODY)
    waiting.service.failure = None
    assert b"belongs to" not in waiting.get(path, bearer(EYE))[2]


def test_a_service_that_takes_over_answers_itself(owner, waiting):
    """From then on nothing is passed on; nor is it where the owner has no URL."""
    waiting.wait_for("")
    status, answer = waiting.ask("list", **bearer(EYE))
    assert (status, WAITS in answer["message"]) == (503, True)
    waiting.service.owner = waiting.service.failure = None
    assert waiting.ask("list", **bearer(EYE))[0] == 200
    assert owner.service.asked == []


def test_two_that_take_each_other_for_the_owner(start):
    """A request goes to and fro once, and is told what both know."""
    one, other = start(), start()
    one.wait_for(other.url)
    other.wait_for(one.url)
    assert OTHER in one.refusal()
    assert (one.service.asked, other.service.asked) == ([], [("list",)])
    one.wait_for(one.url)
    assert OTHER in one.refusal()


def test_an_owner_that_is_gone(start):
    """Who that was, where it was and what becomes of it is told."""
    waiting = start()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    waiting.wait_for(url)
    assert waiting.refusal() == (
        f"{OTHER} is to answer, and {url} cannot be reached: Connection refused; if it "
        "is gone, another service takes over within seconds"
    )
    waiting.wait_for("http://127.0.0.1:x")
    assert "cannot be reached: Port could not be cast" in waiting.refusal()


@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ("http", "did not answer, so that the request may have been done: timed out"),
        ("https", "cannot be reached: "),
    ],
)
def test_an_owner_that_stands_still(start, monkeypatch, scheme, words):
    """It is not waited for without an end, and asked once."""
    monkeypatch.setattr(passing_on, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(passing_on, "ANSWER_SECONDS", 0.2)
    waiting = start()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        waiting.wait_for(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}")
        message = waiting.refusal()
        assert words in message
        assert "timed out; if it is gone" in message
        listener.accept()[0].close()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
    ],
    ids=["nothing", "nonsense", "half"],
)
def test_an_answer_that_is_none(start, sent):
    """Whatever comes instead of an answer, it is a 503 with the reason."""
    waiting = start()
    with answering(sent) as url:
        waiting.wait_for(url)
        assert "may have been done: " in waiting.refusal()


def test_those_that_wait_leave_room(start, monkeypatch):
    """While an owner stands still, some requests wait for it and others are answered."""
    monkeypatch.setattr(passing_on, "MAX_PASSED_ON", 1)
    owner, waiting = start(), start()
    waiting.wait_for(owner.url)
    owner.service.gate.clear()
    with waiting.connected() as connection:
        connection.request("POST", "/cdc", b'{"request_type":"list"}')
        assert owner.service.entered.wait(60)
        assert "requests wait for what" in waiting.refusal()
        owner.service.gate.set()
        assert connection.getresponse().status == 200
    assert waiting.ask("list")[0] == 200


def test_authorities_are_those_of_the_setting(start, tmp_path):
    """An owner's certificate is trusted by tls.caPath, or the error names that."""
    files = certificates(tmp_path)
    tls = server_context(str(files.certificate), str(files.key))
    owner = start(tls=tls)
    trusting = start(trusted=client_context(str(files.authority)))
    trusting.wait_for(owner.url)
    assert trusting.ask("list")[0] == 200
    for trusted in (client_context(""), None):
        waiting = start(trusted=trusted)
        waiting.wait_for(owner.url)
        refusal = waiting.refusal()
        assert f"{owner.url} cannot be reached: its certificate is not tr" in refusal
        assert "tls.caPath names the file" in refusal
    other_scheme = start()
    other_scheme.wait_for(owner.url.replace("https", "http"))
    assert OTHER in other_scheme.refusal()
    assert owner.service.asked == [("list",)]


def test_a_stream_is_passed_on_as_it_comes(owner, waiting):
    """Each event comes when it happens, up to the last."""
    with waiting.connected() as connection:
        connection.request("GET", f"{EVENTS}?follow=true&after=2", None, bearer(EYE))
        stream = connection.getresponse()
        assert stream.headers["Content-Type"] == LINES
        assert json.loads(stream.readline())["number"] == 3
        for event in (entry(4), entry(5, "deleted")):
            owner.service.events.append(event)
            line = b"\n"
            while line == b"\n":
                line = stream.readline()
            assert json.loads(line)["number"] == event.number
        assert stream.read() == b""


@pytest.mark.parametrize("which", ["owner", "waiting"])
def test_a_stream_ends_with_either_server(owner, waiting, which):
    """In good order: the client asks again, and another service."""
    with waiting.connected() as connection:
        connection.request("GET", f"{EVENTS}?follow=true", None, bearer(EYE))
        stream = connection.getresponse()
        assert json.loads(stream.readline())["number"] == 1
        {"owner": owner, "waiting": waiting}[which].server.stop()
        rest = [json.loads(each) for each in stream.read().split(b"\n") if each]
        assert [each["number"] for each in rest] == [2, 3]


def test_a_stream_ends_with_its_client(start, monkeypatch):
    """The owner lets somebody else follow then."""
    monkeypatch.setattr(events, "MAX_EVENT_STREAMS", 1)
    owner, waiting = start(FakeService(events=[entry(1)])), start()
    waiting.wait_for(owner.url)

    def follow(connection):
        connection.request("GET", f"{EVENTS}?follow=true")
        return connection.getresponse()

    with waiting.connected() as connection:
        assert json.loads(follow(connection).readline())["number"] == 1
        with waiting.connected() as second:
            assert follow(second).status == 503

    def has_room():
        with waiting.connected() as connection:
            return follow(connection).status == 200

    wait_until(has_room, "somebody else may follow")


@pytest.mark.parametrize("is_silent", [False, True])
def test_a_stream_that_is_cut_off_is_no_whole_one(
    start, monkeypatch, caplog, is_silent
):
    """Its client is cut off as well, whether the owner has died or stands still."""
    monkeypatch.setattr(passing_on, "SILENCE_SECONDS", 0.2 if is_silent else 60)
    waiting = start()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with ExitStack() as stack:
        client_is_done = threading.Event()
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stack.callback(client_is_done.set)

        def answer() -> None:
            with listener.accept()[0] as client:
                client.recv(LIMIT)
                client.sendall(head + b'9\r\n{}\n{"half\r\n')
                if is_silent:
                    client_is_done.wait(60)

        thread = threading.Thread(target=answer)
        thread.start()
        waiting.wait_for(f"http://127.0.0.1:{listener.getsockname()[1]}")
        connection = stack.enter_context(waiting.connected())
        connection.request("GET", f"{EVENTS}?follow=true")
        stream = connection.getresponse()
        assert stream.readline() == b"{}\n"
        with pytest.raises(HTTPException):
            stream.read()
        client_is_done.set()
        thread.join()
    assert caplog.records == []


def test_the_page_of_a_service_that_waits(start):
    """Its requests come from where they went to first, and no other page's are answered."""
    owner, waiting = start(), start()
    waiting.wait_for(owner.url)
    page = {"Origin": waiting.url}
    assert waiting.ask("overview", **page)[0] == 200
    assert waiting.ask("overview", Origin="http://evil.test")[0] == 403
    evil = {"Origin": "http://evil.test", "Host": "evil.test"}
    assert waiting.ask("overview", **evil)[0] == 403
    assert owner.service.asked == [("overview",)]


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ("10.0.0.9", "10.0.0.9 (by 127.0.0.1)"),
        ("2001:db8::7", "2001:db8::7 (by 127.0.0.1)"),
        ("fe80::1%x (by 10.0.0.1)", "fe80::1 (by 127.0.0.1)"),
        ("10.0.0.9, 10.0.0.8", "127.0.0.1"),
        ("root", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
def test_who_asked_says_where_the_request_came_from(told, address):
    """The address of the connection is always there, and nothing else but addresses."""
    api = Api(tokens=TOKENS)
    headers = bearer(OPS) | {passing_on.CLIENT: told}
    api.ask("pause", {"task_id": ID}, headers=headers)
    assert api.service.asked[-1][2].address == address
    with capture_logs() as logs:
        error_of(api.ask("list", headers={passing_on.CLIENT: told}), 401)
    assert [log["address"] for log in logs] == [address]
