"""What clients of POST /cdc may rely on, one at a time and many at once."""

from __future__ import annotations

import socket
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cdc import Cdc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

BY_HAND = "manually pause through http interface"
ALL = {"collection_infos": [{"name": "*"}]}


@pytest.fixture(scope="module")
def running(
    source: EmbeddedMilvus, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cdc]:
    with Cdc(tmp_path_factory.mktemp("service"), source) as service:
        yield service


@pytest.fixture
def cdc(running: Cdc) -> Iterator[Cdc]:
    """Yield a service without tasks."""
    yield running
    for task in running.ask("list")["tasks"]:
        running.ask("delete", task_id=task["task_id"])


@pytest.fixture
def task(cdc: Cdc, target_lite: EmbeddedLite) -> str:
    return cdc.create(target_lite.uri)


def at_once(count: int, cdc: Cdc, kind: str, **data: Any) -> list[tuple[int, Any]]:
    """Send the same request from many clients at a time; return all answers."""
    with ThreadPoolExecutor(count) as clients:
        answers = [clients.submit(cdc.request, kind, **data) for _ in range(count)]
        return [answer.result() for answer in answers]


def listed(cdc: Cdc) -> dict[str, str]:
    """Return the state of each task in the list."""
    return {each["task_id"]: each["state"] for each in cdc.ask("list")["tasks"]}


def test_state_is_true_once_a_request_is_answered(cdc: Cdc, task: str) -> None:
    """After each answer get and list agree on what was asked for."""
    assert (cdc.get(task)["state"], listed(cdc)) == ("Running", {task: "Running"})
    cdc.ask("pause", task_id=task)
    paused = cdc.get(task)
    assert (paused["state"], paused["reason"]) == ("Paused", BY_HAND)
    assert listed(cdc) == {task: "Paused"}
    cdc.ask("resume", task_id=task)
    assert (cdc.get(task)["state"], listed(cdc)) == ("Running", {task: "Running"})
    assert "reason" not in cdc.get(task)


def test_state_is_true_in_a_tight_loop(cdc: Cdc, task: str) -> None:
    """Pause and resume in close succession are each done when they are answered."""
    for _ in range(20):
        cdc.ask("pause", task_id=task)
        assert cdc.get(task)["state"] == "Paused"
        cdc.ask("resume", task_id=task)
        assert cdc.get(task)["state"] == "Running"


def test_deleted_task_is_unknown(cdc: Cdc, task: str) -> None:
    """Once delete has answered, nothing that names the task finds it."""
    cdc.ask("delete", task_id=task)
    for kind in ("get", "pause", "resume", "delete"):
        status, answer = cdc.request(kind, task_id=task)
        assert (status, answer["code"]) == (404, 404), kind
        assert task in answer["message"]
    assert cdc.ask("delete", task_id=task, ignore_not_found=True) == {}
    assert listed(cdc) == {}


def test_task_that_is_there_already_is_a_conflict(cdc: Cdc, task: str) -> None:
    """A running task is not resumed, a paused one not paused; the state stays."""
    assert cdc.request("resume", task_id=task)[0] == 409
    assert cdc.get(task)["state"] == "Running"
    cdc.ask("pause", task_id=task)
    assert cdc.request("pause", task_id=task)[0] == 409
    assert cdc.get(task)["state"] == "Paused"


def test_many_creates_of_one_id_make_one_task(
    cdc: Cdc, target_lite: EmbeddedLite
) -> None:
    """Fifty clients that create the same id at once all get it, and one task is made."""
    task = uuid.uuid4().hex
    param = {"uri": target_lite.uri}
    answers = at_once(
        50, cdc, "create", task_id=task, milvus_connect_param=param, **ALL
    )
    told = [(status, answer["data"]["task_id"]) for status, answer in answers]
    assert told == [(200, task)] * 50
    assert listed(cdc) == {task: "Running"}


