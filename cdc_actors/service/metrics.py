"""Tasks and service as Prometheus's metric families.

Made of what the tasks have reported, so that a scrape takes no lock that data needs.
Names follow https://prometheus.io/docs/practices/naming/; what is unknown is left out.
"""

from __future__ import annotations

import threading
from importlib.metadata import version
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, get_args

from cdc_actors.grpc_common import address
from cdc_actors.service.collection_metrics import collection_families
from cdc_actors.service.metric_family import Family
from cdc_actors.service.overview import client_id
from cdc_actors.service.projection import noted_collections
from cdc_actors.service.views import HealthStatus
from cdc_actors.tasks import CollectionState, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from cdc_actors.pipeline.work import AppliedRows
    from cdc_actors.service.metric_family import Row
    from cdc_actors.service.retention import Retention
    from cdc_actors.service.snapshot import Statistics, TaskSnapshot
    from cdc_actors.service.views import CollectionView, Readiness, TaskSummary

MAX_COLLECTIONS = 1000
"""How many collections one scrape names at most: those that are not live."""

_HEALTHS = tuple(each for each in get_args(HealthStatus) if each != "unknown")
_VERSION = version("cdc-actors")
_NAMED = ["task_id", "database", "collection"]
_OF_SNAPSHOTS = (
    (
        "rows_sent",
        "Rows of the source's files that this run has sent of a collection.",
        "rows",
    ),
    ("rows_expected", "Rows in these files.", "total"),
    (
        "bytes_done",
        "Bytes of the source's files of a collection whose rows are at the target.",
        "size",
    ),
    ("bytes_expected", "Bytes of these files.", "total_size"),
    ("remaining_seconds", "How long the rest of them will take.", "seconds_left"),
)
"""The name of a metric, its description, and the member of ``SnapshotProgress``."""

_Observed = tuple[str, "TaskSnapshot"]
"""A task's id as clients know it, and the task."""

_Noted = tuple[str, "CollectionView"]
"""A task's id and one of its collections."""


def families(
    summaries: Sequence[TaskSummary],
    statistics: Statistics | None,
    readiness: Readiness,
    *,
    store_takes_writes: bool | None,
    retention: Mapping[str, Retention],
    now: float,
) -> Iterator[Family]:
    """Return everything that is known, of tasks by the ids that clients know.

    ``statistics`` is None while this process owns no store, and there are no tasks;
    then ``store_takes_writes`` is None, too. ``retention`` is by task id, ``now`` by the
    source's clock in seconds since 1970.
    """
    yield from _service(readiness)
    yield from _store(store_takes_writes)
    if statistics is None:
        return
    snapshots = [each.snapshot for each in statistics.observations]
    observed = [(client_id(each.task), each) for each in snapshots]
    ids = {each.task.task_id: task_id for task_id, each in observed}
    known = {ids[i]: each for i, each in retention.items() if i in ids}
    noted = [(i, each) for i, shown in observed for each in noted_collections(shown)]
    yield from _tasks(summaries)
    yield from _collections(summaries, noted)
    yield from collection_families(observed, now)
    yield from _snapshots(noted)
    yield from _progress(observed)
    yield from _statistics(statistics, ids)
    yield from _retention(known, now)


def _service(readiness: Readiness) -> Iterator[Family]:
    yield Family(
        "info",
        "cdc_build",
        "The version of the service.",
        ("version",),
        [((_VERSION,), 1)],
    )
    yield _gauge("cdc_ready", "1 if everything it needs is there.", readiness.ready)
    yield _gauges(
        "cdc_not_ready",
        "1 for each thing that is missing, as /readyz names it.",
        ["what"],
        (((name,), 1) for name in readiness.missing),
    )
    yield _gauge("cdc_threads", "Threads of the process.", threading.active_count())


def _store(takes_writes: bool | None) -> Iterator[Family]:  # noqa: FBT001
    yield _gauge(
        "cdc_store_owned",
        "1 if this process may write to the store; of several on one SQLite one may.",
        takes_writes is not None,
    )
    yield _gauges(
        "cdc_store_up",
        "1 if the store took the last write, tried every few seconds.",
        [],
        [] if takes_writes is None else [((), takes_writes)],
    )


def _retention(known: Mapping[str, Retention], now: float) -> Iterator[Family]:
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


def _tasks(summaries: Sequence[TaskSummary]) -> Iterator[Family]:
    yield Family(
        "info",
        "cdc_task",
        "The address of the task's target.",
        ("task_id", "target"),
        [((each.task_id, address(each.uri)), 1) for each in summaries],
    )
    yield _gauges(
        "cdc_task_state",
        "1 for what the task is meant to do, 0 for the rest.",
        ["task_id", "state"],
        _one_of(summaries, tuple(TaskState), lambda each: each.state),
    )
    yield _gauges(
        "cdc_task_health",
        "1 for the health of the task, 0 for the rest.",
        ["task_id", "status"],
        _one_of(summaries, _HEALTHS, lambda each: each.health.status),
    )
    yield _gauges(
        "cdc_lag_seconds",
        "How old the newest change of the source is that the target has not confirmed.",
        ["task_id"],
        _known((each.task_id, each.lag_seconds) for each in summaries),
    )
    yield _counters(
        "cdc_operations_refused",
        "Operations of the source that were not done.",
        ["task_id"],
        (((each.task_id,), each.operations_refused) for each in summaries),
    )


