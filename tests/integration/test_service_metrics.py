"""Metrics of a running service, scraped as Prometheus does."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cdc_actors
from tests.support.books import Books, wait_keys
from tests.support.cdc import Cdc, wait_until
from tests.support.prometheus import Prometheus, scraping
from tests.support.scraping import scrape, value

if TYPE_CHECKING:
    from pymilvus import MilvusClient

    from cdc_actors.embedded.lite import EmbeddedLite

THREE_DAYS = 3 * 24 * 3600
ASSETS = Path(cdc_actors.__file__).with_name("assets")
OF_TROUBLE = {
    "Alerts",
    "Collections that are not live",
    "Collections that lack rows",
    "Differences",
    "Failures",
    "From the source's files",
    "Missing",
    "Rows compared",
    "Waiting messages and refused operations",
}
"""Panels that show nothing while all is well, or before a comparison."""


def panel_queries() -> list[tuple[str, str]]:
    """Return the title of a panel with each of its queries, as Grafana sends it."""
    panels = json.loads((ASSETS / "dashboard.json").read_text())["panels"]
    return [
        (
            panel["title"],
            target["expr"].replace("$__rate_interval", "1m").replace("$task", ".*"),
        )
        for panel in panels
        for target in panel["targets"]
    ]


def test_metrics_follow_the_task(
    client: MilvusClient, target_lite: EmbeddedLite, lite: MilvusClient, cdc: Cdc
) -> None:
    """What is applied, confirmed, asked and written down is seen; a pause is, too."""
    Books(client).create().insert(range(3))
    task = cdc.create(target_lite.uri)
    wait_keys(lite, range(3))
    cdc.wait_caught_up(task)
    Books(client).delete([0])
    wait_keys(lite, range(1, 3))
    wait_until(
        lambda: value(scrape(cdc), "cdc_rows_applied_total", task, "delete") == 1,
        "rows are counted",
    )
    seen = scrape(cdc)
    assert value(seen, "cdc_rows_applied_total", task, "insert") == 3
    assert value(seen, "cdc_applied_bytes_total", task, "insert") > 3 * 4 * 8
    assert value(seen, "cdc_applied_bytes_total", task, "delete") == 8
    books = (task, "default", "books")
    assert value(seen, "cdc_collection_rows_applied_total", *books, "insert") == 3
    assert value(seen, "cdc_collection_rows_applied_total", *books, "delete") == 1
    assert value(seen, "cdc_collection_applied_bytes_total", *books, "delete") == 8
    assert value(seen, "cdc_collection_lag_seconds", *books) >= 0
    confirmed = value(seen, "cdc_last_confirmed_timestamp_seconds", task)
    assert value(seen, "cdc_source_head_timestamp_seconds", task) >= confirmed > 1.6e9
    assert value(seen, "cdc_store_owned") == value(seen, "cdc_store_up") == 1
    assert value(seen, "cdc_ready") == 1
    assert value(seen, "cdc_task_state", task, "Running") == 1
    assert value(seen, "cdc_collections", task, "live") == 1
    assert value(seen, "cdc_lag_seconds", task) >= 0
    assert value(seen, "cdc_target_request_seconds_count", "Insert") >= 1
    there = target_lite.uri.partition("//")[2]
    assert value(seen, "cdc_task_info", task, there) == 1
    assert value(seen, "cdc_target_rows_seconds_count", there) >= 2
    assert value(seen, "cdc_event_log_append_seconds_count") >= 2
    assert value(seen, "cdc_memory_limit_bytes") > 0
    cdc.ask("pause", task_id=task)
    paused = scrape(cdc)
    assert value(paused, "cdc_task_state", task, "Paused") == 1
    assert value(paused, "cdc_task_health", task, "paused") == 1
    assert value(paused, "cdc_lag_seconds", task) == -1
    assert value(paused, "cdc_collection_lag_seconds", *books) == -1
    assert value(paused, "cdc_collection_rows_applied_total", *books, "insert") == 3
    left = "cdc_source_retention_remaining_seconds"
    wait_until(lambda: value(scrape(cdc), left, task) > 0, "the queue was asked")
    assert value(scrape(cdc), "cdc_source_retention_seconds", task) == THREE_DAYS
    first = value(scrape(cdc), left, task)
    assert THREE_DAYS - 3600 < first < THREE_DAYS
    wait_until(lambda: value(scrape(cdc), left, task) < first, "it is counted down")


def unknown_metrics(prometheus: Prometheus, expression: str) -> list[str]:
    """Return the metrics of ours in an expression that the service does not have."""
    named = re.findall(r"\bcdc_\w+", expression)
    known = prometheus.metadata()
    ours = (re.sub(r"_(bucket|count|sum|total|info)$", "", name) for name in named)
    return [name for name in ours if name not in known]


def test_rules_and_dashboard_ask_for_what_is_there(
    client: MilvusClient,
    target_lite: EmbeddedLite,
    lite: MilvusClient,
    cdc: Cdc,
    tmp_path: Path,
) -> None:
    """A Prometheus that scrapes the service answers each query, and no alert fires."""
    Books(client).create().insert(range(3))
    cdc.create(target_lite.uri)
    wait_keys(lite, range(3))
    address = f"127.0.0.1:{cdc.port}"
    with scraping(tmp_path, address, ASSETS / "alerts.yaml") as prometheus:
        for awaited in ("count_over_time(up[1m]) > 4", "cdc_source_retention_seconds"):
            wait_until(lambda: bool(prometheus.query(awaited)), awaited)  # noqa: B023
        for title, expression in panel_queries():
            assert unknown_metrics(prometheus, expression) == []
            if title not in OF_TROUBLE:
                # A scrape that took too long leaves nothing to show until the next.
                shown = partial(prometheus.query, expression)
                wait_until(lambda: bool(shown()), f"{title}: {expression}")  # noqa: B023
        wait_until(
            lambda: all(rule["lastEvaluation"] > "1" for rule in prometheus.rules()),
            "each rule is evaluated",
        )
        for rule in prometheus.rules():
            assert rule["health"] == "ok", rule
            assert unknown_metrics(prometheus, rule["query"]) == []
        assert prometheus.query('ALERTS{alertstate="firing"}') == []
