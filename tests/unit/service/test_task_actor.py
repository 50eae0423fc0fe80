"""What the actor of a task makes of a run that fails."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from cdc_actors.config import Natsmq, SourceConfig
from cdc_actors.errors import (
    AccessRefusedError,
    CdcError,
    CollectionError,
    PassedOverError,
    PositionLostError,
    RowsLostError,
    TaskConflictError,
    TransientError,
)
from cdc_actors.pipeline.messages import (
    ImportsWritten,
    RecordCollectionSetAside,
    RecordOperationApplied,
    RecordOperationStarted,
    RecordStarts,
    Retried,
    RunFailed,
    RunProgressed,
    SnapshotTaken,
)
from cdc_actors.pipeline.work import NO_ROWS
from cdc_actors.service import current_run, task_actor
from cdc_actors.service.messages import (
    Launch,
    PauseTask,
    ReadSelected,
    ResumeTask,
    ResyncCollections,
    RetryCollections,
    RetryRun,
)
from cdc_actors.service.projection import view_of
from cdc_actors.service.stores import Stores
from cdc_actors.service.take_ups import FIRST_DELAY
from cdc_actors.service.task_record import TaskRecord
from cdc_actors.store.checkpoints import Checkpoints
from cdc_actors.store.event_log import TaskLog
from cdc_actors.store.secrets import SecretBox
from cdc_actors.store.segments_done import SegmentsDone
from cdc_actors.store.send_horizons import SendHorizons
from cdc_actors.tasks import (
    IMPORT,
    CollectionsRetried,
    CollectionState,
    Operation,
    TaskFailed,
    TaskState,
    standing,
)
from cdc_actors.tasks.descriptions import describe
from tests.support.tasks import CLIENT, checkpoint, entry, new_task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cdc_actors.changes import Checkpoint
    from cdc_actors.tasks import Task, TaskEvent

REFUSED = AccessRefusedError(
    "the target refuses the login (Insert): auth check failure"
)
AWAY = TransientError("Insert failed at the target (UNAVAILABLE)")


SOURCE = SourceConfig(natsmq=Natsmq(address="nats://127.0.0.1:4222"))


class IdleRun:
    """A run that does nothing: it has come to one checkpoint."""

    age = 0.0
    applied = NO_ROWS
    applied_by: ClassVar = {}
    progress = None

    def __init__(self, number: int, *_args: object) -> None:
        self.number = number

    def end(self) -> bool:
        """It has nothing to finish."""
        return True

    def checkpoints(self) -> dict[str, Checkpoint]:
        """Return where it is."""
        return {"by-dev-rootcoord-dml_0": checkpoint()}

    def sent(self) -> dict[str, int]:
        """Return nothing."""
        return {}

    def note(self, progress: RunProgressed) -> None:
        """Keep it."""
        self.progress = progress


class Harness:
    """A task's actor, used without its thread; its clock moves when it is told to."""

    def __init__(self, log: TaskLog, secrets: SecretBox) -> None:
        self.now = 0.0
        self._log = log
        task = new_task(secret=secrets.encrypt("root:Milvus"))
        log.save(task)
        self._id = task.task_id
        stores = Stores(
            log, Checkpoints(log), SendHorizons(log), SegmentsDone(log), secrets
        )
        self.shown: list[Any] = []
        supervisor = SimpleNamespace(tell=self.shown.append)
        self.awaited: list[Any] = []
        peers = SimpleNamespace(
            watch=lambda _task, message, _peers: self.awaited.append(message),
            forget=lambda _task: self.awaited.clear(),
        )
        self._actor = task_actor.TaskActor(
            TaskRecord(task, stores), SOURCE, None, None, peers, supervisor
        )
        self._actor.on_receive(Launch())

    @property
    def task(self) -> Task:
        """The task as the log has it."""
        return self._log.load(self._id)

    @property
    def events(self) -> list[TaskEvent]:
        """All that the log has of the task."""
        return list(self._log._events.get(UUID(self._id)))

    def ask(self, message: Any) -> None:
        """Have the actor do what a client asks."""
        self._actor.on_receive(message)

    def set_aside(self, number: int, error: CdcError, tick: int = 3) -> None:
        """Have the run set a collection aside that stands at a tick."""
        stood = (
            {} if not tick else {checkpoint().position.channel: checkpoint(tick=tick)}
        )
        run = self.run_number
        self._actor.on_receive(
            RecordCollectionSetAside(run, entry(number), error, stood)
        )

    @property
    def mail(self) -> list[object]:
        """What the actor has told itself."""
        return [each.message for each in self._actor.actor_inbox.queue]

    @property
    def run_number(self) -> int:
        """The number of the run."""
        return self._actor._run.number

    @property
    def checkpoints(self) -> dict[str, Checkpoint]:
        """Up to where the target is known to be."""
        return Checkpoints(self._log).load(self._id)

    def peer_returns(self) -> None:
        """Have a server answer that the task waits for."""
        for message in tuple(self.awaited):
            self._actor.on_receive(message)

    @property
    def runs(self) -> int:
        """How many runs there were, the current one included."""
        return self._actor._run.number

    def end_run(self, error: CdcError) -> None:
        """Have the run fail, and the time of the next one not come."""
        self._actor.on_receive(RunFailed(self.runs, error))

    def pause(self) -> None:
        """Pause the task."""
        self._actor.on_receive(PauseTask(self._id, CLIENT))

    def receive(self, message: object) -> None:
        """Have the actor take a message."""
        self._actor.on_receive(message)

    def confirmed(self) -> list[int | None]:
        """Return, once, up to when each report said that the target has everything."""
        told, self.shown[:] = list(self.shown), []
        return [each.snapshot.confirmed for each in told if hasattr(each, "snapshot")]

    def progress(self, confirmed: int | None = None, **retried: str) -> None:
        """Have the run report which collections are tried again beside the others."""
        number = self._actor._run.number
        now = datetime.now(UTC)
        by_id = {
            int(key.strip("_")): Retried(why, attempt=1, since=now, next_try=now)
            for key, why in retried.items()
        }
        self.receive(RunProgressed(number, {}, confirmed, NO_ROWS, False, {}, by_id))

    def fail(self, error: CdcError, after: float = 0.0) -> None:
        """Have the run fail after some seconds, and the next one begin."""
        self.now += after
        number = self._actor._run.number
        self._actor.on_receive(RunFailed(number, error))
        self._actor.on_receive(RetryRun(number))


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
    """Yield the actor of a new task with runs that do nothing, and its log."""
    monkeypatch.setattr(current_run, "Run", IdleRun)
    monkeypatch.setattr(task_actor.backoff, "send_after", _never)
    log = TaskLog.sqlite(str(tmp_path / "cdc.db"))
    harness = Harness(log, SecretBox.open(tmp_path / "cdc.key", {}))
    clock = SimpleNamespace(monotonic=lambda: harness.now)
    monkeypatch.setattr(task_actor.backoff, "time", clock)
    monkeypatch.setattr(task_actor, "time", clock)
    yield harness
    log.close()