def test_repeated_create_finds_the_task(cdc: Cdc, target_lite: EmbeddedLite) -> None:
    """The same create gives the id of the first; one of another body is a conflict."""
    task = str(uuid.uuid4())
    first = cdc.create(target_lite.uri, task_id=task, **ALL)
    assert first == task.replace("-", "")
    assert cdc.create(target_lite.uri, task_id=task, **ALL) == first
    status, answer = cdc.request(
        "create",
        task_id=task,
        milvus_connect_param={"uri": target_lite.uri},
        collection_infos=[{"name": "another"}],
    )
    assert status == 409
    assert "another collection_infos" in answer["message"]
    assert list(listed(cdc)) == [first]


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [("pause", [], "Paused"), ("resume", ["pause"], "Running")],
)
def test_many_requests_at_once_are_done_once(
    kind: str, before: list[str], after: str, cdc: Cdc, task: str
) -> None:
    """Of twenty clients that ask the same at once, one is told that it was done."""
    for each in before:
        cdc.ask(each, task_id=task)
    answers = at_once(20, cdc, kind, task_id=task)
    assert sorted(status for status, _ in answers) == [200] + [409] * 19
    assert cdc.get(task)["state"] == after


def test_many_deletes_at_once_delete_once(cdc: Cdc, task: str) -> None:
    """Of twenty clients that delete at once, one did it; for the others it is gone."""
    answers = at_once(20, cdc, "delete", task_id=task)
    assert sorted(status for status, _ in answers) == [200] + [404] * 19, answers
    assert listed(cdc) == {}


def test_requests_that_meet_a_delete_get_one_true_answer(cdc: Cdc, task: str) -> None:
    """Whatever is asked while a task is deleted was either done or finds it gone."""
    kinds = ["pause", "resume", "delete", "get"] * 6
    with ThreadPoolExecutor(len(kinds)) as clients:
        answers = list(clients.map(lambda kind: cdc.request(kind, task_id=task), kinds))
    wrong = [
        (k, a)
        for k, a in zip(kinds, answers, strict=True)
        if a[0] not in (200, 404, 409)
    ]
    assert wrong == []
    deletes = [a[0] for k, a in zip(kinds, answers, strict=True) if k == "delete"]
    assert sorted(deletes) == [200] + [404] * 5


def test_id_of_a_deleted_task_is_refused(
    cdc: Cdc, task: str, target_lite: EmbeddedLite
) -> None:
    """An id stands for one task for ever: a create with a used one says so."""
    cdc.ask("delete", task_id=task)
    status, answer = cdc.request(
        "create", task_id=task, milvus_connect_param={"uri": target_lite.uri}, **ALL
    )
    assert status == 409
    assert "used before" in answer["message"]
    assert listed(cdc) == {}


@pytest.mark.parametrize("kind", ["closed", "silent"])
def test_unreachable_target_is_refused(kind: str, cdc: Cdc) -> None:
    """A target that is not there, or takes the connection and is silent, is a 422."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if kind == "silent":
            server.listen()
        uri = "http://{}:{}".format(*server.getsockname())
        param = {"uri": uri, "connect_timeout": 1}
        status, answer = cdc.request("create", milvus_connect_param=param, **ALL)
    assert (status, answer["code"]) == (422, 422)
    assert uri in answer["message"]
    assert listed(cdc) == {}


def test_silent_targets_do_not_hold_up_others(
    cdc: Cdc, task: str, target_lite: EmbeddedLite
) -> None:
    """While creates wait for targets that do not answer, other requests are served."""
    with socket.socket() as server, ThreadPoolExecutor(20) as clients:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        uri = "http://{}:{}".format(*server.getsockname())
        param = {"uri": uri, "connect_timeout": 2}
        waiting = [
            clients.submit(cdc.request, "create", milvus_connect_param=param, **ALL)
            for _ in range(3)
        ]
        cdc.ask("pause", task_id=task)
        assert cdc.get(task)["state"] == "Paused"
        assert not any(each.done() for each in waiting)
        assert {each.result()[0] for each in waiting} == {422}


def test_too_many_tasks_are_refused(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    tmp_path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At maxTaskNum a create is a 429; a task that was deleted makes room again."""
    monkeypatch.setenv("CDC_ACTORS_MAX_TASK_NUM", "2")
    param = {"uri": target_lite.uri}
    with Cdc(tmp_path, source) as cdc:
        with ThreadPoolExecutor(6) as clients:
            sent = [
                clients.submit(
                    cdc.request,
                    "create",
                    milvus_connect_param=param,
                    collection_infos=[{"name": f"c{number}"}],
                )
                for number in range(6)
            ]
        answers = [each.result()[0] for each in sent]
        assert sorted(answers) == [200] * 2 + [429] * 4
        first, _ = listed(cdc)
        cdc.ask("delete", task_id=first)
        cdc.create(target_lite.uri, db_collections={"other": [{"name": "*"}]})
