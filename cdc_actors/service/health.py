"""Whether a task makes progress, and how far it is behind."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cdc_actors.service.projection import view_of
from cdc_actors.tasks import TaskState

if TYPE_CHECKING:
    from cdc_actors.service.snapshot import Observation, ProgressMonitor
    from cdc_actors.service.views import TaskView

STALL_SECONDS = 20.0
"""How long a task that has work may make no progress before it is called stalled."""

BEHIND_SECONDS = 10.0
"""From which lag on a task that moves is called catching up."""

_MOVING = frozenset({"ok", "starting", "catching_up"})


def view_at(observation: Observation, now: float) -> TaskView:
    """Return a task as it is at ``now``, in seconds since 1970."""
    snapshot = observation.snapshot
    view = view_of(snapshot)
    return with_health(view, snapshot.confirmed_at, observation.monitor, now)


def with_health(
    view: TaskView, confirmed: float | None, monitor: ProgressMonitor, now: float
) -> TaskView:
    """Return the view with the lag and the health of a moment; all in seconds since 1970.

    Whatever hangs, what the target has confirmed no longer grows: the source's ticks move
    it even when nobody writes. Only a task without any collection has nothing to confirm.
    """
    if view.state != TaskState.RUNNING:
        return view
    lag = None if confirmed is None else max(0.0, round(now - confirmed, 3))
    health = view.health
    still = now - monitor.last_progress
    idle = health.status == "ok" and confirmed is None
    if health.status in _MOVING and still > STALL_SECONDS and not idle:
        since = datetime.fromtimestamp(monitor.last_progress, UTC)
        error = _what_hangs(now - monitor.last_report, still)
        health = replace(health, status="stalled", since=since, error=error)
    elif health.status == "ok" and lag is not None and lag > BEHIND_SECONDS:
        health = replace(health, status="catching_up")
    return replace(view, lag_seconds=lag, health=health)


def _what_hangs(silent: float, still: float) -> str:
    if silent > STALL_SECONDS / 2:
        return (
            f"no report from the reader for {silent:.0f} seconds: the source or "
            "the event log does not answer it"
        )
    return (
        f"nothing new has been confirmed for {still:.0f} seconds: the target does not "
        "answer, or the source writes no ticks"
    )
