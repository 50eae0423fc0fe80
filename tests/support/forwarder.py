"""A proxy between a client and a Milvus that knows gRPC, and refuses what a test says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    Refusal = tuple[grpc.StatusCode, str] | bytes

_THREADS = 16
_TIMEOUT = 60


class Forwarder(grpc.GenericRpcHandler):
    """Passes unary calls on to a Milvus, with their metadata. Any thread may use it.

    ``refuse`` is asked with the method's name and the serialized request of each call, and
    returns the status and the text with which it fails, a serialized answer, or None.
    """

    def __init__(
        self,
        target: str,
        refuse: Callable[[str, bytes], Refusal | None] = lambda _method, _request: None,
        options: tuple[tuple[str, Any], ...] = (),
    ) -> None:
        """``target`` is a URI; ``options`` are those of a gRPC server."""
        self.refuse = refuse
        self._channel = grpc.insecure_channel(target.removeprefix("http://"))
        self._server = grpc.server(ThreadPoolExecutor(_THREADS), options=options)
        self._server.add_generic_rpc_handlers((self,))
        self.uri = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(grace=None).wait()
        self._channel.close()

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler:
        """Return what handles calls of a method."""
        path = handler_call_details.method

        def forward(request: bytes, context: grpc.ServicerContext) -> bytes:
            refusal = self.refuse(path.rpartition("/")[2], request)
            if isinstance(refusal, bytes):
                return refusal
            if refusal is not None:
                context.abort(*refusal)
            call = self._channel.unary_unary(path)
            try:
                answer: bytes = call(
                    request, timeout=_TIMEOUT, metadata=context.invocation_metadata()
                )
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())
            return answer

        return grpc.unary_unary_rpc_method_handler(forward)
