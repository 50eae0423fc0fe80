"""The newest comparison of each task as Prometheus's metric families."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.service.comparison_state import DIFFERENCES
from cdc_actors.service.metric_family import Family

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cdc_actors.service.views import ComparisonView


def comparison_families(views: Iterable[ComparisonView]) -> Iterator[Family]:
    """Return what is known: of one that runs how far it is, of others what came of it."""
    shown = list(views)
    ended = [view for view in shown if view.ended is not None]
    yield _gauge(
        "cdc_comparison_running",
        "1 while the task's source and target are being compared.",
        ((view.task_id, view.ended is None) for view in shown),
    )
    yield _gauge(
        "cdc_comparison_rows",
        "Rows of the source that the newest comparison has looked at.",
        ((view.task_id, view.counts["rows"]) for view in shown),
    )
    yield _gauge(
        "cdc_comparison_collections",
        "Collections that it compares.",
        ((view.task_id, view.collections) for view in shown),
    )
    yield _gauge(
        "cdc_comparison_collections_done",
        "How many of them it has done.",
        ((view.task_id, view.collections_done) for view in shown),
    )
    yield _gauge(
        "cdc_comparison_ended_timestamp_seconds",
        "When the newest comparison ended.",
        ((view.task_id, view.ended.timestamp()) for view in ended if view.ended),
    )
    yield Family(
        "gauge",
        "cdc_comparison_differences",
        "What the newest comparison, if it has ended, found to differ, by kind.",
        ("task_id", "kind"),
        [
            ((view.task_id, kind), view.counts[kind])
            for view in ended
            for kind in DIFFERENCES
        ],
    )


def _gauge(name: str, text: str, rows: Iterable[tuple[str, float]]) -> Family:
    found = [((task_id,), value) for task_id, value in rows]
    return Family("gauge", name, text, ("task_id",), found)
