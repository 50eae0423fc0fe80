"""As much of HTTP/2 (RFC 9113) and of gRPC as it takes to refuse every request."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    import grpc

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD = 9
_HEADERS, _SETTINGS, _PING = 1, 4, 6
_ACK, _END_STREAM, _END_HEADERS = 1, 1, 4
_STATUS = 8
"""``:status`` in the static table of HPACK (RFC 7541, appendix A)."""


def answer_http2(
    connection: socket.socket, status: int, of_grpc: grpc.StatusCode | None = None
) -> None:
    """Answer every request of a connection, until its client closes it.

    With ``of_grpc`` the answer is one of gRPC, and that its status.
    """
    # Literal fields without indexing (RFC 7541, 6.2.2), the first one's name by number.
    fields = bytes([_STATUS]) + _text(str(status))
    if of_grpc is not None:
        given = {"content-type": "application/grpc", "grpc-status": of_grpc.value[0]}
        fields += b"".join(
            b"\0" + _text(name) + _text(str(value)) for name, value in given.items()
        )
    stream = connection.makefile("rb")
    stream.read(len(PREFACE))
    connection.sendall(_frame(_SETTINGS, 0, 0))
    while len(head := stream.read(_HEAD)) == _HEAD:
        high, low, kind, flags, number = struct.unpack(">BHBBI", head)
        body = stream.read(high << 16 | low)
        if kind == _HEADERS:
            flags = _END_STREAM | _END_HEADERS
            connection.sendall(_frame(_HEADERS, flags, number, fields))
        elif kind in {_SETTINGS, _PING} and not flags & _ACK:
            body = body if kind == _PING else b""
            connection.sendall(_frame(kind, _ACK, 0, body))


def _text(text: str) -> bytes:
    """Return a text with its length before it (RFC 7541, 5.2), which is below 127."""
    return bytes([len(text)]) + text.encode()


def _frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    return struct.pack(">BHBBI", 0, len(body), kind, flags, stream) + body
