"""The server on encrypted connections: whole answers, bad clients, clean ends."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPSConnection

import pytest
from click.testing import CliRunner

from cdc_actors.cli.main import main
from cdc_actors.errors import OperatorError
from cdc_http import Server, create_app
from cdc_http.tls import client_context, server_context
from tests.support.http_service import FakeService, entry
from tests.support.tls import certificates

LIST = b'{"request_type":"list"}'
EMPTY = {"code": 200, "data": {"tasks": []}}
POST = (
    b"POST /cdc HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(LIST), LIST)
)
BIG = 32 << 20


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Make an authority and a certificate."""
    return certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def trusting(files):
    """Return what a client needs to trust the server."""
    return ssl.create_default_context(cafile=files.authority)


@pytest.fixture(scope="module")
def serving(files):
    """Return what serves an app, encrypted, for the time of a with block."""
    context = server_context(str(files.certificate), str(files.key))

    @contextmanager
    def serve(app, **bounds):
        server = Server(app, "127.0.0.1", 0, tls=context, **bounds)
        server.start()
        try:
            yield server
        finally:
            server.stop()

    return serve


@pytest.fixture
def server(serving):
    """Serve tasks in memory."""
    with serving(create_app(FakeService()), client_seconds=1) as server:
        yield server


@contextmanager
def small_buffers(server):
    """Have the kernel hold little of what a client has not read: it is noticed at once."""
    server._server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
    yield


def connection(server, context):
    """Return an encrypted connection."""
    return HTTPSConnection(*server.address, timeout=60, context=context)


def exchange(client):
    """Return the answer to one request."""
    client.request("POST", "/cdc", body=LIST)
    return json.loads(client.getresponse().read())


def ask(server, context):
    """Return the answer to one request on a connection of its own."""
    client = connection(server, context)
    try:
        return exchange(client)
    finally:
        client.close()


@contextmanager
def encrypted(server, context):
    """Yield an encrypted socket on which a missing goodbye is an error."""
    with (
        socket.create_connection(server.address, timeout=60) as plain,
        context.wrap_socket(
            plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False
        ) as client,
    ):
        yield client


def read_all(client):
    """Return what arrives until the other side closes."""
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


def is_closed(client):
    """Wait until the other side closes, whatever it says before."""
    try:
        read_all(client)
    except OSError:
        return True
    return True


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_requests_on_one_connection(server, files, version):
    """One encrypted connection carries several requests, in both versions of TLS."""
    context = ssl.create_default_context(cafile=files.authority)
    context.minimum_version = context.maximum_version = version
    client = connection(server, context)
    assert [exchange(client) for _ in range(3)] == [EMPTY] * 3
    assert client.sock.version() == version.name.replace("_", ".")
    client.close()


def test_old_versions_are_refused(server, trusting, files):
    """TLS 1.1 is no more, and who asks for it harms nobody."""
    command = ["openssl", "s_client", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]
    address = "{}:{}".format(*server.address)
    done = subprocess.run(
        [*command, "-connect", address], capture_output=True, check=False, input=b""
    )
    assert b"protocol version" in done.stderr + done.stdout
    assert ask(server, trusting) == EMPTY


def test_many_clients_at_once(server, trusting):
    """Handshakes and answers of many clients do not mix."""
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: ask(server, trusting), range(128)))
    assert answers == [EMPTY] * 128


def test_large_bodies_both_ways(serving, trusting):
    """Bodies far larger than any buffer come whole, also to a client that is slow."""
    body = os.urandom(1 << 20) * (BIG >> 20)

    def echo(environ, start_response):
        given = environ["wsgi.input"].read()
        assert environ["wsgi.url_scheme"] == "https"
        start_response("200 OK", [("Content-Length", str(len(given)))])
        return [given]

    with (
        serving(echo, max_body_bytes=BIG) as server,
        encrypted(server, trusting) as client,
    ):
        head = b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        client.sendall(head % len(body) + body)
        answer = read_all(client)
    assert answer.partition(b"\r\n\r\n")[2] == body


def test_a_client_that_reads_slowly_gets_all_of_it(serving, trusting):
    """Whoever takes a little now and then is served, however long the whole takes."""
    body = bytes(8 << 20)

    def app(_environ, start_response):
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    with (
        serving(app, client_seconds=3) as server,
        small_buffers(server),
        socket.create_connection(server.address, timeout=60) as plain,
    ):
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client = trusting.wrap_socket(plain, server_hostname="127.0.0.1")
        client.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        answer, never = bytearray(), threading.Event()
        while part := client.recv(1 << 14):
            answer += part
            never.wait(0.01)
        client.close()
    assert answer.endswith(b"\r\n\r\n" + body)


def test_an_answer_ends_with_a_goodbye(server, trusting):
    """A client can tell the end of an answer from one that was cut off."""
    with encrypted(server, trusting) as client:
        client.sendall(POST)
        assert json.loads(read_all(client).partition(b"\r\n\r\n")[2]) == EMPTY


