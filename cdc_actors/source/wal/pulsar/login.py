"""Asks a Pulsar why it refuses a login.

A broker says so once and ends the connection; the client drops what it said, and tries
again until its time is over, as if nobody were there. Source: Pulsar's "Binary protocol
specification", connection establishment.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError

from cdc_actors.source.wal.pulsar.admin import tls_of, token_of
from cdc_actors.source.wal.pulsar.pulsar_pb2 import Command, Connect

if TYPE_CHECKING:
    from cdc_actors.config import Pulsar

_ANSWER_TIMEOUT = 2.0
_PORTS = {"pulsar": 6650, "pulsar+ssl": 6651}
_CONNECT, _ERROR = 2, 14
_PROTOCOL = 19
"""The version of Pulsar 2.10; a login is the same in every one."""

_SIZES = struct.Struct(">II")


def refusal(config: Pulsar) -> str | None:
    """Return what a broker says against a token; None if it says nothing, or has none.

    Takes a few seconds at most. The first of several brokers is asked.
    """
    try:
        token = token_of(config)
        if token is None:
            return None
        with _connection(config) as connection, connection.makefile("rb") as answer:
            connection.sendall(_login(token))
            _, size = _SIZES.unpack(answer.read(_SIZES.size))
            command = Command.FromString(answer.read(size))
    except (OSError, ValueError, struct.error, DecodeError):
        return None
    return command.error.message.strip() if command.type == _ERROR else None


def _connection(config: Pulsar) -> socket.socket:
    parts = urlsplit(config.address.partition(",")[0])
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    plain = socket.create_connection((host, port), timeout=_ANSWER_TIMEOUT)
    if parts.scheme == "pulsar":
        return plain
    return tls_of(config).wrap_socket(plain, server_hostname=host)


def _login(token: str) -> bytes:
    connect = Connect(
        client_version="cdc-actors",
        protocol_version=_PROTOCOL,
        auth_method_name="token",
        auth_data=token.encode(),
    )
    command = Command(type=_CONNECT, connect=connect).SerializeToString()
    return _SIZES.pack(4 + len(command), len(command)) + command
