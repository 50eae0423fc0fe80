"""Answers about all tasks, of which other services have some. Real servers and sockets."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from cdc_actors.config.auth import Token
from cdc_actors.errors import UnavailableError
from cdc_actors.service.views import Health
from cdc_actors.store.ownership import Owner
from cdc_http import joined_answers
from cdc_http.passing_on import CLIENT
from cdc_http.task_ids import known_task_id
from cdc_http.tokens import new_token
from tests.support.http_service import WHEN, FakeService, task_view
from tests.support.tasks import SPEC
from tests.unit.http.test_passing_on import Node, answering, start  # noqa: F401

OPS, OPS_HASH = new_token("ops")
TOKENS = (Token(name="ops", role="operator", hash=OPS_HASH),)
IDS = [f"{number:x}" * 32 for number in range(10)]
ALL_TASKS = ["list", "overview"]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def view(number):
    """Return a task; those with higher numbers were created later."""
    created = WHEN + timedelta(seconds=number)
    return replace(task_view(IDS[number], SPEC), created_at=created)


def unheard(number):
    """Return a task as far as the log knows it."""
    health = Health(status="unknown", since=WHEN, error="not heard of")
    return replace(view(number), health=health, rows_applied=None)


def service(*numbers, log=()):
    """Return a service that has some tasks, and sees others in the log."""
    return FakeService(
        tasks={IDS[each]: view(each) for each in numbers},
        in_log={IDS[each]: unheard(each) for each in log},
    )


def owner(url):
    """Return who is reached there."""
    return Owner("there", 4711, "then", url=url)


def beside(node, *others):
    """Let a node know others, each of which has a task that it has not."""
    node.service.owners = {f"of {each}": owner(each) for each in others}


def shown(node, kind, **headers):
    """Return ids and health of the tasks that a node tells of."""
    status, answer = node.ask(kind, **headers)
    assert status == 200, answer
    tasks = answer["data"]["tasks"]
    return [(IDS.index(t["task_id"]), t["health"]["status"]) for t in tasks]


@pytest.fixture
def three(start) -> list[Node]:  # noqa: F811
    """Return three nodes that know each other, with some tasks each."""
    nodes = [start(service(*numbers)) for numbers in ((1, 4), (0, 5), (2, 3))]
    for each in nodes:
        beside(each, *(other.url for other in nodes if other is not each))
    return nodes


@pytest.mark.parametrize("kind", ALL_TASKS)
def test_tasks_of_all_come_in_the_order_of_their_creation(three, kind):
    """Whoever is asked, which asks each other one once."""
    for node in three:
        assert shown(node, kind) == [(number, "starting") for number in range(6)]
    assert [each.service.asked for each in three] == [[(kind,)] * 3] * 3


def test_positions_of_all_are_joined(three):
    """Both of rows and of requests; those of one task are its service's alone."""
    _, answer = three[0].ask("position")
    for member in ("positions", "op_positions"):
        found = sorted(each["task_id"] for each in answer["data"][member])
        assert found == IDS[:6]
    assert answer["data"]["target_positions"] == []
    three[0].service.owners[IDS[2]] = owner(three[2].url)
    _, answer = three[0].ask("position", {"task_id": IDS[2]})
    assert [each["task_id"] for each in answer["data"]["positions"]] == [IDS[2]]


def test_lags_of_all_are_joined(three):
    """What comes behind a sample, of each task; the page shows them side by side."""
    for number, node in enumerate(three):
        node.service.lags = {IDS[number]: [1.0, 2.0, float(number)]}
    for node in three:
        _, answer = node.ask("lag_samples", {"after": 2})
        assert answer["data"]["last"] == 3
        assert answer["data"]["lag_seconds"] == {
            IDS[number]: [float(number)] for number in range(3)
        }


@pytest.mark.parametrize("kind", ALL_TASKS)
def test_whom_another_service_asks_asks_nobody(three, kind):
    """So no request goes round, and each task is told of once."""
    first, *others = three
    assert shown(first, kind, **{CLIENT: "192.0.2.7"}) == [
        (1, "starting"),
        (4, "starting"),
    ]
    assert [each.service.asked for each in others] == [[], []]


def test_what_concerns_no_tasks_is_not_asked_of_others(three):
    """Nor is one task: its own service answers for that."""
    first, *others = three
    assert first.ask("get", {"task_id": IDS[1]})[0] == 200
    assert first.ask("pause", {"task_id": IDS[1]})[0] == 200
    assert [each.service.asked for each in others] == [[], []]


