"""A network that does what a test wants: one TCP way, with faults."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from cdc_actors.embedded.ports import HOST, PortBlock
from tests.support.http2 import answer_http2

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    Refusal = tuple[int, grpc.StatusCode | None]

CHUNK = 16 << 10
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends RST."""


class TcpProxy:
    """Passes connections on to a port of this machine. Any thread may use it.

    Each fault holds until ``heal``; ``reset`` is over at once.

    An ingress whose backend is gone answers requests itself: see ``answer``.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._ports = PortBlock(["proxy"])
        self.port = self._ports["proxy"]
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._drops = 0
        self._flowing = threading.Event()
        self._delay = 0.0
        self._rate = 0.0
        self._refusal: Refusal | None = None

    def __enter__(self) -> Self:
        self.heal()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._flowing.set()
        self._ports.close()

    def heal(self) -> None:
        """Let everything through at full speed."""
        self._delay = self._rate = 0.0
        self._flowing.set()
        if self._refusal:
            self._refusal = None
            self._drop()
        if self._listener is None:
            self._listener = socket.create_server((HOST, self.port))
            self._spawn(self._accept, self._listener)

    def lead_to(self, target: int) -> None:
        """Pass connections on to another port, those there are excepted."""
        self._target = target

    def cut(self) -> None:
        """Close every connection and refuse new ones."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self._drop()

    def reset(self) -> None:
        """Break every connection with a RST; new ones are let through."""
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._drop()

    def answer(self, status: int, of_grpc: grpc.StatusCode | None = None) -> None:
        """Answer every request over HTTP/2 with a status, and pass nothing on."""
        self._refusal = status, of_grpc
        self._drop()

    def half_open(self) -> None:
        """Take connections and what they send, and pass nothing on."""
        self._flowing.clear()

    def delay(self, seconds: float) -> None:
        """Keep everything for a while before it is passed on."""
        self._delay = seconds

    def throttle(self, rate: float) -> None:
        """Pass on so many bytes a second, each way of each connection."""
        self._rate = rate

    def _accept(self, listener: socket.socket) -> None:
        while True:
            drops = self._drops
            try:
                near, _ = listener.accept()
            except OSError:
                return
            if refusal := self._refusal:
                with self._lock:
                    self._open.add(near)
                self._spawn(self._answer, near, refusal)
                continue
            try:
                far = socket.create_connection((HOST, self._target), timeout=5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            with self._lock:
                self._open |= {near, far}
                is_late = drops < self._drops
            if is_late:
                self._close(near, far)
                continue
            self._spawn(self._pump, near, far)
            self._spawn(self._pump, far, near)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                if self._delay or self._rate:
                    time.sleep(
                        self._delay + (len(data) / self._rate if self._rate else 0)
                    )
                self._flowing.wait()
                sink.sendall(data)
        self._close(source, sink)

    def _answer(self, near: socket.socket, refusal: Refusal) -> None:
        with suppress(OSError):
            answer_http2(near, *refusal)
        self._close(near)

    def _drop(self) -> None:
        with self._lock:
            self._drops += 1
            connections = list(self._open)
        self._close(*connections)

    def _close(self, *connections: socket.socket) -> None:
        with self._lock:
            self._open.difference_update(connections)
        for each in connections:
            with suppress(OSError):
                if not each.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER):
                    each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _spawn(self, work: Callable[..., None], *arguments: Any) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()
