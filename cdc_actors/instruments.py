"""What is timed where it happens, for ``GET /metrics``. Any thread may observe.

What a task is and has done is asked of the tasks instead: see ``service.metrics``.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram

INSTRUMENTS = CollectorRegistry()

TARGET_REQUEST_SECONDS = Histogram(
    "cdc_target_request_seconds",
    "How long targets took to answer, by the request's name; refusals included.",
    ["method"],
    registry=INSTRUMENTS,
)
TARGET_ROWS_SECONDS = Histogram(
    "cdc_target_rows_seconds",
    "How long a target, by its address, took to insert or delete rows.",
    ["target"],
    # Few: there may be as many targets as tasks.
    buckets=(0.1, 1, 5, 10),
    registry=INSTRUMENTS,
)
EVENT_LOG_APPEND_SECONDS = Histogram(
    "cdc_event_log_append_seconds",
    "How long the event log took to make events durable; failures included.",
    registry=INSTRUMENTS,
)
TIMERS = (TARGET_REQUEST_SECONDS, TARGET_ROWS_SECONDS, EVENT_LOG_APPEND_SECONDS)
