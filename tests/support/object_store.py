"""An object store in memory, as far as a reader asks one: HEAD, and GET of some bytes."""

from __future__ import annotations

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.tls import Certificates

BUCKET, ROOT = "rows", "files"


class ObjectStore:
    """Files by their paths below a root. Any thread may use it.

    ``before`` is called in each request's own thread before it is answered; ``requests``
    are so many, and ``login`` is that of the last one. A ``refusal`` is the status of every
    answer. With certificates it is reached by TLS.
    """

    def __init__(self, tls: Certificates | None = None) -> None:
        self.found: dict[str, bytes] = {}
        self.before: Callable[[], None] = lambda: None
        self.requests = 0
        self.login = ""
        self.refusal = 0
        self._lock = threading.Lock()

        class Handler(_Handler):
            store = self

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(tls.certificate, tls.key)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True
            )

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def settings(self) -> dict[str, Any]:
        """Return what a ``Storage`` needs to find it."""
        return {
            "type": "s3",
            "address": f"127.0.0.1:{self._server.server_port}",
            "bucket_name": BUCKET,
            "root_path": ROOT,
            "region": "us-east-1",
            "access_key_id": "minioadmin",
            "secret_access_key": "minioadmin",
        }

    def note(self, login: str) -> None:
        """Count a request, and do with it what is wanted."""
        with self._lock:
            self.requests += 1
            self.login = login
        self.before()


class _Handler(BaseHTTPRequestHandler):
    store: ObjectStore
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        self.store.note(self.headers["Authorization"])
        if self.store.refusal:
            self._send(self.store.refusal, b"")
            return
        path = self.path.partition("?")[0].removeprefix(f"/{BUCKET}/{ROOT}/")
        content = self.store.found.get(path)
        if content is None:
            self._send(404, b"")
            return
        wanted = self.headers.get("Range")
        if wanted is None:
            self._send(200, content)
            return
        first, last = map(int, wanted.removeprefix("bytes=").split("-"))
        said = f"bytes {first}-{last}/{len(content)}"
        self._send(206, content[first : last + 1], {"Content-Range": said})

    def _send(
        self, status: int, body: bytes, more: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        told = {"Content-Length": str(len(body)), "ETag": '"1"', **(more or {})}
        for name, value in told.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
