"""A target that answers as a test says, over gRPC."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import grpc

from cdc_actors.target.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def connection_to(handler: grpc.GenericRpcHandler) -> Iterator[Connection]:
    """Yield a connection to a server on which ``handler`` answers every call."""
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with closing(Connection(f"http://127.0.0.1:{port}", "")) as connection:
        yield connection
    server.stop(grace=None).wait()