def _collections(
    summaries: Sequence[TaskSummary], noted: Sequence[_Noted]
) -> Iterator[Family]:
    yield _gauges(
        "cdc_collections",
        "Collections of the task by state.",
        ["task_id", "state"],
        (
            ((each.task_id, state), count)
            for each in summaries
            for state, count in each.collections.items()
        ),
    )
    yield _gauges(
        "cdc_collection_resync_needed",
        "1 for a collection that lacks rows which the log never had.",
        _NAMED,
        _named(noted, lambda each: 1 if each.resync_needed else None),
    )
    others = (
        ((task_id, each.database, each.name, each.state), 1.0)
        for task_id, each in noted
        if each.state != CollectionState.LIVE
    )
    yield _gauges(
        "cdc_collection_state",
        f"1 for the state of a collection that is not live; {MAX_COLLECTIONS} at most.",
        [*_NAMED, "state"],
        islice(others, MAX_COLLECTIONS),
    )


def _snapshots(noted: Sequence[_Noted]) -> Iterator[Family]:
    coming = [each for each in noted if each[1].snapshot is not None]
    for name, text, member in _OF_SNAPSHOTS:
        value = attrgetter(f"snapshot.{member}")
        yield _gauges(f"cdc_snapshot_{name}", text, _NAMED, _named(coming, value))


def _statistics(statistics: Statistics, ids: Mapping[str, str]) -> Iterator[Family]:
    yield _counters(
        "cdc_task_restarts",
        "Times that the task's actor died and was started again.",
        ["task_id"],
        (((ids.get(i, i),), count) for i, count in statistics.restarts.items()),
    )
    yield _gauges(
        "cdc_mailbox_messages",
        "Messages that wait for an actor; its task's id, or supervisor.",
        ["actor"],
        (((ids.get(i, i),), count) for i, count in statistics.mailboxes.items()),
    )
    yield _gauge(
        "cdc_memory_held_bytes", "Rows held by all tasks.", statistics.memory_held
    )
    yield _gauge("cdc_memory_limit_bytes", "Their ceiling.", statistics.memory_limit)


def _progress(observed: Sequence[_Observed]) -> Iterator[Family]:
    yield _gauges(
        "cdc_last_confirmed_timestamp_seconds",
        "Up to which moment of the source's clock the target has confirmed everything.",
        ["task_id"],
        _known((task_id, each.confirmed_at) for task_id, each in observed),
    )
    yield _gauges(
        "cdc_source_head_timestamp_seconds",
        "Of when the newest tick of the source is that was read, by the source's clock.",
        ["task_id"],
        _known((task_id, each.head_at) for task_id, each in observed),
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
    yield _counters(
        "cdc_run_failures",
        "Runs of the task that failed since the service started, by class.",
        ["task_id", "class"],
        (
            ((task_id, kind), count)
            for task_id, each in observed
            for kind, count in each.failures.items()
        ),
    )


def _named(
    noted: Sequence[_Noted], of: Callable[[CollectionView], float | None]
) -> Iterator[Row]:
    """Return what is known of collections, of so many at most."""
    found = (
        ((task_id, each.database, each.name), value)
        for task_id, each in noted
        if (value := of(each)) is not None
    )
    return islice(found, MAX_COLLECTIONS)


def _one_of(
    summaries: Sequence[TaskSummary],
    values: Sequence[str],
    of: Callable[[TaskSummary], str],
) -> Iterator[Row]:
    return (
        ((each.task_id, value), of(each) == value)
        for each in summaries
        for value in values
    )


def _by_kind(
    observed: Iterable[_Observed], of: Callable[[AppliedRows], tuple[int, int]]
) -> Iterator[Row]:
    return (
        ((task_id, kind), value)
        for task_id, each in observed
        for kind, value in zip(("insert", "delete"), of(each.applied), strict=True)
    )


def _known(values: Iterable[tuple[str, float | None]]) -> Iterator[Row]:
    return (((name,), value) for name, value in values if value is not None)


def _gauge(name: str, text: str, value: float) -> Family:
    return Family("gauge", name, text, (), [((), value)])


def _gauges(name: str, text: str, labels: Sequence[str], rows: Iterable[Row]) -> Family:
    return Family("gauge", name, text, tuple(labels), rows)


def _counters(
    name: str, text: str, labels: Sequence[str], rows: Iterable[Row]
) -> Family:
    return Family("counter", name, text, tuple(labels), rows)
