"""A broker that speaks Pulsar's protocol: pulsar-lite, from PyPI.

What it has not: an admin interface (``AdminDouble`` answers the one question that is
asked, from the broker's own list of topics), retention (nothing is ever removed), a
login, TLS, and subscriptions that end with their connection (it notes every one).
"""

from __future__ import annotations

import importlib.util
import json
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import pulsar
import pytest

from cdc_actors.config.queues import Pulsar
from cdc_actors.embedded.ports import HOST
from cdc_actors.embedded.server import EmbeddedServer
from cdc_actors.source.wal.pulsar import PulsarReader
from cdc_actors.source.wal.pulsar_ids import entry_id, position_of
from cdc_actors.source.wal.pulsar_link import CLIENT_LOG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cdc_actors.changes import Position
    from cdc_actors.source.wal import WalReader

TENANT, NAMESPACE = "public", "default"
MAX_MESSAGE = 5 << 20
_SETTINGS = f"""
default_partitions = 0
max_message_size_bytes = {MAX_MESSAGE}
[metrics]
enabled = false
"""


class PulsarBroker(EmbeddedServer):
    """One pulsar-lite; topics are made by use, as Milvus needs them to be."""

    name = "Pulsar"
    host = HOST
    _port_names: ClassVar = ("binary", "front", "web")
    # It does not end when asked to.
    _stop_signal: ClassVar = signal.SIGKILL

    def __init__(self, folder: Path) -> None:
        self._program = pulsar_program()
        super().__init__(folder)

    @property
    def address(self) -> str:
        """What a client connects to."""
        return f"pulsar://{HOST}:{self.ports['binary']}"

    @property
    def topics(self) -> set[str]:
        """The full names of the topics that exist."""
        kept = self._kept()
        return {f"persistent://{TENANT}/{NAMESPACE}/{name}" for name in kept}

    def _kept(self) -> dict[str, object]:
        file = self.folder / "log.metadata.json"
        if not file.exists():
            return {}
        namespaces = json.loads(file.read_text()).get(str(file), {})
        return namespaces.get(TENANT, {}).get(NAMESPACE, {}).get("persistent", {})

    def _prepare(self) -> Sequence[str]:
        settings = self.folder / "broker.toml"
        settings.write_text(_SETTINGS)
        return [
            *(self._program, "--config", str(settings), "--log-level", "warn"),
            *("--addr", f"{HOST}:{self.ports['binary']}"),
            *("--db-path", str(self.folder / "log")),
        ]

    def _is_ready(self) -> bool:
        try:
            socket.create_connection((HOST, self.ports["binary"]), timeout=1).close()
        except OSError:
            return False
        return True


def pulsar_program() -> str:
    """Return the broker's program; skips the test, with the reason, without one."""
    package = importlib.util.find_spec("pulsar_lite")
    if package is None or package.origin is None:
        pytest.skip("no Pulsar broker: the package pulsar-lite is not installed")
    return str(Path(package.origin).parent / "bin" / "pulsar-lite")


class AdminDouble:
    """Answers ``GET /admin/v2/persistent/public/default`` in a thread of its own."""

    def __init__(self, port: int, topics: Callable[[], set[str]]) -> None:
        self.authorizations: list[str | None] = []
        self.status = 200
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                double.authorizations.append(self.headers.get("Authorization"))
                known = self.path == f"/admin/v2/persistent/{TENANT}/{NAMESPACE}"
                body = json.dumps(sorted(topics())).encode()
                self.send_response(double.status if known else 404)
                self.end_headers()
                self.wfile.write(body if known else b"Namespace does not exist")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((HOST, port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def address(self) -> str:
        """The address of the web service."""
        return f"http://{HOST}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class PulsarWal:
    """The queue Pulsar."""

    def __init__(self, broker: PulsarBroker, admin: AdminDouble) -> None:
        self.broker = broker
        self.admin = admin

    @property
    def config(self) -> Pulsar:
        """The settings of a reader."""
        return Pulsar(address=self.broker.address, web_address=self.admin.address)

    def append(
        self, channel: str, payloads: Iterable[bytes], *, batching: bool = False
    ) -> list[Position]:
        """Write records, making the channel if there is none."""
        client = pulsar.Client(self.broker.address, logger=CLIENT_LOG.logger)
        try:
            producer = client.create_producer(
                f"persistent://{TENANT}/{NAMESPACE}/{channel}",
                batching_enabled=batching,
                chunking_enabled=not batching,
                compression_type=pulsar.CompressionType.ZSTD,
            )
            written = [producer.send(payload) for payload in payloads]
        finally:
            client.close()
        return [position_of(channel, each) for each in written]

    def truncate(self, channel: str, before: Position | None) -> None:
        """Skip the test: this broker has no retention."""
        pytest.skip(
            "pulsar-lite keeps every message: it has no retention to truncate by"
        )

    def stop(self) -> None:
        """Take the queue away."""
        self.broker.kill()

    def start(self) -> None:
        """Bring it back, with its records."""
        self.broker.start()

    def channels(self) -> set[str]:
        """Return the channels that exist."""
        return {topic.rpartition("/")[2] for topic in self.broker.topics}

    def position(self, channel: str, number: int) -> Position:
        """Return where the record of a number stands or would stand."""
        return position_of(channel, entry_id(self._ledger(channel), number - 1))

    def beginning(self, channel: str) -> Position:
        """Return the position of a channel still empty."""
        return position_of(channel, entry_id(self._ledger(channel), -1))

    def reader(self) -> WalReader:
        """Open a reader."""
        return PulsarReader(self.config)

    def _ledger(self, channel: str) -> int:
        with self.reader() as reader:
            oldest = reader.oldest(channel)
        return int(oldest.text.partition(":")[0]) if oldest else 0