def _never(*_args: Any) -> None:
    """Take the place of a timer: the harness retries by itself."""


def test_a_refused_login_is_tried_again_for_minutes_and_then_pauses(
    harness: Harness,
) -> None:
    """A proxy that has just restarted refuses every login; a wrong password stays wrong."""
    harness.fail(REFUSED)
    for _ in range(9):
        harness.fail(REFUSED, after=REFUSED.patience / 10)
    assert harness.task.state == "Running"
    assert harness.task.failure.failure_class == "transient"
    harness.fail(REFUSED, after=REFUSED.patience / 10)
    assert harness.task.state == "Paused"
    assert harness.task.reason == str(REFUSED)
    assert harness.task.failure.failure_class == "operator"
    assert list(harness.checkpoints.values()) == [checkpoint()]


def test_patience_begins_anew_after_another_failure(harness: Harness) -> None:
    """A target that was away in between has restarted, and refuses only for a moment."""
    harness.fail(REFUSED)
    harness.fail(AWAY, after=REFUSED.patience)
    harness.fail(REFUSED, after=1)
    assert harness.task.state == "Running"


def test_the_log_is_told_once_of_an_outage(harness: Harness) -> None:
    """Each further try is shown, with its number, and only another failure is written."""
    for _ in range(3):
        harness.fail(AWAY)
    harness.fail(TransientError("cannot connect"))
    harness.fail(AWAY)
    told = [each.error for each in harness.events if isinstance(each, TaskFailed)]
    assert told == [str(AWAY), "cannot connect"]
    health = view_of(harness.shown[-1].snapshot).health
    assert (health.status, health.error, health.attempt) == ("retrying", str(AWAY), 5)
    assert health.since == harness.task.failure.since


