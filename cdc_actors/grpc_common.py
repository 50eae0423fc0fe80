"""What every client of a Milvus over gRPC needs."""

from __future__ import annotations

from typing import Final

import grpc

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
