"""All metric families of the service, from what its parts tell."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from cdc_actors.service.comparison_metrics import comparison_families
from cdc_actors.service.metrics import families
from cdc_actors.service.overview import client_id, summary_at
from cdc_actors.service.views import Readiness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cdc_actors.service.comparisons import Comparisons
    from cdc_actors.service.metric_family import Family
    from cdc_actors.service.snapshot import Statistics
    from cdc_actors.service.source_clock import Moment
    from cdc_actors.service.tenure import Ownership


def scraped(
    statistics: Statistics | None,
    missing: Mapping[str, str],
    ownership: Ownership | None,
    moment: Moment,
    comparisons: Callable[[], Comparisons],
) -> Iterable[Family]:
    """Return the metric families of service and tasks; writes nothing.

    ``missing`` is as in ``Readiness``; ``comparisons`` is called where there are tasks.
    """
    seen = statistics.observations if statistics is not None else ()
    known = families(
        [summary_at(each, moment) for each in seen],
        statistics,
        Readiness(ready=not missing, missing=dict(missing)),
        store_takes_writes=ownership.store_takes_writes if ownership else None,
        retention=ownership.retention if ownership else {},
        now=moment.source,
    )
    ids = {each.snapshot.task.task_id: client_id(each.snapshot.task) for each in seen}
    found = comparison_families(
        replace(each, task_id=ids[each.task_id])
        for each in (comparisons().views() if ids else ())
        if each.task_id in ids
    )
    return chain(known, found)
