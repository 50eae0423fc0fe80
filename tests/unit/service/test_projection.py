"""What a task's health and lag say at a moment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdc_actors.service.health import STALL_SECONDS, with_health
from cdc_actors.service.projection import view_of
from cdc_actors.service.snapshot import ProgressMonitor, TaskSnapshot
from tests.support.tasks import new_task

NOW = 1_700_000_000.0
RUNNING = view_of(TaskSnapshot(task=new_task()))


def seen(
    status: str, confirmed: float | None, *, last_report: float, last_progress: float
):
    """Return a view as of NOW."""
    health = replace(RUNNING.health, status=status)
    monitor = ProgressMonitor(NOW - last_report, NOW - last_progress)
    return with_health(replace(RUNNING, health=health), confirmed, monitor, NOW)


@pytest.mark.parametrize("status", ["ok", "starting", "catching_up"])
def test_a_task_that_stands_still_with_work_is_stalled(status: str) -> None:
    """Its health says since when, and what does not answer; the lag grows on."""
    shown = seen(status, NOW - 30, last_report=0.1, last_progress=STALL_SECONDS + 1)
    assert shown.health.status == "stalled"
    assert shown.health.since.timestamp() == NOW - STALL_SECONDS - 1
    assert "the target" in (shown.health.error or "")
    assert shown.lag_seconds == 30
    silent = seen(status, NOW - 30, last_report=25, last_progress=25)
    assert "no report from the reader" in (silent.health.error or "")


def test_a_task_without_collections_is_not_stalled() -> None:
    """There is nothing to confirm: it is well, and its lag unknown."""
    shown = seen("ok", None, last_report=0.1, last_progress=3600)
    assert (shown.health.status, shown.lag_seconds) == ("ok", None)


@pytest.mark.parametrize("status", ["retrying"])
def test_a_known_failure_is_not_hidden(status: str) -> None:
    """Why it is tried again matters more than that it makes no progress."""
    assert (
        seen(status, NOW - 99, last_report=99, last_progress=99).health.status == status
    )


def test_a_task_that_moves_but_lags_is_catching_up() -> None:
    """What was confirmed is old, but it grows."""
    assert (
        seen("ok", NOW - 11, last_report=0.1, last_progress=0.2).health.status
        == "catching_up"
    )
    assert seen("ok", NOW - 1, last_report=0.1, last_progress=0.2).health.status == "ok"


def test_progress_is_what_changes() -> None:
    """A report that says nothing new is a report, but no progress."""
    monitor = ProgressMonitor(0, 0)
    monitor.update("a", 1)
    monitor.update("a", 2)
    assert (monitor.last_report, monitor.last_progress) == (2, 1)
    monitor.update("b", 3)
    assert (monitor.last_report, monitor.last_progress) == (3, 3)