def test_a_server_that_returns_ends_the_waiting(harness: Harness) -> None:
    """The next run begins at once, and what it meets is not waited out for long."""
    for _ in range(20):
        harness.fail(AWAY)
    harness.end_run(AWAY)
    before = harness.runs
    harness.peer_returns()
    assert harness.runs == before + 1
    assert harness.awaited == []
    harness.end_run(AWAY)
    failure = harness.shown[-1].snapshot.unpersisted_failure
    longest = task_actor.backoff.LONGEST_DELAY_AFTER_RETURN
    assert failure.next_try <= datetime.now(UTC) + timedelta(seconds=longest)


def test_nobody_waits_for_the_servers_of_a_task_that_paused(harness: Harness) -> None:
    """A server that returns then begins nothing."""
    harness.end_run(AWAY)
    (message,) = harness.awaited
    harness.pause()
    assert harness.awaited == []
    before = harness.runs
    harness.awaited.append(message)
    harness.peer_returns()
    assert harness.runs == before


def test_each_change_of_state_of_a_collection_is_logged(harness: Harness) -> None:
    """A line says which one, from what to what, and why; what changes nothing is silent."""
    known = entry(7)
    created = Operation.create_collection(known)
    loaded = Operation(
        kind="LoadCollection",
        timestamp=5,
        database="default",
        name="c7",
        collection_id=7,
    )
    with capture_logs() as logs:
        harness.receive(RecordOperationStarted(created))
        harness.receive(RecordOperationApplied(created))
        harness.receive(RecordOperationApplied(loaded))
        harness.progress(_7="code 500")
        harness.progress(_7="code 500, again")
        harness.progress()
        error = CollectionError("the schema differs")
        harness.set_aside(7, error)
        again = (("default", "c7"),)
        harness.ask(RetryCollections(harness.task.task_id, again, CLIENT, "asked"))
        harness.set_aside(7, error)
        dropped = Operation.drop_collection(known, 9)
        harness.receive(RecordOperationApplied(dropped))
    assert {each["event"] for each in logs} == {"collection_state_changed"}
    assert {each["collection"] for each in logs} == {"default.c7"}
    told = [
        (each["log_level"], each["from"], each["to"], each["reason"]) for each in logs
    ]
    assert told == [
        ("info", None, "creating", None),
        ("info", "creating", "live", None),
        ("warning", "live", "retrying", "code 500"),
        ("info", "retrying", "live", None),
        ("warning", "live", "set_aside", "the schema differs"),
        ("info", "set_aside", "live", None),
        ("warning", "live", "set_aside", "the schema differs"),
        ("info", "set_aside", "dropped", "the schema differs"),
    ]


def test_a_retry_is_an_event_between_two_runs(harness: Harness) -> None:
    """It says who asked, which collection, and what the others have by then."""
    harness.set_aside(445, CollectionError("no right"))
    harness.set_aside(446, CollectionError("no right"))
    first = harness.run_number
    task_id = harness.task.task_id
    harness.ask(RetryCollections(task_id, (("default", "c445"),), CLIENT, "asked"))
    assert harness.run_number == first + 1
    event = harness.events[-1]
    assert isinstance(event, CollectionsRetried)
    assert (event.who["token_name"], event.why) == (CLIENT.token_name, "asked")
    assert [each["name"] for each in event.collections] == ["c445"]
    assert standing.from_json(event.checkpoints) == {
        "by-dev-rootcoord-dml_0": checkpoint()
    }
    states = {number: e.state for number, e in harness.task.collections.items()}
    assert states == {445: CollectionState.CREATING, 446: CollectionState.SET_ASIDE}


