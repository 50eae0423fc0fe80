"""Messages of one subscription as they come.

nats-py makes an object of every message, reads its headers, and takes it through a queue to
a task: together longer than all that becomes of a small record. Here the messages of the
subscription that is followed are cut out of what the connection brings, and handed over
together; all else is nats-py's.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from nats.aio.client import Client, Srv
from nats.aio.transport import TcpTransport
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats.aio.subscription import Subscription

_END = b"\r\n"
_MESSAGE, _WITH_HEADERS = b"MSG", b"HMSG"
_REPLY = {_MESSAGE: 5, _WITH_HEADERS: 6}
"""How many words a message's first line has if it asks for a reply."""

_READ_BYTES = 256 << 10
"""How much is taken from the connection at once, as asyncio does. By the 32 KiB of nats-py
it would be told to pause, and to go on, again and again."""

_PLAIN_TOKENS = 9
"""$JS.ACK.stream.consumer.delivered.sequence....: two more before with a domain."""


class Arrival(NamedTuple):
    """A message: where its acknowledgement would go, if anywhere, and its bytes.

    ``headers`` are those of a message without acknowledgement: what the server itself says.
    """

    reply: bytes
    payload: bytes
    headers: bytes

    @property
    def sequence(self) -> int:
        """The number of the record in its stream."""
        tokens = self.reply.split(b".")
        return int(tokens[5 if len(tokens) == _PLAIN_TOKENS else 7])

    @property
    def written(self) -> datetime:
        """When the record was written."""
        tokens = self.reply.split(b".")
        at = int(tokens[7 if len(tokens) == _PLAIN_TOKENS else 9])
        return datetime.fromtimestamp(at / 1e9, UTC)

    @property
    def status(self) -> tuple[str, str, dict[str, str]]:
        """The code and the words that the server says, and what it adds, by name."""
        first, *lines = self.headers.decode().split("\r\n")
        _, code, words = [*first.split(" ", 2), "", ""][:3]
        pairs = (line.partition(":") for line in lines if line)
        return code, words, {name: value.strip() for name, _, value in pairs}


class FollowingClient(Client):
    """A NATS client that hands over the messages of one subscription as they come."""

    def __init__(self) -> None:
        super().__init__()
        self._ps = self._arriving = _Parser(self)

    def follow(
        self, subscription: Subscription, arrived: Callable[[list[Arrival]], None]
    ) -> None:
        """Call ``arrived``, which must not raise, with what comes for a subscription."""
        number = subscription._id  # noqa: SLF001 - what the server calls it by
        self._arriving.subscription = str(number).encode()
        self._arriving.arrived = arrived

    def forget(self) -> None:
        """Call nobody any more."""
        self._arriving.subscription = b""

    async def _connect_to_server(self, server: Srv) -> None:
        server.last_attempt = time.monotonic()
        self._transport = _Transport()  # type: ignore[no-untyped-call]
        wait = self.options["connect_timeout"]
        await self._transport.connect(server.uri, _READ_BYTES, wait)


class _Transport(TcpTransport):
    async def read(self, _buffer_size: int) -> bytes:
        data: bytes = await super().read(_READ_BYTES)
        return data


class _Parser(Parser):
    """Cuts what comes into messages; nats-py is given whole ones, and only the others."""

    def __init__(self, client: Client) -> None:
        self.subscription = b""
        self.arrived: Callable[[list[Arrival]], None] = _nothing
        super().__init__(client)

    def reset(self) -> None:
        """Forget what has come of a connection that is over."""
        super().reset()
        self._pieces: list[bytes] = []
        self._missing = 1

    async def parse(self, data: bytes = b"") -> None:
        """Take the next piece of what the connection brings."""
        self._pieces.append(data)
        self._missing -= len(data)
        if self._missing > 0:
            return
        come, found = b"".join(self._pieces), list[Arrival]()
        at, missing = 0, 1
        while (end := come.find(_END, at)) >= 0:
            words = come[at:end].split()
            begin = end + len(_END)
            size = _size(words)
            stop = begin + size
            if stop > len(come):
                missing = stop - len(come)
                break
            if size and words[2] == self.subscription:
                found.append(_arrival(words, come, begin, stop - len(_END)))
            else:
                self._hand_over(found)
                found = []
                await super().parse(come[at:stop])
            at = stop
        self._pieces, self._missing = [come[at:]], missing
        self._hand_over(found)

    def _hand_over(self, found: list[Arrival]) -> None:
        if found:
            self.arrived(found)


def _size(words: list[bytes]) -> int:
    """Return how many bytes follow a line, 0 if it is no message's."""
    if not words or words[0] not in _REPLY:
        return 0
    try:
        return int(words[-1]) + len(_END)
    except ValueError as error:
        raise ProtocolError("nats: malformed MSG") from error


def _arrival(words: list[bytes], come: bytes, begin: int, end: int) -> Arrival:
    headed = int(words[-2]) if words[0] == _WITH_HEADERS else 0
    payload = come[begin + headed : end]
    if len(words) == _REPLY[words[0]]:
        return Arrival(words[3], payload, b"")
    return Arrival(b"", payload, come[begin : begin + headed])


def _nothing(_: list[Arrival]) -> None:
    pass
