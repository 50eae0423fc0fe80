"""What differs from waitress in one connection: JSON errors and a time for a request.

waitress answers in plain text what never reaches the app (malformed requests, bodies
and headers that are too large), and lets a client that sends a byte now and then keep
its connection indefinitely.
"""

from __future__ import annotations

import time

import msgspec
from waitress.channel import HTTPChannel  # type: ignore[import-untyped]
from waitress.task import ErrorTask  # type: ignore[import-untyped]

_TLS_HELLO = b"\x16\x03"
"""How a client begins that was told https where this server speaks http."""


class JsonErrorTask(ErrorTask):  # type: ignore[misc]
    """Answers in the shape of the API."""

    def execute(self) -> None:
        """Write the status and ``{"code", "message"}``, and close the connection."""
        error = self.request.error
        message = f"{error.reason}: {error.body}"
        body = msgspec.json.encode({"code": error.code, "message": message})
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection. All methods run in the thread of the server's loop."""

    error_task_class = JsonErrorTask
    _request_began = 0.0

    def received(self, data: bytes) -> bool:
        """Take what the client sent, and note when an incomplete request began."""
        before = self.request
        if data[:2] == _TLS_HELLO and before is None:
            # It would be waited for the end of its headers: let it be wrong at once.
            data = b"TLS\r\n\r\n"
        taken: bool = super().received(data)
        if self.request is not before:
            self._request_began = time.monotonic()
        return taken

    def let_go(self) -> None:
        """Close a connection that is to end, or that takes nothing of what waits for it.

        waitress closes when the socket can be written to, which it never can if the
        client does not read; and never while a worker waits for that client.
        """
        with self.outbuf_lock:
            age = time.time() - self.last_activity
            stuck = self.total_outbufs_len and age > self.adj.channel_timeout
        if self.will_close or stuck:
            self.handle_close()

    def readable(self) -> bool:
        """Close a connection whose request is late; read none of a stopping server."""
        age = time.monotonic() - self._request_began
        idle = not self.requests and not self.total_outbufs_len
        if self.request is not None and idle and age > self.adj.channel_timeout:
            self.will_close = True
        return bool(self.server.accepting and super().readable())
