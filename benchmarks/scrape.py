"""What one scrape of /metrics takes of a processor, with a hundred tasks.

    python -m benchmarks.scrape

Each task runs, has ten collections, one of them set aside, a comparison of all of them,
and everything that a metric tells of. What the supervisor's answer to one message takes is
not in it.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import chain
from statistics import median
from typing import TYPE_CHECKING

import falcon.testing

from cdc_actors.compare import CollectionReport
from cdc_actors.pipeline.messages import RunProgressed
from cdc_actors.pipeline.work import AppliedRows
from cdc_actors.service.comparison_metrics import comparison_families
from cdc_actors.service.comparison_state import ComparisonRequest, ComparisonState
from cdc_actors.service.metrics import families
from cdc_actors.service.overview import summary_at
from cdc_actors.service.retention import Retention
from cdc_actors.service.snapshot import (
    Observation,
    ProgressMonitor,
    Statistics,
    TaskSnapshot,
)
from cdc_actors.service.source_clock import Moment
from cdc_actors.service.views import Readiness
from cdc_actors.tasks import SUPERVISOR, CollectionState
from cdc_http.metrics import MetricsResource
from tests.support.tasks import checkpoint, entry, new_task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.service.metric_family import Family

TASKS = 100
COLLECTIONS = 10
SCRAPES = 200
NOW = Moment(wall=1000.0, monotonic=0.0, source=1000.0)
ACCEPT = {"text": "*/*", "OpenMetrics": "application/openmetrics-text"}


class Service:
    """What the supervisor has told, made metrics as the service does."""

    def __init__(self) -> None:
        snapshots = [self._snapshot() for _ in range(TASKS)]
        ids = [each.task.task_id for each in snapshots]
        self._statistics = Statistics(
            observations=[Observation(s, ProgressMonitor(0, 0)) for s in snapshots],
            mailboxes=dict.fromkeys(ids, 0),
            restarts=dict.fromkeys(ids, 0),
            memory_held=0,
            memory_limit=1,
        )
        self._comparisons = [_comparison(each) for each in ids]
        self._retention = dict.fromkeys(ids, Retention(2000.0, 3600.0))

    def _snapshot(self) -> TaskSnapshot:
        task = new_task()
        task.collections = {each: entry(each) for each in range(COLLECTIONS - 1)}
        task.collections[COLLECTIONS] = entry(
            COLLECTIONS, state=CollectionState.SET_ASIDE, reason="its schema differs"
        )
        applied = AppliedRows(1, 2, inserted_bytes=30, deleted_bytes=40)
        now = 999 << 18
        at = checkpoint(tick=now)
        progress = RunProgressed(
            1,
            {at.position.channel: at},
            now,
            applied,
            False,
            {},
            head=now,
            applied_by=dict.fromkeys(task.collections, applied),
        )
        return TaskSnapshot(
            task=task,
            progress=progress,
            applied=applied,
            confirmed=now,
            failures={"transient": 1},
        )

    def metrics(self) -> Iterable[Family]:
        """Return the metric families."""
        known = families(
            [summary_at(each, NOW) for each in self._statistics.observations],
            self._statistics,
            Readiness(ready=True, missing={}),
            store_takes_writes=True,
            retention=self._retention,
            now=NOW.source,
        )
        compared = comparison_families(each.view() for each in self._comparisons)
        return chain(known, compared)


def _comparison(task_id: str) -> ComparisonState:
    state = ComparisonState(
        task_id=task_id,
        request=ComparisonRequest(),
        who=SUPERVISOR,
        began=datetime.now(UTC),
    )
    state.reports = [
        CollectionReport(database="default", name=f"c{each}", source_rows=7)
        for each in range(COLLECTIONS)
    ]
    state.end("equal")
    state.is_recorded = True
    return state


def main() -> None:
    """Run it."""
    resource = MetricsResource(Service())
    for name, accept in ACCEPT.items():
        taken = []
        for _ in range(SCRAPES):
            request = falcon.testing.create_req(headers={"Accept": accept})
            answer = falcon.Response()
            begun = time.thread_time()
            resource.on_get(request, answer)
            taken.append(time.thread_time() - begun)
        lines = answer.data.count(b"\n")
        print(
            f"{name:12} {median(taken) * 1e3:.1f} ms at the median, "
            f"{min(taken) * 1e3:.1f} ms at best, {lines} lines"
        )


if __name__ == "__main__":
    main()
