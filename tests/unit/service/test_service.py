"""What the API asks of the supervisor, where a task ends meanwhile."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any, cast

import pykka
import pytest
from msgspec.structs import replace

from cdc_actors.config import Config, SourceConfig
from cdc_actors.errors import (
    TargetRefusedError,
    UnavailableError,
    UnknownTaskError,
)
from cdc_actors.service.messages import UpdateTask
from cdc_actors.service.service import Service
from cdc_actors.service.snapshot import TaskSnapshot
from cdc_actors.service.tenure import Ownership
from cdc_actors.tasks import SUPERVISOR, ConnectParam, NameMapping, Task
from tests.support.tasks import CLIENT, SPEC, new_task


class Supervisor:
    """Passes the first request on to a task that has just ended; the next one fails."""

    def __init__(self, failure: Exception) -> None:
        self._failures = [failure]
        self._passed_on = False

    def ask(self, _message: object, timeout: float) -> Any:
        """Answer with the task's future, then with the failure."""
        assert timeout
        if self._passed_on:
            raise self._failures.pop()
        self._passed_on = True
        answer: pykka.ThreadingFuture[Any] = pykka.ThreadingFuture()
        answer.set_exception((pykka.ActorDeadError, pykka.ActorDeadError(), None))
        return answer


class Answering:
    """A supervisor that answers, or raises, the same each time."""

    def __init__(self, answer: Exception | None) -> None:
        self._answer = answer

    def ask(self, _message: object, timeout: float) -> Any:
        """Do so."""
        assert timeout
        if self._answer is not None:
            raise self._answer
        return []


class Held(Ownership):
    """A store that is ours, with a supervisor."""

    alive = True  # type: ignore[assignment]

    def __init__(self, supervisor: Any) -> None:
        self._tenure = cast("Any", SimpleNamespace(supervisor=supervisor))


@pytest.mark.parametrize(
    ("answer", "alive"),
    [
        (None, True),
        (UnavailableError("the tasks are being read"), True),
        (pykka.Timeout(), False),
    ],
    ids=["it answers", "it answers that it does not", "it hangs"],
)
def test_a_supervisor_that_hangs_is_not_alive(
    answer: Exception | None, *, alive: bool
) -> None:
    """Whoever restarts a service that is not alive must hear of it."""
    service = Service(Config(source_config=SourceConfig()))
    service._ownership = Held(Answering(answer))
    assert service.alive() is alive


def ownership_of(tenure: object) -> Any:
    """Return what owns a store with all of its tasks."""
    return SimpleNamespace(alive=True, tenure=tenure, refuse_moving=lambda _: None)


@pytest.mark.parametrize(
    ("then", "answered"),
    [
        (UnknownTaskError("not found"), UnknownTaskError),
        (pykka.ActorDeadError(), UnavailableError),
    ],
    ids=["it is deleted", "it starts again"],
)
def test_a_task_that_ends_meanwhile_is_gone_or_comes_back(
    then: Exception, answered: type[Exception]
) -> None:
    """The supervisor knows which: 404 if it was deleted, else 503, to be tried again."""
    tenure = SimpleNamespace(supervisor=Supervisor(then))
    service = Service(Config(source_config=SourceConfig()))
    service._ownership = ownership_of(tenure)
    with pytest.raises(answered):
        service.pause("0" * 32, SUPERVISOR)


class WithTask:
    """A supervisor that has one task, and takes what is asked of it."""

    def __init__(self, task: Task) -> None:
        self._snapshot = TaskSnapshot(task=task)
        self.updates: list[UpdateTask] = []

    def ask(self, message: object, timeout: float) -> Any:
        """Show the task, or note an update."""
        assert timeout
        if isinstance(message, UpdateTask):
            self.updates.append(message)
        return SimpleNamespace(snapshot=self._snapshot)


@pytest.mark.parametrize("changes", ["selection", "names", "address", "token"])
def test_an_update_asks_the_target_only_about_itself(changes: str) -> None:
    """What is selected, and under which names, may change while the target is away."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        away = ConnectParam(
            uri=f"http://127.0.0.1:{nobody.getsockname()[1]}", connect_timeout=1
        )
        task = new_task(spec=replace(SPEC, target=away, token=""))
        supervisor = WithTask(task)
        secrets = SimpleNamespace(decrypt=lambda _secret: "old")
        stores = SimpleNamespace(secrets=secrets, neighbours=None)
        tenure = SimpleNamespace(supervisor=supervisor, stores=stores)
        service = Service(Config(source_config=SourceConfig()))
        service._ownership = ownership_of(tenure)
        mapping = (NameMapping(source_db="a", target_db="b"),)
        changed: dict[str, Any] = {
            "selection": {"collection_infos": ("books",)},
            "names": {"name_mapping": mapping},
            "address": {"target": replace(away, connect_timeout=2)},
            "token": {"token": "new"},
        }[changes]
        spec = replace(task.spec, **changed)
        if changes in {"address", "token"}:
            with pytest.raises(TargetRefusedError):
                service.update(task.task_id, task.spec, spec, CLIENT)
        else:
            assert service.update(task.task_id, task.spec, spec, CLIENT)
        assert len(supervisor.updates) == (changes in {"selection", "names"})
