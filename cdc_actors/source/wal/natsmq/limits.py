"""For how long a stream of NATS keeps a record: by its age, and by the stream's size.

The shape is that of JetStream's ``io.nats.jetstream.api.v1.stream_info_response``. Milvus
sets the three limits when it makes a stream (2.3.5: ``natsmq.server.retention``).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_NANOSECONDS = 1e9


def kept_seconds(stream: Mapping[str, Any]) -> float | None:
    """Return what ``WalReader.kept_seconds`` does, None for a stream without limits."""
    config, state = stream["config"], stream["state"]
    age = config.get("max_age", 0) / _NANOSECONDS
    full = max(
        _share(state["bytes"], config.get("max_bytes", 0)),
        _share(state["messages"], config.get("max_msgs", 0)),
    )
    limits = [age] if age > 0 else []
    if full > 0:
        limits.append(_span(state) / full)
    return min(limits, default=None)


def _share(used: int, limit: int) -> float:
    return used / limit if limit > 0 else 0.0


def _span(state: Mapping[str, Any]) -> float:
    """Return how much later the last record was written than the first."""
    first, last = (
        datetime.fromisoformat(state[f"{end}_ts"]) for end in ("first", "last")
    )
    return (last - first).total_seconds()
