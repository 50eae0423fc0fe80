"""What a task's health and lag say at a moment."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cdc_actors.changes import to_hybrid_ts
from cdc_actors.errors import FailureClass, KindRefusedError
from cdc_actors.pipeline.messages import Retried, RunProgressed, SnapshotProgress
from cdc_actors.pipeline.work import NO_ROWS
from cdc_actors.service.health import SEVERITY, STALL_SECONDS, health_at, view_at
from cdc_actors.service.overview import summary_at
from cdc_actors.service.problems import REASON_LENGTH, SHOWN_REASONS, resync_needed
from cdc_actors.service.projection import health_of, past_view_of
from cdc_actors.service.snapshot import Observation, ProgressMonitor, TaskSnapshot
from cdc_actors.service.source_clock import Moment
from cdc_actors.tasks import ComparisonResult, Operation, Task
from tests.support.tasks import SUPERVISOR, entry, new_task

if TYPE_CHECKING:
    from cdc_actors.service.views import TaskView

NOW = 1_700_000_000.0
MONOTONIC = 5000.0
WHEN = datetime.fromtimestamp(NOW, UTC)
AGAIN = Retried("code 500", attempt=3, since=WHEN, next_try=WHEN)
COMPARED = ComparisonResult(
    outcome="equal",
    began="2026-01-31T12:00:00+00:00",
    selection=[],
    repair=False,
    delete_extra=False,
    counts={},
    differing=[],
    error=None,
)
DONE = {"who": SUPERVISOR, "why": "test"}


def running(*numbers: int) -> Task:
    """Return a running task that has collections of these ids."""
    task = new_task()
    for number in numbers:
        task.apply_operation(Operation.create_collection(entry(number)), **DONE)
    return task


def set_aside(task: Task, number: int, reason: str = "the schema differs") -> None:
    """Set one of its collections aside."""
    task.set_aside(entry(number), reason, FailureClass.OPERATOR, **DONE)


def fail(task: Task) -> None:
    """Have the whole task fail, to be tried again."""
    next_try = datetime.fromtimestamp(NOW, UTC)
    task.fail("no answer", FailureClass.TRANSIENT, next_try=next_try, **DONE)


def seen(
    task: Task | None = None,
    confirmed: float | None = NOW - 1,
    *,
    reported: bool = True,
    last_report: float = 0.1,
    last_progress: float = 0.2,
    behind: bool = False,
    retried: tuple[int, ...] = (),
) -> TaskView:
    """Return a view as of NOW by the source's clock; times are seconds before it."""
    hybrid = to_hybrid_ts(confirmed) if confirmed else None
    progress = RunProgressed(
        1, {}, hybrid, NO_ROWS, behind, {}, dict.fromkeys(retried, AGAIN)
    )
    snapshot = TaskSnapshot(
        task=task or running(445),
        progress=progress if reported else None,
        confirmed=hybrid,
    )
    monitor = ProgressMonitor(MONOTONIC - last_report, MONOTONIC - last_progress)
    observation = Observation(snapshot, monitor)
    # The machine's clock is an hour behind, and was set while the service runs.
    moment = Moment(NOW - 3600, MONOTONIC, NOW)
    view = view_at(observation, moment)
    assert health_at(observation, moment) == view.health
    summary = summary_at(observation, moment)
    for name in ("health", "state", "lag_seconds", "rows_applied", "reason"):
        assert getattr(summary, name) == getattr(view, name)
    assert summary.collections == Counter(each.state for each in view.collections)
    assert summary.last_event == snapshot.task.version
    return view


@pytest.mark.parametrize("how", [{}, {"reported": False}, {"behind": True}])
def test_a_task_that_stands_still_with_work_is_stalled(how: dict[str, bool]) -> None:
    """Its health says since when, and what does not answer; the lag grows on."""
    shown = seen(None, NOW - 30, last_progress=STALL_SECONDS + 1, **how)
    assert shown.health.status == "stalled"
    assert shown.health.since.timestamp() == NOW - 3600 - STALL_SECONDS - 1
    assert "the target" in (shown.health.error or "")
    assert shown.lag_seconds == 30
    silent = seen(None, NOW - 30, last_report=25, last_progress=25, **how)
    assert "no report from the reader" in (silent.health.error or "")


@pytest.mark.parametrize(
    ("left", "kept", "is_late"),
    [(50.0, 60.0, False), (70.0, 60.0, True), (None, 60.0, False), (None, -1.0, True)],
)
def test_files_that_take_longer_than_the_log_keeps_what_follows(
    left: float | None,
    kept: float,
    is_late: bool,  # noqa: FBT001
) -> None:
    """That is a warning while there is still time to lengthen the retention."""
    coming = {445: SnapshotProgress(1, 2, 3, 4, left, NOW + kept)}
    progress = RunProgressed(1, {}, None, NO_ROWS, False, {}, snapshots=coming)
    snapshot = TaskSnapshot(task=running(445), progress=progress)
    observation = Observation(snapshot, ProgressMonitor(MONOTONIC, MONOTONIC))
    warnings = health_at(observation, Moment(NOW - 3600, MONOTONIC, NOW)).warnings
    late = [each for each in warnings if "lengthen the retention" in each]
    assert len(late) == int(is_late)


