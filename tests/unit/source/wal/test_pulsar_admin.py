"""What answers at ``webAddress`` may be something else than Pulsar's web service."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from cdc_actors.config import Pulsar
from cdc_actors.errors import OperatorError, TransientError
from cdc_actors.source.wal.pulsar.admin import PulsarAdmin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOPIC = "persistent://public/default/by-dev-rootcoord-dml_0"


@pytest.fixture
def answering() -> Iterator[Callable[[int, str], PulsarAdmin]]:
    """Yield what starts a web server with one answer, and returns a client of it."""
    servers: list[HTTPServer] = []

    def start(status: int, body: str) -> PulsarAdmin:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                """Answer."""
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        where = f"http://127.0.0.1:{server.server_port}"
        config = Pulsar(address="pulsar://127.0.0.1:1", web_address=where)
        return PulsarAdmin(config)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_topics(answering: Callable[[int, str], PulsarAdmin]) -> None:
    """A list of names is Pulsar's answer."""
    admin = answering(200, f'["{TOPIC}"]')
    assert admin.has(TOPIC)
    assert not admin.has(f"{TOPIC}1")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "<html>Welcome</html>"),
        (200, '{"status": "ok"}'),
        (200, "[1]"),
        (404, "<html>no such page</html>"),
    ],
    ids=["page", "object", "numbers", "not found"],
)
def test_something_else(
    answering: Callable[[int, str], PulsarAdmin], status: int, body: str
) -> None:
    """The setting is named, with what was answered; it is tried again."""
    with pytest.raises(TransientError) as error:
        answering(status, body).has(TOPIC)
    assert "sourceConfig.pulsar.webAddress is not" in str(error.value)
    assert body in str(error.value)


def test_a_namespace_that_is_not_there(
    answering: Callable[[int, str], PulsarAdmin],
) -> None:
    """Pulsar itself says so: other settings are wrong."""
    with pytest.raises(OperatorError, match="tenant and namespace to Milvus's"):
        answering(404, '{"reason":"Namespace does not exist"}').has(TOPIC)


LEDGERS = """{"ledgers": [{"ledgerId": 3, "entries": 9, "size": 90},
{"ledgerId": 5, "entries": 0, "size": 0}], "currentLedgerEntries": 2,
"currentLedgerSize": 30}"""


def test_ledgers(answering: Callable[[int, str], PulsarAdmin]) -> None:
    """The one that is written to has its figures elsewhere; a refusal is none at all."""
    assert answering(200, LEDGERS).ledgers(TOPIC) == [(3, 9, 90), (5, 2, 30)]
    assert answering(403, "not you").ledgers(TOPIC) is None
    with pytest.raises(TransientError, match="says nothing of ledgers"):
        answering(200, '{"ledgers": [{}]}').ledgers(TOPIC)
