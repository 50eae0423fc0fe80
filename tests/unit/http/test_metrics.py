"""``GET /metrics``: its addresses, formats and access."""

from __future__ import annotations

import pytest
from prometheus_client import parser as text
from prometheus_client.openmetrics import parser as open_metrics

from cdc_actors.config.auth import Token
from cdc_actors.errors import UnavailableError
from cdc_http.tokens import new_token
from tests.support.http_service import Api, FakeService, error_of

EYE, EYE_HASH = new_token("eye")


@pytest.fixture
def api() -> Api:
    """Return the API over a service with one task."""
    api = Api()
    api.create(task_id="0" * 32)
    return api


@pytest.mark.parametrize("path", ["/metrics", "/cdc/metrics"])
@pytest.mark.parametrize(
    ("accept", "content_type", "parse"),
    [
        ("*/*", "text/plain", text.text_string_to_metric_families),
        (
            "application/openmetrics-text; version=1.0.0",
            "application/openmetrics-text",
            open_metrics.text_string_to_metric_families,
        ),
    ],
)
def test_both_formats_are_what_they_say(api, path, accept, content_type, parse) -> None:
    """Prometheus's own parsers read them: ours, and what the process and requests took."""
    answer = api.client.simulate_get(path, headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(content_type)
    names = {family.name for family in parse(answer.text)}
    assert {
        "cdc_task_health",
        "cdc_target_request_seconds",
        "process_resident_memory_bytes",
    } <= names


def test_a_viewer_may_scrape() -> None:
    """With tokens, one is needed, and the least of them is enough."""
    api = Api(tokens=[Token(name="eye", role="viewer", hash=EYE_HASH)])
    error_of(api.client.simulate_get("/metrics"), 401)
    header = {"Authorization": f"Bearer {EYE}"}
    assert api.client.simulate_get("/metrics", headers=header).status_code == 200


def test_a_service_that_does_not_answer_is_503() -> None:
    """There is no half of an answer, which would look like all of it."""
    api = Api(FakeService(failure=UnavailableError("no answer")))
    assert "no answer" in error_of(api.client.simulate_get("/metrics"), 503)