def test_events_are_followed(serving, trusting):
    """A stream is sent event by event."""
    service = FakeService(events=[entry(1, "created")])
    with serving(create_app(service)) as server:
        client = connection(server, trusting)
        client.request("GET", f"/cdc/tasks/{'0' * 32}/events?follow=true")
        stream = client.getresponse()
        assert json.loads(stream.readline())["event"] == "created"
        service.events.append(entry(2, "deleted"))
        rest = [json.loads(line) for line in stream if line.strip()]
        client.close()
    assert [each["event"] for each in rest] == ["deleted"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        POST,
        b"\x00" * 100,
        b"\xff" * 20000,
    ],
    ids=["nothing", "half a hello", "plain HTTP", "zeros", "much"],
)
def test_who_does_not_shake_hands_is_let_go(server, trusting, data):
    """Silence, half a handshake and anything else end, and others are served meanwhile."""
    with socket.create_connection(server.address, timeout=60) as client:
        client.sendall(data)
        assert ask(server, trusting) == EMPTY
        assert is_closed(client)
    assert ask(server, trusting) == EMPTY


def test_a_handshake_that_trickles_is_let_go(server, trusting):
    """A byte now and then does not keep a connection open without a handshake."""
    hello = b"\x16\x03\x01\x40\x00" + b"\x01" * 16384
    sent, over = iter(hello), threading.Event()
    with socket.create_connection(server.address, timeout=0.1) as client:
        while not over.is_set():
            try:
                client.sendall(bytes([next(sent)]))
                if client.recv(1) == b"":
                    over.set()
            except TimeoutError:
                continue
            except OSError:
                over.set()
    assert ask(server, trusting) == EMPTY


def test_half_a_request_is_let_go(server, trusting):
    """After the handshake the bounds are those of every connection."""
    with encrypted(server, trusting) as client:
        client.sendall(POST[:-1])
        assert read_all(client) == b""


def test_a_client_that_vanishes(server, trusting):
    """Connections that are reset within the handshake and after it harm nobody."""
    reset = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    for handshake in (False, True):
        plain = socket.create_connection(server.address, timeout=60)
        if handshake:
            plain = trusting.wrap_socket(plain, server_hostname="127.0.0.1")
            plain.sendall(POST)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        plain.close()
    assert ask(server, trusting) == EMPTY


def test_a_stop_ends_encrypted_connections(server, trusting):
    """An idle connection ends with a goodbye when the server stops."""
    with encrypted(server, trusting) as client:
        client.sendall(POST.replace(b"Connection: close", b"Connection: keep-alive"))
        answer = b""
        while not answer.endswith(b"}}"):
            answer += client.recv(65536)
        server.stop(600)
        assert client.recv(1) == b""


def command(server, *options):
    """List the tasks with the command line."""
    url = "https://{}:{}".format(*server.address)
    return CliRunner().invoke(main, ["task", "list", "--url", url, *options])


def test_commands_trust_an_authority(server, files, tmp_path):
    """With its authority a service is trusted, else the error says what to give."""
    trusted = command(server, "--ca", str(files.authority))
    assert (trusted.exit_code, trusted.stderr) == (0, "")
    stranger = command(server)
    assert stranger.exit_code == 1
    assert "is not trusted: " in stranger.stderr
    assert "--ca names the file" in stranger.stderr
    for no_file in (tmp_path / "none", files.key):
        wrong = command(server, "--ca", str(no_file))
        assert wrong.exit_code == 2
        assert "is no file with certificates in PEM" in wrong.stderr


def test_files_that_cannot_be_used(files, tmp_path):
    """Each wrong file is named with what it should be, and no password is asked for."""
    good, key = str(files.certificate), str(files.key)
    locked = tmp_path / "locked.pem"
    encrypt = ["openssl", "ec", "-in", key, "-aes256", "-passout", "pass:x", "-out"]
    subprocess.run([*encrypt, locked], check=True, capture_output=True)
    with pytest.raises(OperatorError, match=r"tls\.keyPath .* cannot be read: No such"):
        server_context(good, str(tmp_path / "none"))
    for cert, own in (
        (str(files.authority), key),
        (good, str(locked)),
        (good, good),
        (key, key),
    ):
        with pytest.raises(OperatorError, match="a certificate and its own key"):
            server_context(cert, own)


def test_authorities_that_cannot_be_used(files, tmp_path):
    """A wrong file is named with what it should be, at the start and not at a request."""
    with pytest.raises(OperatorError, match=r"tls\.caPath .* cannot be read: No such"):
        client_context(str(tmp_path / "none"))
    for no_authority in (tmp_path, files.key):
        with pytest.raises(OperatorError, match=r"tls\.caPath .* cannot be"):
            client_context(str(no_authority))
    assert client_context(str(files.authority)).get_ca_certs()
    assert client_context("").verify_mode is ssl.CERT_REQUIRED
