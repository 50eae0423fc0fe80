"""Families as text: the same as the library writes, for any label."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from cdc_actors.service.metric_family import Family
from cdc_http.exposition import encoded

NASTY = [
    "plain",
    "",
    'a "name"',
    "back\\slash\\n",
    "two\nlines",
    "ünïcode ☃",
    "a,b={}%s",
]
GAUGES = [(("x", text), number - 0.5) for number, text in enumerate(NASTY)]
COUNTS = [((text,), 1 << (number * 9)) for number, text in enumerate(NASTY)]
FAMILIES = [
    Family("gauge", "cdc_gauge", "A gauge.", ("kind", "name"), GAUGES),
    Family("counter", "cdc_counter", "A counter.", ("name",), COUNTS),
    Family("gauge", "cdc_empty", "Of nothing.", ("name",), []),
    Family("gauge", "cdc_alone", "A value.", (), [((), True)]),
    Family("info", "cdc", "I.", ("v",), [(("1",), 1)]),
]


class Families(Collector):
    """The same families as the library has them."""

    def collect(self):
        """Return them."""
        gauge = GaugeMetricFamily("cdc_gauge", "A gauge.", labels=["kind", "name"])
        for labels, value in GAUGES:
            gauge.add_metric(labels, value)
        counter = CounterMetricFamily("cdc_counter", "A counter.", labels=["name"])
        for labels, value in COUNTS:
            counter.add_metric(labels, value)
        empty = GaugeMetricFamily("cdc_empty", "Of nothing.", labels=["name"])
        alone = GaugeMetricFamily("cdc_alone", "A value.", True)
        return [gauge, counter, empty, alone, InfoMetricFamily("cdc", "I.", {"v": "1"})]


@pytest.mark.parametrize(
    "accept", ["*/*", "application/openmetrics-text; version=1.0.0"]
)
def test_it_is_what_the_library_writes(accept) -> None:
    """In both formats, but for the order of labels and how large numbers are written."""
    registry = CollectorRegistry()
    registry.register(Families())
    encode, content_type = choose_encoder(accept)
    open_metrics = "openmetrics" in content_type
    expected = encode(registry).decode().removesuffix("# EOF\n")
    found = encoded(FAMILIES, open_metrics=open_metrics).decode()
    assert _numbers(found) == _numbers(expected)
    # Somebody's script may look for it so.
    assert "\ncdc_alone 1.0\n" in found


def _numbers(text: str) -> list[str | float]:
    """Return the lines, each sample's split into its name with labels and its value."""
    parts: list[str | float] = []
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        parts += [line] if line.startswith("#") else [name, float(value)]
    return parts
