"""Whether a task makes progress, and how far it is behind.

A task is as well as the worst of its parts, in the order of ``SEVERITY``.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cdc_actors.service.problems import operation_time
from cdc_actors.service.projection import health_of, view_of
from cdc_actors.tasks import TaskState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.service.snapshot import Observation, ProgressMonitor
    from cdc_actors.service.source_clock import Moment
    from cdc_actors.service.views import Health, HealthStatus, TaskView

STALL_SECONDS = 20.0
"""How long a task that has work may make no progress before it is called stalled."""

BEHIND_SECONDS = 10.0
"""From which lag on a task that moves is called catching up."""

CLAIM_SECONDS = 86_400.0
"""How long it is said that another task wanted a collection, and was refused."""

SEVERITY: tuple[HealthStatus, ...] = (
    "failed",
    "paused",
    "retrying",
    "stalled",
    "degraded",
    "catching_up",
    "starting",
    "unknown",
    "ok",
)
"""The worst first: nothing moves and nothing will by itself; nothing moves; a part does
not move or lacks something; everything moves, and is not there yet."""


def view_at(observation: Observation, now: Moment, node: str = "") -> TaskView:
    """Return a task as it is at a moment, with the service that has it."""
    view = view_of(observation.snapshot)
    return replace(
        view,
        lag_seconds=lag_at(observation, now),
        health=_at(view.health, observation, now),
        node=node,
    )


def health_at(observation: Observation, now: Moment) -> Health:
    """Return the health alone, which costs less than the view."""
    return _at(health_of(observation.snapshot), observation, now)


def lag_at(observation: Observation, now: Moment) -> float | None:
    """Return the lag in seconds by the source's clock, None while it is unknown."""
    confirmed = observation.snapshot.confirmed_at
    if confirmed is None or observation.snapshot.state is not TaskState.RUNNING:
        return None
    return max(0.0, round(now.source - confirmed, 3))


def _at(health: Health, observation: Observation, now: Moment) -> Health:
    """Return what the health comes to at a moment."""
    clocks = [now.warning] if now.warning else []
    warnings = (
        *clocks,
        *_claims(observation, now),
        *_races(observation, now),
        *_refused_kinds(observation),
    )
    health = replace(health, warnings=warnings)
    if observation.snapshot.state is not TaskState.RUNNING:
        return health
    status = min(_statuses(health, observation, now), key=SEVERITY.index)
    since, error = _since(health, observation.monitor), health.error
    match status:
        case "stalled":
            since, error = _stall(observation.monitor, now)
        case "degraded":
            since = health.problems.since or since
            error = health.problems.summary
    return replace(health, status=status, since=since, error=error)


def _since(health: Health, monitor: ProgressMonitor) -> datetime:
    """The log does not say when a task that runs began to be well, or behind."""
    if health.failure_class or monitor.since is None:
        return health.since
    return max(health.since, monitor.since)


def _claims(observation: Observation, now: Moment) -> Iterator[str]:
    """Yield which of a task's collections another task wanted lately."""
    task = observation.snapshot.task
    for number, claim in task.claims.items():
        entry, at = task.collections.get(number), operation_time(claim)
        if entry is not None and now.source - at.timestamp() < CLAIM_SECONDS:
            named = f"{entry.database}.{entry.name}"
            yield f"{named}: {claim.refused}, at {at:%Y-%m-%d %H:%M:%S} UTC"


def _races(observation: Observation, now: Moment) -> Iterator[str]:
    """Yield which rows of files will come too late for the log to go on after them."""
    snapshot = observation.snapshot
    coming = snapshot.progress.snapshots if snapshot.progress else {}
    for number, each in coming.items():
        entry = snapshot.task.collections.get(number)
        if entry is None or each.kept_until is None:
            continue
        kept, left = each.kept_until - now.source, each.seconds_left or 0.0
        if left > kept:
            yield (
                f"the rows of {entry.database}.{entry.name} in files take {left:.0f} s "
                f"more, and the log keeps what follows for {max(kept, 0.0):.0f} s: "
                "lengthen the retention of the source's message queue"
            )


def _refused_kinds(observation: Observation) -> Iterator[str]:
    """Yield what the target does none of, which rows do not need."""
    for operation in observation.snapshot.task.refused_kinds.values():
        yield f"{operation.kind}: {operation.refused}"


def _statuses(
    health: Health, observation: Observation, now: Moment
) -> Iterator[HealthStatus]:
    """Yield how well each part of a task is.

    Whatever hangs, what the target has confirmed no longer grows: the source's ticks move
    it even when nobody writes. Only a task without any collection has nothing to confirm,
    and where one collection is tried again its channels do not move for a reason.
    """
    yield health.status
    lag = lag_at(observation, now)
    idle = health.status == "ok" and lag is None
    monitor = observation.monitor
    held = health.problems.retrying > 0
    moved = monitor.last_report if held else monitor.last_progress
    if now.monotonic - moved > STALL_SECONDS and not idle:
        yield "stalled"
    if health.problems.count:
        yield "degraded"
    if lag is not None and lag > BEHIND_SECONDS:
        yield "catching_up"


def _stall(monitor: ProgressMonitor, now: Moment) -> tuple[datetime, str]:
    silent = now.monotonic - monitor.last_report
    still = now.monotonic - monitor.last_progress
    since = datetime.fromtimestamp(now.wall - still, UTC)
    if silent > STALL_SECONDS / 2:
        return since, (
            f"no report from the reader for {silent:.0f} seconds: the source or "
            "the event log does not answer it"
        )
    return since, (
        f"nothing new has been confirmed for {still:.0f} seconds: the target does not "
        "answer, or the source writes no ticks"
    )