def test_a_resumed_task_takes_up_what_it_can(harness: Harness) -> None:
    """Rows that are lost, and what an earlier version set aside, stay set aside."""
    harness.set_aside(445, CollectionError("no right"))
    harness.set_aside(446, RowsLostError("its beginning is gone"))
    harness.set_aside(447, CollectionError("schema differs"), tick=0)
    task_id = harness.task.task_id
    harness.ask(PauseTask(task_id, CLIENT))
    harness.ask(ResumeTask(task_id, CLIENT))
    assert harness.task.state is TaskState.RUNNING
    event = harness.events[-1]
    assert isinstance(event, CollectionsRetried)
    assert [each["collection_id"] for each in event.collections] == [445]
    harness.ask(PauseTask(task_id, CLIENT))
    harness.ask(ResumeTask(task_id, CLIENT))
    assert harness.events[-1].TOPIC == "task.resumed"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("c445", r"no collection default\.c445 is set aside"),
        ("c446", r"its beginning is gone\. The log cannot bring it"),
        ("c447", r"by an earlier version, which did not note where it stood"),
    ],
)
def test_what_cannot_be_retried_says_why(
    harness: Harness, name: str, words: str
) -> None:
    """The run goes on as if nothing had been asked."""
    harness.set_aside(446, RowsLostError("its beginning is gone"))
    harness.set_aside(447, CollectionError("schema differs"), tick=0)
    before, number = len(harness.events), harness.run_number
    task_id = harness.task.task_id
    with pytest.raises(TaskConflictError, match=words):
        harness.ask(RetryCollections(task_id, (("default", name),), CLIENT, "asked"))
    assert (len(harness.events), harness.run_number) == (before, number)


def test_what_was_set_aside_for_a_passing_reason_is_taken_up_by_itself(
    harness: Harness,
) -> None:
    """After a while, as if the service had asked for it; the rest waits for somebody."""
    harness.set_aside(445, TransientError("code 65535"))
    harness.set_aside(446, CollectionError("no right"))
    harness.progress()
    assert harness.events[-1].TOPIC == "task.collection_set_aside"
    first = harness.run_number
    harness.now += 1.3 * FIRST_DELAY
    harness.progress()
    assert harness.run_number == first + 1
    event = harness.events[-1]
    assert isinstance(event, CollectionsRetried)
    assert event.who["kind"] == "supervisor"
    assert [each["name"] for each in event.collections] == ["c445"]


def test_a_paused_task_is_retried_once_it_is_resumed(harness: Harness) -> None:
    """The request is written down, and the task stays paused."""
    harness.set_aside(445, CollectionError("no right"))
    task_id = harness.task.task_id
    harness.ask(PauseTask(task_id, CLIENT))
    number = harness.run_number
    harness.ask(RetryCollections(task_id, (), CLIENT, "asked"))
    assert harness.task.state is TaskState.PAUSED
    assert harness.run_number == number
    assert harness.task.collections[445].replay


def resynced(harness: Harness, name: str = "*") -> list[str]:
    """Ask for a resync, and return the topics of the events that it makes."""
    before = len(harness.events)
    names = (("default", name),)
    harness.ask(ResyncCollections(harness.task.task_id, names, False, CLIENT))
    return [each.TOPIC for each in harness.events[before:]]


def test_a_resync_is_an_event_between_two_runs(harness: Harness) -> None:
    """It says who asked; a second one is refused while the first is on its way."""
    harness.set_aside(445, CollectionError("no right"))
    first = harness.run_number
    assert resynced(harness) == ["task.collections_resynced"]
    assert harness.run_number == first + 1
    event = harness.events[-1]
    assert (event.who["token_name"], event.why) == (
        CLIENT.token_name,
        "asked by a client",
    )
    assert harness.task.collections[445].state is CollectionState.SNAPSHOT
    for name, words in (
        ("c445", "brought already"),
        ("c9", "no collection default.c9"),
    ):
        with pytest.raises(TaskConflictError, match=words):
            resynced(harness, name)
    assert harness.run_number == first + 1


@pytest.mark.parametrize("asked", ["retry", "resync", "resume", "snapshot"])
def test_what_is_confirmed_is_unknown_once_channels_are_set_back(
    harness: Harness, asked: str
) -> None:
    """The target has less than it was told to have, until the next run has reported."""
    task_id, names = harness.task.task_id, (("default", "c445"),)
    harness.set_aside(445, CollectionError("no right"))
    if asked == "snapshot":
        resynced(harness)
    harness.progress(confirmed=7)
    assert harness.confirmed()[-1] == 7
    match asked:
        case "retry":
            harness.ask(RetryCollections(task_id, names, CLIENT, "asked"))
        case "resync":
            resynced(harness)
        case "resume":
            harness.pause()
            harness.confirmed()
            harness.ask(ResumeTask(task_id, CLIENT))
        case "snapshot":
            harness.receive(SnapshotTaken(harness.run_number, 445, 1, 1.0))
    reported = harness.confirmed()
    assert reported
    assert not any(reported)
    harness.progress(confirmed=5)
    assert harness.confirmed() == [5]


