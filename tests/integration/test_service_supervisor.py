"""A task whose actor dies is brought back, and nothing of its former life stays."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from cdc_actors.config import Config, Etcd, Natsmq, SourceConfig
from cdc_actors.errors import UnavailableError
from cdc_actors.pipeline.reader_actor import Reader
from cdc_actors.service.messages import (
    CreateTask,
    GetTask,
    ListTasks,
    PauseTask,
    Rebuild,
    Shutdown,
)
from cdc_actors.service.source_clock import SourceClock
from cdc_actors.service.stores import Stores
from cdc_actors.service.supervisor_actor import Supervisor
from cdc_actors.service.task_actor import TaskActor
from cdc_actors.store.checkpoints import Checkpoints
from cdc_actors.store.event_log import TaskLog
from cdc_actors.store.secrets import SecretBox
from cdc_actors.store.segments_done import SegmentsDone
from cdc_actors.store.send_horizons import SendHorizons
from cdc_actors.tasks import TaskSpec, Who
from cdc_actors.tasks.spec import ConnectParam
from tests.support.books import Books, keys, wait_keys
from tests.support.cdc import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

CLIENT = Who(kind="client", address="127.0.0.1")


class Frail(TaskActor):
    """A task actor that can be killed."""

    def on_receive(self, message: Any) -> str | None:
        """Die if the message says so."""
        if message == "die":
            raise RuntimeError("a mistake in the task's actor")
        return super().on_receive(message)


@pytest.fixture
def supervisor(
    source: EmbeddedMilvus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pykka.ActorRef[Supervisor]]:
    """Yield a supervisor, with a log of its own, whose tasks can be killed."""
    monkeypatch.setattr("cdc_actors.service.supervisor_actor.TaskActor", Frail)
    log = TaskLog.sqlite(str(tmp_path / "cdc.db"))
    secrets = SecretBox.open(tmp_path / "cdc.key", {})
    config = Config(
        source_config=SourceConfig(
            uri=source.uri,
            etcd=Etcd(address=(source.etcd_address,)),
            natsmq=Natsmq(address=source.nats_address),
        )
    )
    stores = Stores(
        log, Checkpoints(log), SendHorizons(log), SegmentsDone(log), secrets
    )
    ref = Supervisor.start(config, stores, SourceClock())
    ref.ask(Rebuild())
    wait_until(lambda: answers(ref), "the log is read")
    yield ref
    for task in ref.ask(Shutdown()):
        task.get(timeout=60)
    pykka.ActorRegistry.stop_all()
    log.close()


def test_task_that_died_is_brought_back(
    supervisor: pykka.ActorRef[Supervisor],
    target_lite: EmbeddedLite,
    source: EmbeddedMilvus,
    emptied,
) -> None:
    """After the death of its actor a task goes on, with one reader as before."""
    client, lite = emptied(source), emptied(target_lite)
    task = create(supervisor, target_lite.uri)
    books = Books(client).create()
    books.insert(range(3))
    wait_keys(lite, range(3))
    for generation in range(1, 3):
        (actor,) = pykka.ActorRegistry.get_by_class(Frail)
        actor.tell("die")
        wait_until(lambda: not actor.is_alive(), "the actor is dead")  # noqa: B023
        books.insert(range(3 * generation, 3 * generation + 3))
        wait_keys(lite, range(3 * generation + 3))
        wait_until(lambda: living() == [1, 0, 1], "nothing of the former life is left")
    supervisor.ask(PauseTask(task, CLIENT)).get(timeout=60)
    assert state(supervisor, task) == "Paused"
    books.insert([100])
    assert keys(lite) == list(range(9))
    for each in (client, lite):
        each.close()


def test_pause_that_was_not_written_down_is_not_done(
    supervisor: pykka.ActorRef[Supervisor],
    target_lite: EmbeddedLite,
    source: EmbeddedMilvus,
    emptied,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pause that the log refuses is an error; the task runs on and can be paused."""
    client, lite = emptied(source), emptied(target_lite)
    task = create(supervisor, target_lite.uri)
    books = Books(client).create()
    books.insert(range(3))
    wait_keys(lite, range(3))

    def refuse(_log: TaskLog, _task: object, _check: object) -> None:
        raise UnavailableError("the database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(TaskLog, "save", refuse)
        with pytest.raises(UnavailableError):
            supervisor.ask(PauseTask(task, CLIENT)).get(timeout=60)
        assert state(supervisor, task) == "Running"
    books.insert(range(3, 6))
    wait_keys(lite, range(6))
    assert state(supervisor, task) == "Running"
    supervisor.ask(PauseTask(task, CLIENT)).get(timeout=60)
    assert state(supervisor, task) == "Paused"
    for each in (client, lite):
        each.close()


def answers(supervisor: pykka.ActorRef[Supervisor]) -> bool:
    """Tell whether requests are answered."""
    try:
        supervisor.ask(ListTasks())
    except UnavailableError:
        return False
    return True


def living() -> list[int]:
    """Return how many readers, appliers' threads and watches of the catalog are alive."""
    names = [each.name for each in threading.enumerate()]
    return [
        len(pykka.ActorRegistry.get_by_class(Reader)),
        sum(name.startswith("applier-") for name in names),
        names.count("etcd-watch"),
    ]


def create(supervisor: pykka.ActorRef[Supervisor], uri: str) -> str:
    """Create a task of every collection."""
    spec = TaskSpec(target=ConnectParam(uri=uri), collection_infos=("*",))
    return supervisor.ask(CreateTask(None, spec, CLIENT)).get(timeout=60)


def state(supervisor: pykka.ActorRef[Supervisor], task: str) -> str:
    """Return what a task is meant to do."""
    return supervisor.ask(GetTask(task)).snapshot.task.state
