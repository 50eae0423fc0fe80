"""What the supervisor makes of the event log, of requests and of actors that die."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import pykka
import pytest

from cdc_actors.config import Config, Natsmq, SourceConfig
from cdc_actors.errors import TaskConflictError, UnavailableError, UnknownTaskError
from cdc_actors.pipeline.messages import RunProgressed
from cdc_actors.pipeline.owner_start import OwnerStart
from cdc_actors.pipeline.work import NO_ROWS
from cdc_actors.service import current_run, rebuild, supervisor_actor, task_actor
from cdc_actors.service.health import view_at
from cdc_actors.service.messages import (
    CheckTasks,
    CreateTask,
    DeleteTask,
    GetTask,
    ListTasks,
    PauseTask,
    Rebuild,
    RebuildEnded,
    ResumeTask,
    TaskLoaded,
    TaskReported,
)
from cdc_actors.service.service import Service
from cdc_actors.service.snapshot import TaskSnapshot
from cdc_actors.service.source_clock import Moment, SourceClock
from cdc_actors.service.source_probe_actor import SourceProbe
from cdc_actors.service.stores import Stores
from cdc_actors.service.supervisor_actor import Supervisor
from cdc_actors.store.checkpoints import Checkpoints
from cdc_actors.store.event_log import TaskLog
from cdc_actors.store.secrets import SecretBox
from cdc_actors.store.segments_done import SegmentsDone
from cdc_actors.store.send_horizons import SendHorizons
from cdc_actors.tasks import TaskPaused
from tests.support.cdc import wait_until
from tests.support.tasks import CLIENT, SPEC, checkpoint, new_task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from cdc_actors.service.views import TaskView
    from cdc_actors.tasks import Task, TaskSpec

CONFIG = Config(source_config=SourceConfig(natsmq=Natsmq(address="nats://127.0.0.1:1")))
ANSWER = 60.0
LATER = "f" * 32


class IdleRun:
    """A run that does nothing."""

    age = 0.0
    applied = NO_ROWS
    applied_by: ClassVar = {}
    progress = None

    def __init__(self, number: int, *_args: object) -> None:
        self.number = number

    def end(self) -> bool:
        """It has nothing to finish."""
        return True

    def checkpoints(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    sent = checkpoints


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    """Yield empty stores, for tasks whose runs do nothing."""
    monkeypatch.setattr(current_run, "Run", IdleRun)
    log = TaskLog.sqlite(str(tmp_path / "cdc.db"))
    secrets = SecretBox.open(tmp_path / "cdc.key", {})
    yield Stores(log, Checkpoints(log), SendHorizons(log), SegmentsDone(log), secrets)
    pykka.ActorRegistry.stop_all()
    log.close()


def saved(stores: Stores, spec: TaskSpec = SPEC) -> Task:
    """Return a task that is in the log and runs."""
    task = new_task(spec=spec, secret=stores.secrets.encrypt(SPEC.token))
    stores.log.save(task)
    return task


def rebuilt(stores: Stores) -> pykka.ActorRef[Supervisor]:
    """Return a supervisor that has read the log."""
    ref = Supervisor.start(CONFIG, stores, SourceClock())
    ref.ask(Rebuild())
    wait_until(lambda: answers(ref), "the log is read")
    return ref


def answers(ref: pykka.ActorRef[Supervisor]) -> bool:
    """Tell whether requests are answered."""
    try:
        ref.ask(ListTasks(), timeout=ANSWER)
    except UnavailableError:
        return False
    return True


def views(ref: pykka.ActorRef[Supervisor]) -> dict[str, TaskView]:
    """Return all tasks as they are shown."""
    listed = [
        view_at(each, Moment(0, 0, 0)) for each in ref.ask(ListTasks(), timeout=ANSWER)
    ]
    return {view.task_id: view for view in listed}


def create(
    ref: pykka.ActorRef[Supervisor], task_id: str | None, spec: TaskSpec = SPEC
) -> str:
    """Create a task and return its id."""
    return ref.ask(CreateTask(task_id, spec, CLIENT), timeout=ANSWER).get(
        timeout=ANSWER
    )


def test_a_task_that_is_not_to_start_by_itself_is_paused(stores: Stores) -> None:
    """Whenever the service starts; resumed, it runs until the next start."""
    spec = msgspec.structs.replace(SPEC, disable_auto_start=True)
    task = saved(stores, spec)
    stores.checkpoints.save(task.task_id, [checkpoint()])
    for _ in range(2):
        ref = rebuilt(stores)
        view = views(ref)[task.task_id]
        assert (view.state, view.reason) == (
            "Paused",
            "the task is disabled auto start",
        )
        ref.ask(ResumeTask(task.task_id, CLIENT), timeout=ANSWER).get(timeout=ANSWER)
        assert views(ref)[task.task_id].state == "Running"
        pykka.ActorRegistry.stop_all()
    events = list(stores.log._events.get(task.id))
    paused = [each for each in events if isinstance(each, TaskPaused)]
    assert len(paused) == 2
    assert paused[0].checkpoints == {
        "by-dev-rootcoord-dml_0": {"position": "7", "tick": 7}
    }


@pytest.mark.parametrize(
    ("version", "change", "reason"),
    [
        (1, "state = CAST('{}' AS BLOB)", "originator_topic"),
        (2, "topic = 'task.of_tomorrow'", "task.of_tomorrow"),
    ],
)
def test_a_task_that_cannot_be_read_holds_up_no_other(
    version: int, change: str, reason: str, stores: Stores, tmp_path: Path
) -> None:
    """Of two tasks one has an event that makes no sense: it is shown, the other runs."""
    odd, good = saved(stores), saved(stores)
    odd.pause("by a client", [], who=CLIENT, why="test")
    stores.log.save(odd)
    with closing(sqlite3.connect(tmp_path / "cdc.db")) as other:
        other.execute(
            f"UPDATE task_events SET {change} "  # noqa: S608
            "WHERE originator_id = ? AND originator_version = ?",
            (odd.task_id, version),
        )
        other.commit()
    ref = rebuilt(stores)
    shown = views(ref)
    assert shown[good.task_id].state == "Running"
    assert (shown[odd.task_id].state, shown[odd.task_id].health.status) == (
        "Paused",
        "failed",
    )
    assert reason in (shown[odd.task_id].reason or "")
    assert shown[odd.task_id].spec.target.uri == ("http://target:19530" * (version - 1))
    with pytest.raises(UnavailableError, match=reason):
        ref.ask(DeleteTask(odd.task_id, CLIENT), timeout=ANSWER)
    if version == 2:
        with pytest.raises(TaskConflictError, match="duplicate"):
            create(ref, None)


def test_a_task_that_is_deleted_while_the_log_is_read_is_left_out(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id was read before it went; the others start."""
    good = saved(stores)
    monkeypatch.setattr(stores.log, "alive_ids", lambda: [LATER, good.task_id])
    assert set(views(rebuilt(stores))) == {good.task_id}


