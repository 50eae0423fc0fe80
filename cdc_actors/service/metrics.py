"""Tasks and service as Prometheus's metric families.

Made of what the tasks have reported, so that a scrape takes no lock that data needs.
Names follow https://prometheus.io/docs/practices/naming/; what is unknown is left out.
"""

from __future__ import annotations

import threading
from collections import Counter
from importlib.metadata import version
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar, get_args

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
)

from cdc_actors.service.views import HealthStatus
from cdc_actors.tasks import CollectionState, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from cdc_actors.pipeline.work import AppliedRows
    from cdc_actors.service.retention import Retention
    from cdc_actors.service.snapshot import Statistics, TaskSnapshot
    from cdc_actors.service.views import CollectionView, Readiness, TaskView

MAX_COLLECTIONS = 1000
"""How many collections one scrape names at most: those that are not live."""

_HEALTHS = tuple(each for each in get_args(HealthStatus) if each != "unknown")
_Row = tuple[tuple[str, ...], float]
_Family = TypeVar("_Family", GaugeMetricFamily, CounterMetricFamily)


def families(
    views: Sequence[TaskView],
    statistics: Statistics | None,
    readiness: Readiness,
    *,
    store_takes_writes: bool | None,
    retention: Mapping[str, Retention],
    now: float,
) -> Iterator[Metric]:
    """Return everything that is known.

    ``statistics`` is None while this process owns no store, and there are no views;
    then ``store_takes_writes`` is None, too. ``retention`` is by task id, ``now`` by the
    source's clock in seconds since 1970.
    """
    yield from _service(readiness)
    yield from _store(store_takes_writes)
    if statistics is not None:
        yield from _tasks(views)
        yield from _collections(views)
        yield from _snapshots(views)
        yield from _statistics(statistics)
        ids = {view.task_id for view in views}
        known = {i: each for i, each in retention.items() if i in ids}
        yield from _retention(known, now)


def _service(readiness: Readiness) -> Iterator[Metric]:
    yield InfoMetricFamily(
        "cdc_build", "The version of the service.", {"version": version("cdc-actors")}
    )
    yield _gauge("cdc_ready", "1 if everything it needs is there.", readiness.ready)
    yield _gauges(
        "cdc_not_ready",
        "1 for each thing that is missing, as /readyz names it.",
        ["what"],
        (((name,), 1) for name in readiness.missing),
    )
    yield _gauge("cdc_threads", "Threads of the process.", threading.active_count())


def _store(takes_writes: bool | None) -> Iterator[Metric]:  # noqa: FBT001
    yield _gauge(
        "cdc_store_owned",
        "1 if this process owns the store; of several on one store one does.",
        takes_writes is not None,
    )
    yield _gauges(
        "cdc_store_up",
        "1 if the store took the last write, tried every few seconds.",
        [],
        [] if takes_writes is None else [((), takes_writes)],
    )


def _retention(known: Mapping[str, Retention], now: float) -> Iterator[Metric]:
    yield _gauges(
        "cdc_source_retention_seconds",
        "How long the source's log keeps a record, at least, by the queue's settings.",
        ["task_id"],
        (((task_id,), each.kept) for task_id, each in known.items()),
    )
    yield _gauges(
        "cdc_source_retention_remaining_seconds",
        "How long the log still has what comes next for the task, if it stood still.",
        ["task_id"],
        (((task_id,), round(each.until - now, 3)) for task_id, each in known.items()),
    )


def _tasks(views: Sequence[TaskView]) -> Iterator[Metric]:
    yield _gauges(
        "cdc_task_state",
        "1 for what the task is meant to do, 0 for the rest.",
        ["task_id", "state"],
        _one_of(views, tuple(TaskState), lambda view: view.state),
    )
    yield _gauges(
        "cdc_task_health",
        "1 for the health of the task, 0 for the rest.",
        ["task_id", "status"],
        _one_of(views, _HEALTHS, lambda view: view.health.status),
    )
    yield _gauges(
        "cdc_lag_seconds",
        "How old the newest change of the source is that the target has not confirmed.",
        ["task_id"],
        _known((view.task_id, view.lag_seconds) for view in views),
    )
    yield _counters(
        "cdc_operations_refused",
        "Operations of the source that were not done.",
        ["task_id"],
        (((view.task_id,), view.refused) for view in views),
    )


def _collections(views: Sequence[TaskView]) -> Iterator[Metric]:
    counts = Counter(
        (view.task_id, each.state) for view in views for each in view.collections
    )
    yield _gauges(
        "cdc_collections",
        "Collections of the task by state.",
        ["task_id", "state"],
        counts.items(),
    )
    yield _gauges(
        "cdc_collection_resync_needed",
        "1 for a collection that lacks rows which the log never had.",
        ["task_id", "database", "collection"],
        _named(views, lambda each: 1 if each.resync_needed else None),
    )
    others = chain.from_iterable(_not_live(view) for view in views)
    yield _gauges(
        "cdc_collection_state",
        f"1 for the state of a collection that is not live; {MAX_COLLECTIONS} at most.",
        ["task_id", "database", "collection", "state"],
        islice(others, MAX_COLLECTIONS),
    )


