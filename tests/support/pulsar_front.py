"""Before pulsar-lite: what it leaves out of Pulsar's protocol and clients insist on.

Its messages come without the checksum that every Pulsar sends, and without which
Milvus's client throws a message away. Here they get it. What clients subscribe with is
noted, as the broker itself does not tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from typing import TYPE_CHECKING

import google_crc32c

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterator

    from tests.support.pulsar import PulsarBroker

MAGIC = b"\x0e\x01"
SUBSCRIBE = b"\x08\x04"
_SIZES = struct.Struct(">II")


@contextlib.contextmanager
def pulsar_front(
    broker: PulsarBroker, context: ssl.SSLContext | None = None
) -> Iterator[PulsarFront]:
    """Stand before ``broker``, whether it runs or not, in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="pulsar-front")
    thread.start()
    front = PulsarFront(broker)
    try:
        asyncio.run_coroutine_threadsafe(front.start(context), loop).result(10)
        yield front
    finally:
        asyncio.run_coroutine_threadsafe(front.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class PulsarFront:
    """A proxy at a port of the broker's block. Lives in one event loop.

    Attributes:
        subscribed: The commands with which clients subscribed.
        lose: The end of a message that is not passed on, the first time it comes.
    """

    def __init__(self, broker: PulsarBroker) -> None:
        self.subscribed: list[bytes] = []
        self.lose: bytes | None = None
        self._broker = broker
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """What a client connects to."""
        return f"pulsar://{self._broker.host}:{self._broker.ports['front']}"

    async def start(self, context: ssl.SSLContext | None) -> None:
        """Listen."""
        self._server = await asyncio.start_server(
            self._serve, self._broker.host, self._broker.ports["front"], ssl=context
        )

    async def stop(self) -> None:
        """End every connection."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        with contextlib.ExitStack() as stack:
            stack.callback(self._tasks.discard, task)
            stack.callback(writer.close)
            with contextlib.suppress(OSError):
                there, back = await asyncio.open_connection(
                    self._broker.host, self._broker.ports["binary"]
                )
                stack.callback(back.close)
                await _first(
                    _pump(reader, back, self._note), _pump(there, writer, self._mend)
                )

    def _note(self, command: bytes, rest: bytes) -> tuple[bytes, bytes]:
        if command.startswith(SUBSCRIBE):
            self.subscribed.append(command)
        return command, rest

    def _mend(self, command: bytes, rest: bytes) -> tuple[bytes, bytes] | None:
        if self.lose and rest.endswith(self.lose):
            self.lose = None
            return None
        if rest and not rest.startswith(MAGIC):
            return command, MAGIC + struct.pack(">I", google_crc32c.value(rest)) + rest
        # Where a client is sent for a topic: ports of one block are equally long.
        own, behind = (
            b":%d" % self._broker.ports[each] for each in ("front", "binary")
        )
        return command.replace(behind, own), rest


async def _first(*work: Awaitable[None]) -> None:
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
    change: Callable[[bytes, bytes], tuple[bytes, bytes] | None],
) -> None:
    while True:
        total, size = _SIZES.unpack(await source.readexactly(_SIZES.size))
        body = await source.readexactly(total - 4)
        changed = change(body[:size], body[size:])
        if changed is None:
            continue
        command, rest = changed
        sink.write(_SIZES.pack(4 + len(command) + len(rest), len(command)))
        sink.write(command)
        sink.write(rest)
        await sink.drain()
