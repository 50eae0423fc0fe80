"""A server, as far as it answers at all."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

import grpc

from cdc_actors.grpc_common import is_http

_TIMEOUT = 1.0
_OPTIONS: Final = (("grpc.use_local_subchannel_pool", 1),)
_NO_ANSWER: Final = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    # What a proxy says in place of a server that it does not find.
    grpc.StatusCode.UNIMPLEMENTED,
}


@dataclass(frozen=True, slots=True)
class Peer:
    """A server; ``method`` is what it is asked by gRPC, "" to connect and no more.

    The latter is for servers behind TLS, which would ask for keys and certificates.
    """

    host: str
    port: int
    method: str = ""

    def answers(self) -> bool:
        """Tell whether it answers within a second."""
        try:
            if self.method:
                self._ask()
            else:
                socket.create_connection((self.host, self.port), _TIMEOUT).close()
        except grpc.RpcError as error:
            return error.code() not in _NO_ANSWER and not is_http(error)
        except OSError:
            return False
        return True

    def _ask(self) -> None:
        host = f"[{self.host}]" if ":" in self.host else self.host
        with grpc.insecure_channel(f"{host}:{self.port}", _OPTIONS) as channel:
            channel.unary_unary(self.method)(b"", timeout=_TIMEOUT)
