"""waitress, bounded, and with the graceful stop that it lacks.

``waitress.serve`` has no stop, and closing its server from another thread breaks the
loop. So the loop runs in a thread of ours, a turn at a time, and that thread alone
closes things: the listener first, then each connection once it has its answer.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from waitress import wasyncore  # type: ignore[import-untyped]
from waitress.server import create_server  # type: ignore[import-untyped]

from cdc_http.channel import Channel
from cdc_http.tls import TlsChannel

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

_TURN_SECONDS = 0.25
_MAX_HEADER_BYTES = 16_384
_BACKLOG = 128
_ROOM = 8
"""The part of all connections, one in so many, that is closed when there is no room."""

STOPPING = "cdc_http.stopping"
"""Where a request's environment holds the event that is set when the server stops."""


class Server:
    """Serves a WSGI app on one address; an empty host is every one of this machine.

    ``threads`` requests run at once and ``connections`` are open at once. For another one
    those that have been silent longest make room; while none is, it waits. A connection
    that is idle, or whose request is incomplete, for ``client_seconds`` is closed. A body
    up to four times ``max_body_bytes`` is still read, so that a client which sends a little
    too much gets the app's answer and not a broken connection. With ``tls`` every
    connection is encrypted.
    """

    def __init__(  # noqa: PLR0913 - all but three have defaults
        self,
        app: Callable[..., Any],
        host: str,
        port: int,
        *,
        threads: int = 16,
        connections: int = 256,
        max_body_bytes: int = 1_048_576,
        client_seconds: int = 30,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._app = app
        self._tls = tls
        self._connections = connections
        self._listen_on = (host, port)
        self._bounds: dict[str, Any] = {
            "threads": threads,
            # waitress counts its own two files as well.
            "connection_limit": connections + 2,
            "max_request_body_size": 4 * max_body_bytes,
            "max_request_header_size": _MAX_HEADER_BYTES,
            "channel_timeout": client_seconds,
            "url_scheme": self.scheme,
        }
        self._stopping = threading.Event()
        self._deadline = 0.0
        self._server: Any = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Bind and serve in the background.

        Raises:
            OSError: The address is taken, or is none of this machine.
        """
        listener = _listener(*self._listen_on)
        self._listen_on = listener.getsockname()[:2]
        self._server = create_server(
            self._call,
            sockets=[listener],
            backlog=_BACKLOG,
            cleanup_interval=1,
            asyncore_use_poll=True,
            clear_untrusted_proxy_headers=True,
            ident=None,
            log_socket_errors=False,
            **self._bounds,
        )
        self._server.channel_class = (
            partial(TlsChannel, self._tls) if self._tls else Channel
        )
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()

    @property
    def scheme(self) -> str:
        """How a URL of this server begins: http or https."""
        return "https" if self._tls else "http"

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port; once started the real port where 0 was asked for."""
        return self._listen_on

    def stop(self, timeout: float = 10.0) -> None:
        """Refuse new connections, finish the requests at hand, then end.

        Requests that take longer than ``timeout`` seconds get no answer; a request that
        had not arrived whole has not been begun. May be called again.
        """
        self._deadline = time.monotonic() + timeout
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _call(self, environ: dict[str, Any], start_response: Any) -> Any:
        environ[STOPPING] = self._stopping
        return self._app(environ, start_response)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._turn()
        wasyncore.dispatcher.close(self._server)
        while self._close_idle() and time.monotonic() < self._deadline:
            self._turn()
        self._close_all()

    def _turn(self) -> None:
        wasyncore.loop(_TURN_SECONDS, use_poll=True, map=self._server._map, count=1)  # noqa: SLF001
        for channel in list(self._server.active_channels.values()):
            channel.let_go()
        full = len(self._server.active_channels) >= self._connections
        if full and self._is_awaited():
            self._make_room()

    def _is_awaited(self) -> bool:
        """Tell whether a client waits for a connection."""
        poll = select.poll()
        poll.register(self._server.socket, select.POLLIN)
        return bool(poll.poll(0))

    def _make_room(self) -> None:
        """Close connections that have been silent longest.

        Whoever opens many and says nothing must not keep a probe from being answered. One
        that has just come is the last to go: it has the time to send its request.
        """
        silent = sorted(self._idle(), key=lambda channel: channel.last_activity)
        for channel in silent[: max(1, self._connections // _ROOM)]:
            channel.handle_close()

    def _close_idle(self) -> bool:
        """Close the connections that wait for nothing; say whether others are left."""
        for channel in self._idle():
            channel.handle_close()
        return bool(self._server.active_channels)

    def _idle(self) -> list[Any]:
        """Return the connections that wait for nothing but their clients."""
        return [
            channel
            for channel in self._server.active_channels.values()
            if not channel.requests and not channel.total_outbufs_len
        ]

    def _close_all(self) -> None:
        left = max(0.0, self._deadline - time.monotonic())
        self._server.task_dispatcher.shutdown(timeout=left)
        self._server.trigger.close()
        wasyncore.close_all(self._server._map)  # noqa: SLF001


def _listener(host: str, port: int) -> socket.socket:
    # A name may stand for several addresses, and waitress would listen on each.
    family, _, _, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