def test_a_task_without_collections_is_not_stalled() -> None:
    """There is nothing to confirm: it is well, and its lag unknown."""
    shown = seen(running(), None, last_progress=3600)
    assert (shown.health.status, shown.lag_seconds) == ("ok", None)


def test_a_known_failure_is_not_hidden() -> None:
    """Why it is tried again matters more than that it makes no progress."""
    task = running(445)
    fail(task)
    shown = seen(task, NOW - 99, last_report=99, last_progress=99)
    assert shown.health.status == "retrying"


def test_a_task_that_moves_but_lags_is_catching_up() -> None:
    """What was confirmed is old, but it grows."""
    assert seen(None, NOW - 11).health.status == "catching_up"
    assert seen(None, NOW - 1).health.status == "ok"


def test_a_task_whose_shadow_follows_the_log_is_catching_up() -> None:
    """What it serves stands still until then, and it says where the rows go."""
    task = running(445)
    task.collections[445] = replace(task.collections[445], shadow=True)
    shown = seen(task)
    assert shown.health.status == "catching_up"
    [found] = shown.collections
    assert found.state == "snapshot"
    assert "cdc_actors_shadow_445" in (found.reason or "")


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({}, "degraded"),
        ({"reported": False}, "degraded"),
        ({"confirmed": NOW - 500, "behind": True}, "degraded"),
        ({"last_progress": STALL_SECONDS + 1}, "stalled"),
    ],
)
def test_a_task_with_a_collection_set_aside_is_never_ok(how, status) -> None:
    """It is degraded, or worse, and keeps its lag."""
    task = running(445, 446)
    set_aside(task, 446)
    shown = seen(task, **how)
    assert shown.health.status == status
    assert shown.lag_seconds == NOW - how.get("confirmed", NOW - 1)
    assert shown.health.problems.set_aside == 1


def test_what_changes_no_status_moves_no_since() -> None:
    """A comparison and an operation do not; a pause, its end and an update do."""
    task = new_task()
    made = task.modified_on
    task.apply_operation(Operation.create_collection(entry(445)), **DONE)
    task.note_compared(COMPARED, **DONE)
    assert seen(task).health.since == made < task.modified_on
    assert past_view_of(task).health.since == made
    task.pause("by hand", [], **DONE)
    paused = task.modified_on
    task.note_compared(COMPARED, **DONE)
    assert seen(task).health.since == paused
    task.resume(**DONE)
    assert seen(task).health.since == task.modified_on > paused
    task.update(task.spec, [], secret=None, **DONE)
    assert seen(task).health.since == task.modified_on


def test_a_status_is_told_since_it_was_reported_first() -> None:
    """It begins when a report shows another one, however often the same one comes."""
    monitor = ProgressMonitor(MONOTONIC, MONOTONIC)
    after = datetime.now(UTC) + timedelta(seconds=1)
    monitor.note_status("starting", WHEN)
    for seconds in range(3):
        monitor.note_status("ok", after + timedelta(seconds=seconds))
    observation = Observation(TaskSnapshot(task=running(445)), monitor)
    assert health_at(observation, Moment(NOW, MONOTONIC, NOW)).since == after


@pytest.mark.parametrize(("age", "warned"), [(60, True), (90_000, False)])
def test_who_wanted_a_collection_is_told_for_a_day(
    age: int,
    warned: bool,  # noqa: FBT001
) -> None:
    """It makes the task no less well, and is no operation that was not done."""
    task = running(445)
    claim = Operation(
        kind="ClaimCollection",
        timestamp=to_hybrid_ts(NOW - age),
        database="default",
        name="c445",
        collection_id=445,
        detail={"refused": "task f00 wanted to write it, too, and was refused"},
    )
    task.apply_operation(claim, **DONE)
    shown = seen(task)
    assert (shown.health.status, shown.refused, shown.refusals) == ("ok", 0, ())
    said = (
        "default.c445: task f00 wanted to write it, too, and was refused, at "
        "2023-11-14 22:12:20 UTC"
    )
    assert shown.health.warnings == ((said,) if warned else ())


def test_a_kind_of_which_the_target_does_none_is_a_warning() -> None:
    """It is counted once, and makes the task no less well: no row needs it."""
    task = running(445)
    asked = {"kind": "Flush", "timestamp": 7, "database": "default", "name": "c445"}
    refused = Operation(**asked).as_refused(KindRefusedError("not here"))
    task.apply_operation(refused, **DONE)
    shown = seen(task)
    assert (shown.health.status, shown.refused) == ("ok", 1)
    assert shown.health.warnings == ("Flush: not here",)


def test_a_degraded_task_says_since_when_and_why() -> None:
    """The first reason and how many more there are stand where every error does."""
    task = running(445, 446, 447)
    set_aside(task, 446)
    when = task.modified_on
    set_aside(task, 447, "its name is taken")
    health = seen(task).health
    assert health.since == when
    assert health.error == "default.c446 is set aside: the schema differs; and 1 more"


