"""What comparisons are refused, and what is kept of one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cdc_actors.compare import CollectionReport, Cursor, Kind, RowFinding
from cdc_actors.compare.settle import Suspect
from cdc_actors.errors import (
    OperatorError,
    TaskConflictError,
    TaskLimitError,
    UnknownTaskError,
)
from cdc_actors.service import comparisons
from cdc_actors.service.comparison_metrics import comparison_families
from cdc_actors.service.comparison_run import _Pace
from cdc_actors.service.comparison_state import ComparisonRequest, ComparisonState
from cdc_actors.service.comparisons import Comparisons
from cdc_actors.store.event_log import TaskLog
from cdc_actors.tasks import SUPERVISOR
from tests.support.http_service import WHEN
from tests.support.tasks import CLIENT, new_task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TASK = new_task()


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Any]:
    """Yield stores of which a comparison needs two."""
    log = TaskLog.sqlite(str(tmp_path / "cdc.db"))
    yield SimpleNamespace(log=log, secrets=None)
    log.close()


@pytest.fixture
def known(stores: Any, monkeypatch: pytest.MonkeyPatch) -> Comparisons:
    """Return comparisons of a task that the supervisor knows; none ever runs."""
    snapshot = SimpleNamespace(task=TASK)
    answer = SimpleNamespace(snapshot=snapshot)
    monkeypatch.setattr(comparisons, "ask", lambda *_: answer)
    monkeypatch.setattr(comparisons.ComparisonRun, "start", lambda _: None)
    return Comparisons(None, stores, None)


def state(**changed: Any) -> ComparisonState:
    """Return a comparison in the middle of a collection."""
    report = CollectionReport(database="db", name="b", source_rows=5, target_rows=4)
    report.missing.add(RowFinding(partition="_default", key="k", text=""))
    cursor = Cursor(report=report, partition="_default", low="k", rows=5, expected=9)
    cursor.suspects.append(Suspect("_default", 7))
    done = CollectionReport(database="db", name="a", source_rows=3, target_rows=3)
    done.find(Kind.INDEX, "'v' is missing at the target")
    return ComparisonState(
        task_id=TASK.task_id,
        request=ComparisonRequest(collections=(("db", "*"),), repair=True),
        who=CLIENT,
        began=WHEN,
        total=2,
        reports=[done],
        cursor=cursor,
        **changed,
    )


def test_what_is_stored_is_read_back() -> None:
    """Whoever goes on has all of it: request, reports, cursor with its suspects."""
    assert ComparisonState.decode(state().encode()) == state()


def test_an_older_state_that_cannot_be_read_is_passed_over(
    known: Comparisons, stores: Any
) -> None:
    """The service starts all the same, and knows the others."""
    known._rows.save("x", b"{}")
    known._rows.save(TASK.task_id, state().encode())
    again = Comparisons(None, stores, None)
    again.resume()
    assert [view.task_id for view in again.views()] == [TASK.task_id]
    assert again.view(TASK.task_id).collection == "db.b"
    with pytest.raises(UnknownTaskError):
        again.view("x")


def test_too_many_at_a_time_are_refused(
    known: Comparisons, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many run as the limit says; the next is told to come later."""
    monkeypatch.setattr(comparisons, "MAX_RUNNING", 0)
    with pytest.raises(TaskLimitError, match="try later"):
        known.start(TASK.task_id, ComparisonRequest(), CLIENT)


def test_a_repair_beside_no_run_is_refused(
    known: Comparisons, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the log has yet to bring would come twice; and what the task has not, not."""
    unknown = ComparisonRequest(collections=(("elsewhere", "a"),))
    with pytest.raises(TaskConflictError, match=r"does not replicate elsewhere\.a"):
        known.start(TASK.task_id, unknown, CLIENT)
    paused = TASK.draft()
    paused.pause("by hand", [], who=SUPERVISOR, why="because")
    answer = SimpleNamespace(snapshot=SimpleNamespace(task=paused))
    monkeypatch.setattr(comparisons, "ask", lambda *_: answer)
    with pytest.raises(TaskConflictError, match="resume it"):
        known.start(TASK.task_id, ComparisonRequest(repair=True), CLIENT)


def test_of_a_name_that_is_nowhere_nothing_is_equal(known: Comparisons) -> None:
    """A slip of the pen is an error; what was compared before it was dropped is none."""
    run = known._run(state())
    run._comparison = SimpleNamespace(source_names=lambda: {("default", "books")})
    assert run._pairs(TASK) == {}
    run.state.request = ComparisonRequest(collections=(("default", "boks"),))
    with pytest.raises(OperatorError, match=r"no collection default\.boks that"):
        run._pairs(TASK)
    run.state.request = ComparisonRequest(collections=(("default", "books"),))
    assert run._pairs(TASK) == {("default", "books"): ("default", "books")}


def test_metrics_are_of_what_is_known() -> None:
    """How far it is while it runs; when it ended and what differed once it has."""
    running, ended = state(), state()
    ended.end("different")
    assert ended.view().status == "running"
    ended.is_recorded = True
    assert ended.view().status == "different"

    def samples(of: ComparisonState) -> dict[str, int]:
        families = comparison_families([of.view()])
        return {each.name: len(list(each.rows)) for each in families}

    assert samples(running) == {
        "cdc_comparison_running": 1,
        "cdc_comparison_rows": 1,
        "cdc_comparison_collections": 1,
        "cdc_comparison_collections_done": 1,
        "cdc_comparison_ended_timestamp_seconds": 0,
        "cdc_comparison_differences": 0,
    }
    assert samples(ended)["cdc_comparison_differences"] == 7
    result = ended.result()
    assert result.counts["missing"] == result.counts["settings"] == 1
    assert result.differing == ["db.b"]


def test_a_pace_counts_what_is_new() -> None:
    """Rows of before a restart, and of another collection, are not waited for again."""
    pace = _Pace(1)
    pace.begin(1_000_000)
    assert 500 < pace.delay(1_001_000) <= 1_000
    pace.begin(0)
    assert 1_500 < pace.delay(1_000) <= 2_000
    assert _Pace(None).delay(10) == 0