def test_rows_of_an_import_are_brought_between_two_runs(harness: Harness) -> None:
    """The service itself asks, once, and not at the word of a run that has ended."""
    made = Operation.create_collection(entry())
    harness.receive(RecordOperationApplied(made))
    first, wanted = harness.run_number, frozenset({445})
    harness.receive(ImportsWritten(first, wanted))
    detail = {"import": 7, "rows": 3, "seen": 9}
    harness.receive(RecordOperationApplied(entry().operation(IMPORT, 8, detail)))
    harness.receive(ImportsWritten(first - 1, wanted))
    assert harness.run_number == first
    harness.receive(ImportsWritten(first, wanted))
    event = harness.events[-1]
    assert (event.who["kind"], event.collections[0]["imports"]) == ("supervisor", [7])
    assert describe(event) == "rows of bulk imports to be brought: default.c445"
    assert harness.task.collections[445].state is CollectionState.SNAPSHOT
    harness.receive(ImportsWritten(harness.run_number, wanted))
    assert harness.run_number == first + 1


def test_a_resync_of_a_paused_task_waits(harness: Harness) -> None:
    """The request is written down, and the task stays paused."""
    harness.set_aside(445, CollectionError("no right"))
    harness.ask(PauseTask(harness.task.task_id, CLIENT))
    assert resynced(harness) == ["task.collections_resynced"]
    assert harness.task.state is TaskState.PAUSED


def test_a_resync_lets_a_task_go_on_whose_position_is_lost(harness: Harness) -> None:
    """In one request, and also of what an earlier resync had begun."""
    harness.set_aside(445, CollectionError("no right"))
    resynced(harness)
    harness.fail(PositionLostError("record 7 is not in the log"))
    assert harness.task.state is TaskState.PAUSED
    assert resynced(harness) == ["task.collections_resynced", "task.resumed"]
    assert harness.task.state is TaskState.RUNNING
    assert harness.task.failure is None


def test_who_asked_for_a_collection_is_said_as_such(harness: Harness) -> None:
    """Of what another task wanted the source has done nothing."""
    for done in (
        Operation.create_collection(entry(1)),
        entry(1).operation("ClaimCollection", 5, {"refused": "task f00 wanted it"}),
    ):
        harness.receive(RecordOperationApplied(done))
    assert [event.why for event in harness.events[-2:]] == [
        "the source did it",
        "another task asked for it",
    ]


@pytest.mark.parametrize("paused", [False, True])
def test_a_run_that_was_left_behind_sets_nothing_aside(
    harness: Harness, *, paused: bool
) -> None:
    """Its collection may go on by now; what it has done at the target still counts."""
    old = harness.run_number
    aside = RecordCollectionSetAside(old, entry(1), CollectionError("no"), {})
    made = RecordOperationApplied(Operation.create_collection(entry(1)))
    if paused:
        harness.pause()
    else:
        harness.fail(AWAY)
    for late in (made, aside):
        harness.receive(late)
    assert harness.task.collections[1].state is CollectionState.LIVE
    if not paused:
        harness.receive(replace(aside, run_number=harness.run_number))
        assert harness.task.collections[1].state is CollectionState.SET_ASIDE


def test_a_run_that_was_left_behind_has_nothing_read_again(harness: Harness) -> None:
    """What it passed over late the run after it finds by itself."""
    passed = PassedOverError("read before")
    harness.receive(RecordCollectionSetAside(1, entry(1), passed, {}))
    harness.fail(AWAY)
    harness.receive(RecordCollectionSetAside(1, entry(2), passed, {}))
    harness.receive(RecordStarts(1, {}, "too late"))
    assert harness.mail == []
    harness.receive(RecordStarts(2, {}, "the run opens"))
    assert harness.mail == [ReadSelected((("default", "c1"),))]
