"""How much work tasks are, as services share it out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdc_actors.pipeline.work import AppliedRows
from cdc_actors.service.load_meter import MEASURE_SECONDS, STAY_SECONDS, LoadMeter
from cdc_actors.service.snapshot import Observation, ProgressMonitor, TaskSnapshot
from cdc_actors.store.task_owners import Claimed
from tests.support.tasks import CLIENT, new_task

STEP = MEASURE_SECONDS
MEGABYTE = 1_000_000


def seen(snapshot: TaskSnapshot, *, megabytes: float = 0.0) -> list[Observation]:
    """Return what is observed of a task to which so much was applied in all."""
    applied = AppliedRows(inserted_bytes=int(megabytes * MEGABYTE))
    snapshot = replace(snapshot, applied=applied)
    return [Observation(snapshot, ProgressMonitor(0, 0))]


@pytest.fixture
def running() -> TaskSnapshot:
    """Return a task that runs."""
    return TaskSnapshot(task=new_task())


@pytest.fixture
def meter() -> LoadMeter:
    """Return one that knows nothing yet."""
    return LoadMeter()


def measured(meter: LoadMeter, seen: list[Observation], now: float) -> list[float]:
    """Measure, and have it told; return the loads that others are to know."""
    changed = meter.measure(seen, now)
    meter.note_told(changed)
    return list(changed.values())


def test_a_task_counts_by_itself_and_by_what_comes(
    meter: LoadMeter, running: TaskSnapshot
) -> None:
    """One, and one for a megabyte a second; half of a change at a time."""
    assert measured(meter, seen(running, megabytes=900), 0) == []
    assert measured(meter, seen(running, megabytes=900 + 8 * STEP), STEP) == [5.0]
    assert measured(meter, seen(running, megabytes=900 + 16 * STEP), 2 * STEP) == [7.0]
    assert measured(meter, seen(running, megabytes=900 + 16 * STEP), 3 * STEP) == [4.0]
    assert meter.told(running.task.task_id) == 4.0


def test_a_small_change_is_not_told(meter: LoadMeter, running: TaskSnapshot) -> None:
    """The store is not written to for it, nor does a task move by it."""
    measured(meter, seen(running), 0)
    assert measured(meter, seen(running, megabytes=0.3 * STEP), STEP) == []
    assert measured(meter, seen(running, megabytes=0.8 * STEP), 2 * STEP) == [1.25]


def test_a_paused_task_counts_nothing(meter: LoadMeter, running: TaskSnapshot) -> None:
    """As soon as it is; and one that is resumed counts as one that was not measured."""
    task_id = running.task.task_id
    assert measured(meter, seen(running), 0) == []
    running.task.pause("for the test", [], who=CLIENT, why="test")
    assert measured(meter, seen(running, megabytes=99), STEP) == [0.0]
    assert measured(meter, seen(running, megabytes=99), 2 * STEP) == []
    assert meter.told(task_id) == 0.0
    running.task.resume(who=CLIENT, why="test")
    assert measured(meter, seen(running, megabytes=99), 3 * STEP) == [1.0]


def test_what_is_counted_anew_changes_nothing(
    meter: LoadMeter, running: TaskSnapshot
) -> None:
    """A task that came back counts from zero, with the load that it had elsewhere."""
    meter.note_claimed(Claimed(running.task.task_id, load=9.0), 0)
    assert measured(meter, seen(running, megabytes=500), 0) == []
    assert measured(meter, seen(running, megabytes=1), STEP) == []
    assert meter.told(running.task.task_id) == 9.0


def test_a_task_that_was_not_told_of_is_measured_again(
    meter: LoadMeter, running: TaskSnapshot
) -> None:
    """The store may have been away."""
    meter.measure(seen(running), 0)
    assert list(meter.measure(seen(running, megabytes=STEP), STEP).values()) == [1.5]
    assert meter.told(running.task.task_id) == 1.0
    assert list(
        meter.measure(seen(running, megabytes=2 * STEP), 2 * STEP).values()
    ) == [1.5]


def test_a_task_that_has_just_moved_stays(
    meter: LoadMeter, running: TaskSnapshot
) -> None:
    """For a minute; one that was left by a service that is gone may move at once."""
    moved = running.task.task_id
    meter.note_claimed(Claimed(moved, was_moved=True), 0)
    meter.note_claimed(Claimed("left", was_left=True), 0)
    measured(meter, seen(running), STAY_SECONDS - 1)
    assert meter.stays(moved, STAY_SECONDS - 1)
    assert not meter.stays(moved, STAY_SECONDS)
    assert not meter.stays("left", 0)


def test_it_measures_now_and_then(meter: LoadMeter, running: TaskSnapshot) -> None:
    """At first at once, so that the paused are soon known."""
    assert meter.is_due(0)
    meter.measure(seen(running), 0)
    assert not meter.is_due(STEP - 1)
    assert meter.is_due(STEP)