def test_each_service_checks_the_token_that_came(start):  # noqa: F811
    """It is passed on; one that does not know it tells nothing of its tasks."""
    knows, not_it = new_token("another")
    others = Token(name="another", role="operator", hash=not_it)
    asked = start(service(0, log=(1, 2)), tokens=TOKENS)
    trusting = start(service(1), tokens=TOKENS)
    strange = start(service(2), tokens=(others,))
    beside(asked, trusting.url, strange.url)
    headers = {"Authorization": f"Bearer {OPS}"}
    expected = [(0, "starting"), (1, "starting"), (2, "unknown")]
    assert shown(asked, "list", **headers) == expected
    assert asked.ask("list", Authorization=f"Bearer {knows}")[0] == 401
    assert (len(trusting.service.asked), strange.service.asked) == (1, [])


@pytest.mark.parametrize("kind", ALL_TASKS)
def test_tasks_of_one_that_is_gone_are_shown_as_the_log_has_them(start, kind):  # noqa: F811
    """Their health is unknown, with the reason, and all others are as they are."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = f"http://127.0.0.1:{listener.getsockname()[1]}"
    other = start(service(3))
    node = start(service(1, log=(0, 1, 2, 3)))
    beside(node, gone, other.url)
    expected = [(0, "unknown"), (1, "starting"), (2, "unknown"), (3, "starting")]
    assert shown(node, kind) == expected
    task = node.ask(kind)[1]["data"]["tasks"][0]
    assert task["health"]["error"] == "not heard of"
    assert (task["lag_seconds"], task["rows_applied"]) == (None, None)
    assert set(task) == set(node.ask(kind)[1]["data"]["tasks"][1])


def test_one_that_stands_still_is_not_waited_for(start, monkeypatch):  # noqa: F811
    """Its tasks are told of from the log, as those of one that gives no URL."""
    monkeypatch.setattr(joined_answers, "ANSWER_SECONDS", 0.2)
    still = start(service(1))
    still.service.gate.clear()
    node = start(service(0, log=(1, 2)))
    beside(node, still.url, "")
    expected = [(0, "starting"), (1, "unknown"), (2, "unknown")]
    assert shown(node, "list") == expected
    assert still.service.entered.is_set()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"nonsense\r\n\r\n",
        HEAD + b"Content-Length: 99\r\n\r\n{",
        HEAD + b"Content-Length: 5\r\n\r\n{half",
        HEAD.replace(b"200", b"500") + b"Content-Length: 2\r\n\r\n{}",
    ],
    ids=["nothing", "nonsense", "cut off", "no JSON", "an error"],
)
def test_an_answer_that_is_none_is_passed_over(start, sent):  # noqa: F811
    """The request is answered nevertheless, with what the log has."""
    node = start(service(0, log=(1,)))
    with answering(sent) as url:
        beside(node, url)
        assert shown(node, "list") == [(0, "starting"), (1, "unknown")]


def test_a_task_that_moves_meanwhile_is_told_of_once(start):  # noqa: F811
    """Though both have it when they are asked."""
    node, other = start(service(0, 1)), start(service(1, 2))
    beside(node, other.url)
    expected = [(0, "starting"), (1, "starting"), (2, "starting")]
    assert shown(node, "list") == shown(node, "overview") == expected


def test_names_of_clients_are_known(start):  # noqa: F811
    """A task that a client has named is not taken for one that nobody told of."""
    with known_task_id("mine") as known:
        named = task_view(known, msgspec.structs.replace(SPEC, task_name="mine"))
    node = start(FakeService(tasks={known: named}, in_log={known: named}))
    tasks = node.ask("list")[1]["data"]["tasks"]
    assert [each["task_id"] for each in tasks] == ["mine"]


def test_a_store_that_does_not_answer_leaves_what_is_known_here(start, monkeypatch):  # noqa: F811
    """If no other service was known: there is nobody whose tasks could be left out."""
    node = start(service(0))

    def fail(*_):
        raise UnavailableError("the event log cannot answer")

    monkeypatch.setattr(node.service, "unheard", fail)
    assert shown(node, "list") == [(0, "starting")]


@pytest.mark.parametrize(
    ("cut_off", "status"), [(False, "starting"), (True, "unknown")]
)
def test_of_two_that_tell_of_a_task_one_is_believed(start, cut_off, status):  # noqa: F811
    """Whoever is asked, unless it has lost its lease: others may have its tasks by now."""
    other = start(FakeService(tasks={IDS[0]: unheard(0)}))
    node = start(service(0, 1))
    node.service.cut_off = cut_off
    beside(node, other.url)
    assert shown(node, "list") == [(0, status), (1, "starting")]


def test_what_nobody_tells_of_is_not_left_out_in_silence(start, monkeypatch):  # noqa: F811
    """With the store away, one that does not answer makes the whole answer a 503."""
    other, node = start(service(1)), start(service(0))
    beside(node, other.url)

    def unheard(_heard):
        raise UnavailableError("the store is away")

    monkeypatch.setattr(node.service, "unheard", unheard)
    assert shown(node, "list") == [(0, "starting"), (1, "starting")]
    beside(node, other.url, "")
    status, answer = node.ask("list")
    assert (status, "the store is away" in answer["message"]) == (503, True)
