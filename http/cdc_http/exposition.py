"""Gauges, counters and infos in Prometheus's text format, or in OpenMetrics.

https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://prometheus.io/docs/specs/om/open_metrics_spec/ say what is written.

PERF: prometheus-client's own way takes ten times as long, most of it to look at each
character of each label.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.service.metric_family import Family

_SUFFIXES = {"counter": "_total", "info": "_info"}
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_MAX_CACHED = 20_000
"""The labels of so many series are kept from one scrape to the next."""


def encoded(families: Iterable[Family], *, open_metrics: bool) -> bytes:
    """Return families as lines; OpenMetrics needs ``# EOF`` behind the last ones."""
    shown = [_text(each, open_metrics=open_metrics) for each in families]
    return "".join(shown).encode()


def _text(family: Family, *, open_metrics: bool) -> str:
    """Return the lines of a family, whose text is ours and needs no escapes."""
    name, kind = family.name, family.kind
    sample = name + _SUFFIXES.get(kind, "")
    shown = name if open_metrics else sample
    type_ = "gauge" if kind == "info" and not open_metrics else kind
    head = f"# HELP {shown} {family.text}\n# TYPE {shown} {type_}\n"
    names = family.labels
    lines = [
        f"{sample}{_labels(names, values)} {float(value)}\n"
        for values, value in family.rows
    ]
    return head + "".join(lines)


@lru_cache(_MAX_CACHED)
def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    if not names:
        return ""
    pairs = (
        f'{name}="{value.translate(_ESCAPES)}"'
        for name, value in zip(names, values, strict=True)
    )
    return f"{{{','.join(pairs)}}}"
