"""Metrics as a scrape finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from tests.support.cdc import Cdc

Samples = dict[tuple[str, frozenset[str]], float]


def scrape(cdc: Cdc) -> Samples:
    """Return the samples by name and values of the labels."""
    with urlopen(f"http://127.0.0.1:{cdc.port}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    return {
        (each.name, frozenset(each.labels.values())): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def value(samples: Samples, name: str, *labels: str) -> float:
    """Return one sample, -1 if there is none."""
    return samples.get((name, frozenset(labels)), -1)