def test_a_log_that_is_away_is_asked_again(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests are refused until the log has answered for every task."""
    good = saved(stores)
    load, failures = stores.log.load, iter([UnavailableError("away")] * 2)

    def flaky(task_id: str) -> Task:
        for error in failures:
            raise error
        return load(task_id)

    monkeypatch.setattr(stores.log, "load", flaky)
    monkeypatch.setattr(rebuild.backoff, "delay", lambda _attempt: 0.0)
    assert set(views(rebuilt(stores))) == {good.task_id}
    assert next(failures, None) is None


def test_a_repeated_create_is_the_same_or_a_conflict(stores: Stores) -> None:
    """The same body gets the id again, another one 409 with what differs."""
    ref = rebuilt(stores)
    task_id = create(ref, LATER)
    assert create(ref, LATER) == task_id == LATER
    changes: list[tuple[dict[str, Any], str]] = [
        ({"token": "root:other"}, r"another milvus_connect_param\.token,"),
        ({"collection_infos": ("a",)}, "another collection_infos, db_collections,"),
        ({"enable_user_role": True}, "another extra_info,"),
    ]
    for change, words in changes:
        with pytest.raises(TaskConflictError, match=words):
            create(ref, LATER, msgspec.structs.replace(SPEC, **change))
    assert set(views(ref)) == {LATER}


def lose_an_answer(
    monkeypatch: pytest.MonkeyPatch, *, saved: bool, readable: bool
) -> None:
    """Let the next save fail, after it was done or not, and the next read with it."""
    save, load = TaskLog.save, TaskLog.load
    save_fails, load_fails = [True], [] if readable else [True]

    def losing_save(log: TaskLog, task: Task, check: object) -> None:
        assert check is None
        if saved or not save_fails:
            save(log, task)
        if save_fails:
            save_fails.pop()
            raise UnavailableError("the event log cannot answer")

    def losing_load(log: TaskLog, task_id: str) -> Task:
        if load_fails:
            load_fails.pop()
            raise UnavailableError("the event log cannot answer")
        return load(log, task_id)

    monkeypatch.setattr(TaskLog, "save", losing_save)
    monkeypatch.setattr(TaskLog, "load", losing_load)
    monkeypatch.setattr(task_actor, "CREATED_SECONDS", 0.05)


@pytest.mark.parametrize("readable", [True, False])
def test_a_create_that_failed_leaves_nothing(
    readable: bool,  # noqa: FBT001
    stores: Stores,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The task is never shown; its collections are free once the log says it is not."""
    ref = rebuilt(stores)
    lose_an_answer(monkeypatch, saved=False, readable=readable)
    with pytest.raises(UnavailableError):
        create(ref, LATER)
    with pytest.raises(UnknownTaskError):
        ref.ask(GetTask(LATER), timeout=ANSWER)
    wait_until(lambda: free(ref), "the names are free again")


def test_a_create_whose_answer_was_lost_is_done(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log says at once that the task is there."""
    ref = rebuilt(stores)
    lose_an_answer(monkeypatch, saved=True, readable=True)
    assert create(ref, LATER) == LATER
    assert views(ref)[LATER].state == "Running"


def test_a_create_is_found_when_the_log_is_back(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not confirmed, so that it is an error and not shown; later it is a task."""
    ref = rebuilt(stores)
    lose_an_answer(monkeypatch, saved=True, readable=False)
    with pytest.raises(UnavailableError):
        create(ref, LATER)
    wait_until(lambda: LATER in views(ref), "the task is there")


def free(ref: pykka.ActorRef[Supervisor]) -> bool:
    """Tell whether another task may have the collections."""
    try:
        create(ref, None)
    except TaskConflictError:
        return False
    return True


def test_a_task_that_hangs_is_shown_at_once(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its actor answers nobody; what it last reported, and that it stalls, is told."""
    task = saved(stores)
    ref = rebuilt(stores)
    stuck = pykka.ThreadingFuture()
    monkeypatch.setattr(task_actor.TaskActor, "_pause", lambda *_: stuck.get())
    pause = ref.ask(PauseTask(task.task_id, CLIENT), timeout=ANSWER)
    seen = ref.ask(GetTask(task.task_id), timeout=ANSWER)
    later = Moment(0, seen.monitor.last_report + 60, 0)
    assert view_at(seen, later).health.status == "stalled"
    stuck.set(None)
    pause.get(timeout=ANSWER)


def test_ticks_of_all_tasks_tell_the_time_at_the_source(stores: Stores) -> None:
    """The one that was ahead furthest counts; a task that is behind makes no difference."""
    clock = SourceClock()
    supervisor = Supervisor(CONFIG, stores, clock)
    tasks = [new_task(), new_task()]
    for task in tasks:
        task.pause("for the test", [], who=CLIENT, why="no actor is needed")
        supervisor.on_receive(TaskLoaded(TaskSnapshot(task=task), OwnerStart()))
    ahead = clock.moment()
    lead = ahead.source - ahead.monotonic + 100
    for task, each in zip(tasks, (lead, lead - 1000), strict=True):
        progress = RunProgressed(1, {}, None, NO_ROWS, False, {}, tick_lead=each)
        snapshot = TaskSnapshot(task=task, progress=progress)
        supervisor.on_receive(TaskReported(snapshot))
    now = clock.moment()
    assert now.source - now.monotonic == pytest.approx(lead, abs=0.1)


def test_since_moves_with_the_reported_status_alone(stores: Stores) -> None:
    """What a task reports of the same status, and its events, leave since when it is so."""
    supervisor = Supervisor(CONFIG, stores, SourceClock())
    task = new_task()
    task.pause("for the test", [], who=CLIENT, why="no actor is needed")
    supervisor.on_receive(TaskLoaded(TaskSnapshot(task=task), OwnerStart()))
    supervisor.on_receive(RebuildEnded())
    task.resume(who=CLIENT, why="asked")

    def since(*, behind: bool) -> tuple[str, datetime]:
        progress = RunProgressed(1, {}, None, NO_ROWS, behind, {})
        snapshot = TaskSnapshot(task=task, progress=progress)
        supervisor.on_receive(TaskReported(snapshot))
        seen = supervisor.on_receive(GetTask(task.task_id))
        health = view_at(seen, Moment(0, seen.monitor.last_report, 0)).health
        return health.status, health.since

    status, first = since(behind=False)
    assert (status, first > task.modified_on) == ("ok", True)
    task.start([checkpoint()], who=CLIENT, why="an event")
    assert since(behind=False) == ("ok", first)
    status, then = since(behind=True)
    assert (status, then > first) == ("catching_up", True)


def test_a_task_that_lived_long_starts_with_a_short_wait_again(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deaths in a row count; one after a healthy while is a first one."""
    clock = SimpleNamespace(
        time=lambda: clock.now, monotonic=lambda: clock.now, now=1000.0
    )
    monkeypatch.setattr(supervisor_actor, "time", clock)
    monkeypatch.setattr(supervisor_actor.backoff, "send_after", lambda *_: None)
    supervisor = Supervisor(CONFIG, stores, SourceClock())
    supervisor.on_receive(TaskLoaded(TaskSnapshot(task=saved(stores)), OwnerStart()))
    supervisor.on_receive(RebuildEnded())
    deaths = []
    for lived in (1.0, 1.0, 61.0):
        (actor,) = pykka.ActorRegistry.get_by_class(task_actor.TaskActor)
        actor.stop()
        clock.now += lived
        supervisor.on_receive(CheckTasks())
        (seen,) = supervisor.on_receive(ListTasks())
        deaths.append(view_at(seen, Moment(0, clock.now, 0)).health.attempt)
        clock.now += 60
        supervisor.on_receive(CheckTasks())
    assert deaths == [1, 2, 1]


def test_a_dead_task_does_not_stop_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other tasks are stopped and the log is closed, though one actor has died."""
    dead: pykka.ThreadingFuture[None] = pykka.ThreadingFuture()
    dead.set_exception((pykka.ActorDeadError, pykka.ActorDeadError("gone"), None))
    monkeypatch.setattr(Supervisor, "_shut_down", lambda _self: [dead])
    monkeypatch.setattr(SourceProbe, "on_start", lambda _self: None)
    monkeypatch.chdir(tmp_path)
    service = Service(CONFIG)
    service.start()
    service.stop(ANSWER)
    assert not service.alive()
    with pytest.raises(UnavailableError, match="closed"):
        service.history(LATER, after=0, limit=1)
