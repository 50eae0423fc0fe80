"""``GET /metrics``, for Prometheus and what speaks its formats."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from cdc_actors.instruments import INSTRUMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import falcon
    from prometheus_client.core import Metric

    from cdc_http.service import TaskService


class MetricsResource:
    """``GET /metrics`` and, where milvus-cdc has it, ``/cdc/metrics``.

    Prometheus's text format 0.0.4, or OpenMetrics for who asks for it.
    """

    methods: ClassVar = ("GET",)
    open: ClassVar = False

    def __init__(self, service: TaskService) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Service(service))
        self._registry.register(INSTRUMENTS)
        ProcessCollector(registry=self._registry)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with all metrics."""
        encode, resp.content_type = choose_encoder(req.accept)
        resp.data = encode(self._registry)


class _Service(Collector):
    def __init__(self, service: TaskService) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Return what the service knows of its tasks."""
        return iter(self._service.metrics())

    def describe(self) -> Iterator[Metric]:
        """Return nothing: registering must not ask the tasks."""
        return iter(())
