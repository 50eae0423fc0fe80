"""A service with many tasks in its log answers while it reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pykka
import pytest

from cdc_actors.config import Config, Natsmq, SourceConfig
from cdc_actors.errors import TaskConflictError, UnavailableError
from cdc_actors.service.messages import GetTask, ListTasks, PauseTask, Rebuild
from cdc_actors.service.source_clock import SourceClock
from cdc_actors.service.stores import Stores
from cdc_actors.service.supervisor_actor import Supervisor
from cdc_actors.service.task_actor import TaskActor
from cdc_actors.store.checkpoints import Checkpoints
from cdc_actors.store.event_log import TaskLog
from cdc_actors.store.secrets import SecretBox
from cdc_actors.store.segments_done import SegmentsDone
from cdc_actors.store.send_horizons import SendHorizons
from tests.support.tasks import CLIENT, new_task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TASKS = 3_000
ANSWER = 60.0
"""Seconds that a request waits; milliseconds are the rule, a busy machine the exception."""


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TaskLog]:
    """Yield a log of thousands of paused tasks, written in one transaction."""
    log = TaskLog.sqlite(str(tmp_path / "cdc.db"))
    events = []
    for _ in range(TASKS):
        task = new_task()
        task.pause("by a client", [], who=CLIENT, why="test")
        events += task.collect_events()
    log._events.put(events)
    yield log
    log.close()


def test_requests_are_answered_while_tasks_are_read(
    log: TaskLog, tmp_path: Path
) -> None:
    """Each is answered in its turn, with a 503 until all are known; none needs a thread."""
    secrets = SecretBox.open(tmp_path / "cdc.key", {})
    queue = Natsmq(address="nats://127.0.0.1:1")
    config = Config(source_config=SourceConfig(natsmq=queue))
    stores = Stores(
        log, Checkpoints(log), SendHorizons(log), SegmentsDone(log), secrets
    )
    ref = Supervisor.start(config, stores, SourceClock())
    ref.tell(Rebuild())
    try:
        refused = 0
        while True:
            try:
                listed = ref.ask(ListTasks(), timeout=ANSWER)
                break
            except UnavailableError:
                refused += 1
        assert refused > 1
        assert len(listed) == TASKS
        assert pykka.ActorRegistry.get_by_class(TaskActor) == []
        some = listed[TASKS // 2].snapshot.task.task_id
        with pytest.raises(TaskConflictError):
            ref.ask(PauseTask(some, CLIENT), timeout=ANSWER).get(timeout=ANSWER)
        assert ref.ask(GetTask(some), timeout=ANSWER).snapshot.task.state == "Paused"
        assert len(pykka.ActorRegistry.get_by_class(TaskActor)) == 1
    finally:
        pykka.ActorRegistry.stop_all()
