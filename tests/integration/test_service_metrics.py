"""Metrics of a running service, scraped as Prometheus does."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from tests.support.books import Books, wait_keys
from tests.support.cdc import Cdc, wait_until

if TYPE_CHECKING:
    from pymilvus import MilvusClient

    from cdc_actors.embedded.lite import EmbeddedLite


Samples = dict[tuple[str, frozenset[str]], float]


def scrape(cdc: Cdc) -> Samples:
    """Return the samples by name and values of the labels."""
    with urlopen(f"http://127.0.0.1:{cdc.port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (each.name, frozenset(each.labels.values())): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def value(samples: Samples, name: str, *labels: str) -> float:
    """Return one sample, -1 if there is none."""
    return samples.get((name, frozenset(labels)), -1)


def test_metrics_follow_the_task(
    client: MilvusClient, target_lite: EmbeddedLite, lite: MilvusClient, cdc: Cdc
) -> None:
    """What is applied, confirmed, asked and written down is seen; a pause is, too."""
    Books(client).create().insert(range(3))
    task = cdc.create(target_lite.uri)
    wait_keys(lite, range(3))
    cdc.wait_caught_up(task)
    wait_until(
        lambda: value(scrape(cdc), "cdc_rows_applied_total", task) == 3,
        "rows are counted",
    )
    seen = scrape(cdc)
    assert value(seen, "cdc_ready") == 1
    assert value(seen, "cdc_task_state", task, "Running") == 1
    assert value(seen, "cdc_collections", task, "live") == 1
    assert value(seen, "cdc_lag_seconds", task) >= 0
    assert value(seen, "cdc_last_confirmed_timestamp_seconds", task) > 1.6e9
    assert value(seen, "cdc_target_request_seconds_count", "Insert") >= 1
    assert value(seen, "cdc_event_log_append_seconds_count") >= 2
    assert value(seen, "cdc_memory_limit_bytes") > 0
    cdc.ask("pause", task_id=task)
    paused = scrape(cdc)
    assert value(paused, "cdc_task_state", task, "Paused") == 1
    assert value(paused, "cdc_task_health", task, "paused") == 1
    assert value(paused, "cdc_lag_seconds", task) == -1