def _snapshots(views: Sequence[TaskView]) -> Iterator[Metric]:
    labels = ["task_id", "database", "collection"]
    yield _gauges(
        "cdc_snapshot_rows_sent",
        "Rows of the source's files that this run has sent of a collection.",
        labels,
        _named(views, lambda each: each.snapshot.rows if each.snapshot else None),
    )
    yield _gauges(
        "cdc_snapshot_rows_expected",
        "Rows in these files.",
        labels,
        _named(views, lambda each: each.snapshot.total if each.snapshot else None),
    )


def _statistics(statistics: Statistics) -> Iterator[Metric]:
    observed = [each.snapshot for each in statistics.observations]
    yield from _progress(observed)
    yield _counters(
        "cdc_run_failures",
        "Runs of the task that failed since the service started, by class.",
        ["task_id", "class"],
        (
            ((each.task.task_id, kind), count)
            for each in observed
            for kind, count in each.failures.items()
        ),
    )
    yield _counters(
        "cdc_task_restarts",
        "Times that the task's actor died and was started again.",
        ["task_id"],
        (((task_id,), count) for task_id, count in statistics.restarts.items()),
    )
    yield _gauges(
        "cdc_mailbox_messages",
        "Messages that wait for an actor; its task's id, or supervisor.",
        ["actor"],
        (((actor,), count) for actor, count in statistics.mailboxes.items()),
    )
    yield _gauge(
        "cdc_memory_held_bytes", "Rows held by all tasks.", statistics.memory_held
    )
    yield _gauge("cdc_memory_limit_bytes", "Their ceiling.", statistics.memory_limit)


def _progress(observed: Sequence[TaskSnapshot]) -> Iterator[Metric]:
    yield _gauges(
        "cdc_last_confirmed_timestamp_seconds",
        "Up to which moment of the source's clock the target has confirmed everything.",
        ["task_id"],
        _known((each.task.task_id, each.confirmed_at) for each in observed),
    )
    yield _gauges(
        "cdc_source_head_timestamp_seconds",
        "Of when the newest tick of the source is that was read, by the source's clock.",
        ["task_id"],
        _known((each.task.task_id, each.head_at) for each in observed),
    )
    yield _counters(
        "cdc_rows_applied",
        "Rows that the target has confirmed since the service started.",
        ["task_id", "kind"],
        _by_kind(observed, lambda rows: (rows.inserted, rows.deleted)),
    )
    yield _counters(
        "cdc_applied_bytes",
        "Bytes of their columns, or of the keys of those deleted.",
        ["task_id", "kind"],
        _by_kind(observed, lambda rows: (rows.inserted_bytes, rows.deleted_bytes)),
    )


def _not_live(view: TaskView) -> Iterator[_Row]:
    return (
        ((view.task_id, each.database, each.name, each.state), 1)
        for each in view.collections
        if each.state != CollectionState.LIVE
    )


def _named(
    views: Sequence[TaskView], of: Callable[[CollectionView], int | None]
) -> Iterator[_Row]:
    """Return what is known of collections, of so many at most."""
    found = (
        ((view.task_id, each.database, each.name), value)
        for view in views
        for each in view.collections
        if (value := of(each)) is not None
    )
    return islice(found, MAX_COLLECTIONS)


def _one_of(
    views: Sequence[TaskView], values: Sequence[str], of: Callable[[TaskView], str]
) -> Iterator[_Row]:
    return (
        ((view.task_id, value), of(view) == value) for view in views for value in values
    )


def _by_kind(
    observed: Iterable[TaskSnapshot], of: Callable[[AppliedRows], tuple[int, int]]
) -> Iterator[_Row]:
    return (
        ((each.task.task_id, kind), value)
        for each in observed
        for kind, value in zip(("insert", "delete"), of(each.applied), strict=True)
    )


def _known(values: Iterable[tuple[str, float | None]]) -> Iterator[_Row]:
    return (((name,), value) for name, value in values if value is not None)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _gauges(
    name: str, text: str, labels: Sequence[str], rows: Iterable[_Row]
) -> Metric:
    return _fill(GaugeMetricFamily(name, text, labels=labels), rows)


def _counters(
    name: str, text: str, labels: Sequence[str], rows: Iterable[_Row]
) -> Metric:
    return _fill(CounterMetricFamily(name, text, labels=labels), rows)


def _fill(family: _Family, rows: Iterable[_Row]) -> _Family:
    for labels, value in rows:
        family.add_metric(labels, value)
    return family
