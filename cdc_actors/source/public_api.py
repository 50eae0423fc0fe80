"""The source's public API, as far as a catalog and a log can be had of it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import grpc
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

from cdc_actors.errors import CdcError, OperatorError, TransientError
from cdc_actors.grpc_common import (
    ACCESS_REFUSED,
    RECONNECT_SOON,
    REFUSED,
    address,
    login_in,
    status_code,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CALL_SECONDS = 10.0
"""How long a call may take."""

_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    *RECONNECT_SOON.items(),
]
_NOT_AUTHENTICATED, _NOT_PERMITTED = 1400, 1401
_NOT_THERE = frozenset({100, 101, 200, 700, 800, 1600})
"""Milvus's codes for a collection, what is loaded of it, a partition, index, database or
alias that does not exist."""


class NotThereError(CdcError):
    """The source has nothing by the name, or the id, that was asked for."""


class PublicApi:
    """A connection to the source's API. Any thread may use it.

    Methods raise ``TransientError`` where the source is away or cannot do it now, and
    ``OperatorError`` where it refuses the login, a privilege or the request.
    """

    def __init__(self, uri: str, token: str) -> None:
        where, options = address(uri), _OPTIONS
        if urlsplit(uri).scheme == "https":
            credentials = grpc.ssl_channel_credentials()
            self._channel = grpc.secure_channel(where, credentials, options)
        else:
            self._channel = grpc.insecure_channel(where, options)
        self._stub = milvus_pb2_grpc.MilvusServiceStub(self._channel)
        login = base64.b64encode((token or login_in(uri)).encode()).decode()
        self._login = (("authorization", login),) if login else ()

    def call(self, method: str, request: Any, database: str = "") -> Any:
        """Send a request and return its answer.

        Raises:
            NotThereError: It is about something that does not exist.
        """
        metadata = (*self._login, ("dbname", database))
        try:
            answer = getattr(self._stub, method)(
                request, timeout=CALL_SECONDS, metadata=metadata
            )
        except grpc.RpcError as error:
            raise rpc_error(method, error) from error
        refuse(method, getattr(answer, "status", answer))
        return answer

    def stream(
        self,
        method: str,
        request: Any,
        read: Callable[[bytes], Any],
        timeout: float | None = None,
    ) -> Any:
        """Begin a call whose answers ``read`` parses; iterating raises what gRPC does."""
        return self._channel.unary_stream(
            f"/milvus.proto.milvus.MilvusService/{method}",
            request_serializer=lambda given: given.SerializeToString(),
            response_deserializer=read,
        )(request, timeout=timeout, metadata=self._login)

    def time(self) -> int:
        """Return the source's time, a hybrid timestamp."""
        request = milvus_pb2.AllocTimestampRequest()
        return int(self.call("AllocTimestamp", request).timestamp)

    def close(self) -> None:
        """End every call. Idempotent."""
        self._channel.close()


def refuse(method: str, status: Any) -> None:
    """Raise what a ``common.Status`` means, unless it means success."""
    code = status_code(status)
    if not code:
        return
    text = f"the source's API, asked to {method}: {status.reason} (code {code})"
    if code in _NOT_THERE:
        raise NotThereError(text)
    if code in (_NOT_AUTHENTICATED, _NOT_PERMITTED):
        raise OperatorError(text)
    raise TransientError(text)


def rpc_error(method: str, error: grpc.RpcError) -> CdcError:
    """Return what a call means that failed."""
    status = error.code()
    said = f"{status.name}: {error.details() or 'no reason'}"
    text = f"the source's API, asked to {method}: {said}"
    if status in ACCESS_REFUSED:
        return OperatorError(f"the source's API {ACCESS_REFUSED[status]}: {text}")
    return OperatorError(text) if status in REFUSED else TransientError(text)
