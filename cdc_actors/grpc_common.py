"""What every client of a Milvus over gRPC needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import grpc
from pymilvus.grpc_gen import common_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_KEEPALIVE: Final = {"grpc.keepalive_time_ms": 2**31 - 1}
"""``grpc_options`` of pymilvus without its pings.

Servers with gRPC's own limits, Milvus Lite among them, end a connection with a ping every
ten seconds ("Too many pings"). Calls have deadlines instead.
"""

RECONNECT_SOON: Final = {"grpc.max_reconnect_backoff_ms": 1000}
"""Options of a channel that connects within a second to a server which is back.

gRPC waits up to two minutes otherwise; a channel that is new waits with those that share
its address and options.
"""

ACCESS_REFUSED: Final = {
    grpc.StatusCode.UNAUTHENTICATED: "refuses the login",
    grpc.StatusCode.PERMISSION_DENIED: "refuses a privilege to the user",
}
"""Statuses that every request would meet alike."""

REFUSED: Final = {
    grpc.StatusCode.UNIMPLEMENTED: "does not know this operation",
    grpc.StatusCode.INVALID_ARGUMENT: "refuses the request",
}
"""Statuses of one request that does not become better by waiting."""

DENIED: Final = re.compile(r"\bdeny api\b", re.IGNORECASE)
"""What Zilliz Cloud says, with the status UNKNOWN, of what it does for nobody
(milvus-sdk-java issue 625)."""

UNEXPECTED: Final = 65535
"""Milvus's code for what has none of its own."""

_HTTP_STATUS: Final = re.compile(r"http2? header with status: (?!413)(\d+)")
"""What gRPC says of an answer that is none of gRPC's: it comes from a proxy on the way."""

_LEGACY_CODES: Final[Mapping[int, int]] = {
    common_pb2.PermissionDenied: 1401,
    common_pb2.CollectionNotExists: 100,
    common_pb2.CollectionNameNotFound: 100,
    common_pb2.IllegalArgument: 1100,
    common_pb2.IndexNotExist: 700,
    common_pb2.RateLimit: 8,
    common_pb2.ForceDeny: 9,
    common_pb2.MemoryQuotaExhausted: 3,
    common_pb2.DiskQuotaExhausted: 4,
    common_pb2.TimeTickLongDelay: 11,
    common_pb2.NotReadyServe: 1,
    common_pb2.NotReadyCoordActivating: 1,
}
"""The codes that Milvus has today for what its older enum ``ErrorCode`` says; the same
numbers mean other things in the two (``pkg/util/merr``, ``oldCode``)."""


def status_code(status: common_pb2.Status) -> int:
    """Return Milvus's code in a ``common.Status``, 0 for success.

    A proxy that answers with the older enum alone is one before 2.3, or one from 2.5.18 to
    2.6.20 that is asked to describe a collection which does not exist.
    """
    if status.code or not status.error_code:
        return int(status.code)
    return _LEGACY_CODES.get(status.error_code, UNEXPECTED)


def is_offered_to_nobody(error: grpc.RpcError) -> bool:
    """Tell whether a server has nothing that does what was asked, whoever asks."""
    is_unknown = error.code() is grpc.StatusCode.UNIMPLEMENTED and not is_http(error)
    return is_unknown or DENIED.search(str(error.details())) is not None


def is_http(error: grpc.RpcError) -> bool:
    """Tell whether the answer to a call is none of gRPC's."""
    return _HTTP_STATUS.search(str(error.details())) is not None


def address(uri: str) -> str:
    """Return host and port; Milvus listens on 19530, behind TLS usually on 443."""
    parts = urlsplit(uri)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or (443 if parts.scheme == 'https' else 19530)}"


def login_in(uri: str) -> str:
    """Return user name and password of an address as a token; empty if it has none."""
    parts = urlsplit(uri)
    if not (parts.username and parts.password):
        return ""
    return f"{unquote(parts.username)}:{unquote(parts.password)}"
