"""What the actor of a task makes of a run that fails."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from cdc_actors.errors import AccessRefusedError, CdcError, TransientError
from cdc_actors.pipeline.messages import RunFailed
from cdc_actors.service import current_run, task_actor
from cdc_actors.service.messages import Launch, RetryRun
from cdc_actors.service.projection import view_of
from cdc_actors.service.stores import Stores
from cdc_actors.service.task_record import TaskRecord
from cdc_actors.store.checkpoints import Checkpoints
from cdc_actors.store.event_log import TaskLog
from cdc_actors.store.secrets import SecretBox
from cdc_actors.store.send_horizons import SendHorizons
from cdc_actors.tasks import TaskFailed
from tests.support.tasks import checkpoint, new_task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cdc_actors.changes import Checkpoint
    from cdc_actors.tasks import Task, TaskEvent

REFUSED = AccessRefusedError(
    "the target refuses the login (Insert): auth check failure"
)
AWAY = TransientError("Insert failed at the target (UNAVAILABLE)")


class IdleRun:
    """A run that does nothing: it has come to one checkpoint."""

    age = 0.0
    rows = 0
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


class Harness:
    """A task's actor, used without its thread; its clock moves when it is told to."""

    def __init__(self, log: TaskLog, secrets: SecretBox) -> None:
        self.now = 0.0
        self._log = log
        task = new_task(secret=secrets.encrypt("root:Milvus"))
        log.save(task)
        self._id = task.task_id
        stores = Stores(log, Checkpoints(log), SendHorizons(log), secrets)
        self.shown: list[Any] = []
        supervisor = SimpleNamespace(tell=self.shown.append)
        self._actor = task_actor.TaskActor(
            TaskRecord(task, stores), None, None, None, supervisor
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

    @property
    def checkpoints(self) -> dict[str, Checkpoint]:
        """Up to where the target is known to be."""
        return Checkpoints(self._log).load(self._id)

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
    yield harness
    log.close()


def _never(*_args: Any) -> None:
    """Take the place of a timer: the harness retries by itself."""


def test_a_refused_login_is_tried_again_for_minutes_and_then_pauses(
    harness: Harness,
) -> None:
    """A proxy that has just restarted refuses every login; a wrong password stays wrong."""
    harness.fail(REFUSED)
    harness.fail(REFUSED, after=REFUSED.patience - 1)
    assert harness.task.state == "Running"
    assert harness.task.failure.failure_class == "transient"
    harness.fail(REFUSED, after=1)
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
