"""A connection to a server that does not do what NATS does leaves nothing open."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from cdc_actors.errors import TransientError
from cdc_actors.source.wal.natsmq import connection
from cdc_actors.source.wal.natsmq.connection import JetStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_INFO = b'INFO {"server_id":"X","max_payload":1048576,"headers":true}\r\n'


def _left_open(
    greeting: bytes, use: Callable[[JetStream], Awaitable[None]]
) -> list[str]:
    """Return what Python says ``use`` left open at a server that reads nothing."""
    over = threading.Event()

    def serve(listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(greeting)
            over.wait()

    async def run(address: str) -> None:
        await use(JetStream(address, lambda _: None))

    with (
        warnings.catch_warnings(record=True) as said,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        warnings.simplefilter("always")
        server = threading.Thread(target=serve, args=[listener])
        server.start()
        asyncio.run(run(f"nats://127.0.0.1:{listener.getsockname()[1]}"))
        gc.collect()
        over.set()
        server.join()
    return [str(each.message) for each in said]


def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that does not come about in time is closed whole."""
    monkeypatch.setattr(connection, "_CONNECT_TIMEOUT", 0.1)

    async def use(jetstream: JetStream) -> None:
        with pytest.raises(TransientError):
            await jetstream.connect()

    assert _left_open(b"", use) == []


def test_a_server_that_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server does not take does not keep a connection open beyond its end."""
    monkeypatch.setattr(connection, "_PARTING_TIMEOUT", 0.1)

    async def use(jetstream: JetStream) -> None:
        await jetstream.connect()
        for _ in range(16):
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await jetstream.publish("x", bytes(1 << 20), "y")
        await jetstream.close()

    assert _left_open(_INFO + b"PONG\r\n", use) == []
