"""Messages are what the server sent, however the connection cuts them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError

from cdc_actors.source.wal.natsmq.arrivals import Arrival, _Parser

FOLLOWED, OTHER = "7", "71"
HEADERS = b"NATS/1.0\r\nkey: value\r\n\r\n"

payloads = st.binary(max_size=40) | st.sampled_from(
    [b"\r\n", b"PING\r\n", b"MSG a 7 b 5\r\nhello\r\n"]
)


class Client:
    """What nats-py's parser calls."""

    def __init__(self) -> None:
        self.others: list[Any] = []

    async def _process_msg(self, number: int, *_: Any) -> None:
        self.others.append(number)

    async def _process_ping(self) -> None:
        self.others.append("ping")


def message(number: str, payload: bytes, *, headed: bool) -> bytes:
    """Return a message as the server sends it."""
    head = HEADERS if headed else b""
    sizes = f"{len(head)} {len(payload) + len(head)}" if headed else f"{len(payload)}"
    line = f"{'H' * headed}MSG dml {number} $JS.ACK.dml.c.1.5.1.0.0 {sizes}"
    return b"\r\n".join([line.encode(), head + payload, b""])


@given(
    st.lists(
        st.tuples(st.sampled_from([FOLLOWED, OTHER, ""]), payloads, st.booleans())
    ),
    st.lists(st.integers(1, 60), min_size=1),
)
def test_every_message_comes_once_and_in_order(
    sent: list[tuple[str, bytes, bool]], steps: list[int]
) -> None:
    """Those of the subscription at once, all else by way of nats-py."""
    stream = b"".join(
        message(number, payload, headed=headed) if number else b"PING\r\n"
        for number, payload, headed in sent
    )
    client, found = Client(), list[Arrival]()
    parser = _Parser(client)  # type: ignore[arg-type]
    parser.subscription, parser.arrived = FOLLOWED.encode(), found.extend
    at = 0
    while at < len(stream):
        step = steps[at % len(steps)]
        asyncio.run(parser.parse(stream[at : at + step]))
        at += step
    assert [each.payload for each in found] == [p for n, p, _ in sent if n == FOLLOWED]
    others = [int(n) if n else "ping" for n, _, _ in sent if n != FOLLOWED]
    assert client.others == others


def test_a_message_says_where_it_stands() -> None:
    """Its number and its time, also where the server is part of a domain."""
    plain = Arrival(b"$JS.ACK.dml.c.1.5.1.1000000000.0", b"", b"")
    domain = Arrival(b"$JS.ACK.hub.account.dml.c.1.6.1.2000000000.0.x", b"", b"")
    assert (plain.sequence, domain.sequence) == (5, 6)
    assert plain.written == datetime.fromtimestamp(1, UTC)
    assert domain.written == datetime.fromtimestamp(2, UTC)


def test_what_the_server_itself_says_is_read() -> None:
    """A code, words, and what it adds; each of the latter may be missing."""
    idle = b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Stream: 12\r\n\r\n"
    said = Arrival(b"", b"", idle).status
    assert said == ("100", "Idle Heartbeat", {"Nats-Last-Stream": "12"})
    assert Arrival(b"", b"", b"NATS/1.0 503\r\n\r\n").status == ("503", "", {})


def test_a_line_without_a_size_is_refused() -> None:
    """It ends the connection instead of being waited for."""
    parser = _Parser(Client())  # type: ignore[arg-type]
    with pytest.raises(ProtocolError):
        asyncio.run(parser.parse(b"MSG dml 7 reply many\r\n"))