def test_worse_than_degraded_hides_no_counts() -> None:
    """A paused, a failed or a retrying task still tells which parts are not well."""
    task = running(445, 446)
    set_aside(task, 446)
    fail(task)
    assert seen(task).health.status == "retrying"
    assert seen(task).health.problems.set_aside == 1
    task.pause("by hand", [], **DONE)
    assert seen(task).health.problems.set_aside == 1
    assert seen(task).health.status == "paused"


def test_problems_are_counted_by_kind() -> None:
    """Set aside, tried again beside the others, rows missing, an operation refused."""
    task = running(1, 2, 3, 4)
    set_aside(task, 1)
    imported = Operation(
        kind="Import",
        timestamp=5,
        database="default",
        name="c3",
        collection_id=3,
        detail={"import": 7, "rows": 3},
    )
    index = Operation(
        kind="CreateIndex",
        timestamp=to_hybrid_ts(NOW),
        database="default",
        name="c4",
        collection_id=4,
        detail={"field_name": "f", "refused": "no such metric"},
    )
    for each in (imported, index):
        task.apply_operation(each, **DONE)
    shown = seen(task, retried=(2,))
    problems = shown.health.problems
    assert (problems.set_aside, problems.retrying) == (1, 1)
    assert (problems.resync_needed, problems.operations_refused) == (1, 1)
    assert problems.reasons == (
        "default.c1 is set aside: the schema differs",
        "default.c2 is tried again: code 500 (attempt 3, the next at 22:13:20 UTC)",
        f"default.c3 lacks rows: {resync_needed(task.collections[3], {})}",
        "CreateIndex of default.c4 was refused: no such metric",
    )
    states = {each.name: (each.state, each.reason) for each in shown.collections}
    assert states["c2"][0] == "retrying"
    assert states["c2"][1].startswith("code 500 (attempt 3")
    assert states["c1"][0] == "set_aside"


def test_a_collection_that_is_tried_again_stalls_no_task() -> None:
    """Its channels do not move; that the reader is silent is still seen."""
    assert seen(last_progress=300, retried=(445,)).health.status == "degraded"
    silent = seen(last_report=300, last_progress=300, retried=(445,))
    assert silent.health.status == "stalled"


def test_many_and_long_reasons_are_bounded() -> None:
    """All are counted; a few are told, each not longer than a line or two."""
    task = running()
    for number in range(SHOWN_REASONS + 3):
        set_aside(task, number, "x" * 5000)
    problems = seen(task).health.problems
    assert problems.set_aside == SHOWN_REASONS + 3
    assert len(problems.reasons) == SHOWN_REASONS
    assert max(map(len, problems.reasons)) == REASON_LENGTH + 3


def test_a_dropped_collection_is_no_problem_any_more() -> None:
    """What the source does not have cannot be missing at the target."""
    task = running(445, 446)
    set_aside(task, 446)
    task.apply_operation(Operation.drop_collection(entry(446), 9), **DONE)
    assert seen(task).health.status == "ok"


def test_the_past_was_degraded_if_anything_was_set_aside() -> None:
    """How well a task ran the log does not say, but not better than that."""
    task = running(445)
    assert past_view_of(task).health.status == "unknown"
    set_aside(task, 445)
    past = past_view_of(task).health
    assert (past.status, past.error) == (
        "degraded",
        "default.c445 is set aside: the schema differs",
    )


def test_every_status_has_a_place_in_the_order() -> None:
    """The worst part can always be told."""
    assert len(set(SEVERITY)) == len(SEVERITY) == 9


def test_progress_is_what_changes() -> None:
    """A report that says nothing new is a report, but no progress."""
    monitor = ProgressMonitor(0, 0)
    monitor.update("a", 1)
    monitor.update("a", 2)
    assert (monitor.last_report, monitor.last_progress) == (2, 1)
    monitor.update("b", 3)
    assert (monitor.last_report, monitor.last_progress) == (3, 3)


def test_only_a_snapshot_whose_health_is_equal_is_as_well_as_another() -> None:
    """How far a run has come is all that may differ; whatever else does is looked at."""
    task = running(445)
    progress = RunProgressed(1, {}, None, NO_ROWS, behind=False, waits={})
    first = TaskSnapshot(task=task, progress=progress)
    further = replace(first, progress=replace(progress, confirmed=1), confirmed=1)
    assert further.is_as_well_as(first)
    assert health_of(further) == health_of(first)
    failed = running(445)
    fail(failed)
    others = [
        replace(first, progress=None),
        replace(first, progress=replace(progress, behind=True)),
        replace(first, progress=replace(progress, retried={445: AGAIN})),
        replace(first, progress=replace(progress, imports={445: "not yet"})),
        replace(first, task=failed),
        replace(first, unpersisted_failure=failed.failure),
        replace(first, unreadable="no event"),
    ]
    assert not any(first.is_as_well_as(other) for other in others)
    assert not any(other.is_as_well_as(first) for other in others)
