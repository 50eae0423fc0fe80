"""``GET /metrics``, for Prometheus and what speaks its formats."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from cdc_actors.instruments import INSTRUMENTS
from cdc_http.exposition import encoded

if TYPE_CHECKING:
    import falcon

    from cdc_http.service import TaskService

_OPEN_METRICS = "application/openmetrics-text"


class MetricsResource:
    """``GET /metrics`` and, where milvus-cdc has it, ``/cdc/metrics``.

    Prometheus's text format 0.0.4, or OpenMetrics for who asks for it.
    """

    methods: ClassVar = ("GET",)
    open: ClassVar = False

    def __init__(self, service: TaskService) -> None:
        self._service = service
        self._others = CollectorRegistry()
        self._others.register(INSTRUMENTS)
        ProcessCollector(registry=self._others)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with all metrics."""
        encode_others, content_type = choose_encoder(req.accept)
        resp.content_type = content_type
        open_metrics = content_type.startswith(_OPEN_METRICS)
        ours = encoded(self._service.metrics(), open_metrics=open_metrics)
        resp.data = ours + encode_others(self._others)
