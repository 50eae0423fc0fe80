"""As much of HTTP/2 (RFC 9113) as it takes to answer every request with a status."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD = 9
_HEADERS, _SETTINGS, _PING = 1, 4, 6
_ACK, _END_STREAM, _END_HEADERS = 1, 1, 4
_STATUS = 8
"""``:status`` in the static table of HPACK (RFC 7541, appendix A)."""


def answer_http2(connection: socket.socket, status: int) -> None:
    """Answer every request of a connection, until its client closes it."""
    stream = connection.makefile("rb")
    stream.read(len(PREFACE))
    connection.sendall(_frame(_SETTINGS, 0, 0))
    while len(head := stream.read(_HEAD)) == _HEAD:
        high, low, kind, flags, number = struct.unpack(">BHBBI", head)
        body = stream.read(high << 16 | low)
        if kind == _HEADERS:
            # A literal field without indexing, its name by number (RFC 7541, 6.2.2).
            field = bytes([_STATUS, 3]) + str(status).encode()
            flags = _END_STREAM | _END_HEADERS
            connection.sendall(_frame(_HEADERS, flags, number, field))
        elif kind in {_SETTINGS, _PING} and not flags & _ACK:
            body = body if kind == _PING else b""
            connection.sendall(_frame(kind, _ACK, 0, body))


def _frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    return struct.pack(">BHBBI", 0, len(body), kind, flags, stream) + body
