"""Metrics of a running service, scraped as Prometheus does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.books import Books, wait_keys
from tests.support.cdc import Cdc, wait_until
from tests.support.scraping import scrape, value

if TYPE_CHECKING:
    from pymilvus import MilvusClient

    from cdc_actors.embedded.lite import EmbeddedLite


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
    confirmed = value(seen, "cdc_last_confirmed_timestamp_seconds", task)
    assert value(seen, "cdc_source_head_timestamp_seconds", task) >= confirmed > 1.6e9
    assert value(seen, "cdc_store_owned") == value(seen, "cdc_store_up") == 1
    assert value(seen, "cdc_ready") == 1
    assert value(seen, "cdc_task_state", task, "Running") == 1
    assert value(seen, "cdc_collections", task, "live") == 1
    assert value(seen, "cdc_lag_seconds", task) >= 0
    assert value(seen, "cdc_target_request_seconds_count", "Insert") >= 1
    assert value(seen, "cdc_event_log_append_seconds_count") >= 2
    assert value(seen, "cdc_memory_limit_bytes") > 0
    cdc.ask("pause", task_id=task)
    paused = scrape(cdc)
    assert value(paused, "cdc_task_state", task, "Paused") == 1
    assert value(paused, "cdc_task_health", task, "paused") == 1
    assert value(paused, "cdc_lag_seconds", task) == -1
