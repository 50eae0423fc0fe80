"""Connections of pymilvus without its pings.

Servers with gRPC's own limits, Milvus Lite among them, hang up on a ping every ten seconds
("Too many pings"). Calls have deadlines instead.
"""

NO_KEEPALIVE = {"grpc.keepalive_time_ms": 2**31 - 1}
"""``grpc_options`` for pymilvus."""
