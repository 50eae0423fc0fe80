"""What is asked of a task that another service has. Real servers, real sockets."""

from __future__ import annotations

import json
import socket

import pytest

from cdc_actors.errors import TaskElsewhereError
from cdc_actors.store.ownership import Owner
from cdc_http.task_ids import known_task_id
from tests.support.http_service import FakeService, entry, task_view
from tests.support.tasks import SPEC
from tests.unit.http.test_passing_on import (
    EYE,
    ID,
    NOBODY,
    OPS,
    TOKENS,
    Node,
    bearer,
    start,  # noqa: F401
)

OURS = "b" * 32


def service(*ids, **more):
    """Return a service that has these tasks."""
    return FakeService(tasks={each: task_view(each, SPEC) for each in ids}, **more)


def give(node, task_id, url):
    """Have a node know that another service, at that URL, has a task."""
    node.service.owners[task_id] = Owner("there", 4711, "then", url=url)


@pytest.fixture
def other(start) -> Node:  # noqa: F811
    """Return a node that has a task with two events."""
    events = [entry(1, "created"), entry(2)]
    return start(service(ID, events=events), tokens=TOKENS)


@pytest.fixture
def node(start, other) -> Node:  # noqa: F811
    """Return one that has another task, and knows of that."""
    node = start(service(OURS), tokens=TOKENS)
    give(node, ID, other.url)
    return node


@pytest.mark.parametrize("kind", ["get", "pause", "delete", "position", "compare"])
@pytest.mark.parametrize(
    "written", [ID, ID.upper(), f"{ID[:8]}-aaaa-aaaa-aaaa-{ID[:12]}"]
)
def test_its_service_is_asked(node, other, kind, written):
    """However the client writes the id; and for a task of ours nobody else is."""
    status, answer = node.ask(kind, {"task_id": written}, **bearer(OPS))
    assert status == 200, answer
    assert node.service.asked == []
    before = len(other.service.asked)
    assert before > 0
    assert other.service.asked[0][1] == ID
    assert node.ask("get", {"task_id": OURS}, **bearer(EYE))[0] == 200
    assert node.service.asked == [("get", OURS)]
    assert len(other.service.asked) == before


def test_a_task_that_a_client_has_named_is_found(node, other):
    """Services know it by another id than the client."""
    with known_task_id("mine") as known:
        other.service.tasks[known] = task_view(known, SPEC)
    give(node, known, other.url)
    assert node.ask("pause", {"task_id": "mine"}, **bearer(OPS))[0] == 200
    (asked,) = other.service.asked
    assert (asked[:2], asked[2].address) == (
        ("pause", known),
        "127.0.0.1 (by 127.0.0.1)",
    )


def test_its_events_come_from_its_service(node, other):
    """As a page or line by line."""
    path = f"/cdc/tasks/{ID}/events"
    for accept in ("application/json", "application/x-ndjson"):
        status, _, body = node.get(path, bearer(EYE) | {"Accept": accept})
        assert (status, b'"created"' in body) == (200, True)
    assert node.service.asked == []
    assert {kind for kind, *_ in other.service.asked} == {"history"}


def test_what_the_log_knows_is_told_of_one_that_is_gone(node):
    """A task and its events; whatever is to be done is refused."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    give(node, ID, url)
    node.service.tasks[ID] = task_view(ID, SPEC)
    node.service.events.append(entry(7))
    status, answer = node.ask("get", {"task_id": ID}, **bearer(EYE))
    assert (status, answer["data"]["task"]["task_id"]) == (200, ID)
    status, _, body = node.get(f"/cdc/tasks/{ID}/events", bearer(EYE))
    assert (status, json.loads(body)["data"]["events"][0]["number"]) == (200, 7)
    for kind in ("pause", "position", "delete"):
        status, answer = node.ask(kind, {"task_id": ID}, **bearer(OPS))
        assert status == 503, answer
        assert f"{url} cannot be reached" in answer["message"]
    assert [kind for kind, *_ in node.service.asked] == ["get", "history"]


def test_one_that_gives_no_url_is_named(node):
    """By the service that is asked, which cannot pass anything on."""
    give(node, ID, "")
    told = "the task is for process 4711 on host there since then to answer"
    node.service.failure = TaskElsewhereError(told)
    status, answer = node.ask("pause", {"task_id": ID}, **bearer(OPS))
    assert (status, told in answer["message"]) == (503, True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b'{"request_type": 7}',
        b'{"request_data": "x"}',
        b'{"request_data": {"task_id": 7}}',
        b'{"request_type": "get", "request_data": {"task_id": ""}}',
        b"[" * 2000,
        b'{"request_type": "\xff"}',
    ],
)
def test_what_is_no_request_is_answered_here(start, node, body):  # noqa: F811
    """With the same words as by a service that is alone."""
    alone = start(service(OURS), tokens=TOKENS)
    answers = [
        each.get("/cdc", bearer(OPS), method="POST", body=body)
        for each in (node, alone)
    ]
    (status, _, told), (as_alone, _, as_told) = answers
    assert (status, told) == (as_alone, as_told)
    assert 400 <= status < 500


def test_the_role_that_counts_is_that_at_its_service(node, other):
    """Whoever may only look changes nothing by way of another service."""
    status, answer = node.ask("delete", {"task_id": ID}, **bearer(EYE))
    assert (status, "has the role viewer" in answer["message"]) == (403, True)
    assert node.ask("delete", {"task_id": ID})[0] == 401
    assert ID in other.service.tasks


def test_nothing_is_passed_on_twice(node, start):  # noqa: F811
    """Two that take each other for the one that has a task end in an answer."""
    mistaken = start(service(), tokens=TOKENS)
    give(node, ID, mistaken.url)
    give(mistaken, ID, node.url)
    status, _ = node.ask("get", {"task_id": ID}, **bearer(EYE))
    assert status == 404
    assert (node.service.asked, mistaken.service.asked) == ([], [("get", ID)])


def test_a_new_task_is_created_by_whoever_is_asked(node, other):
    """A service far away does not matter to it."""
    give(node, OURS, NOBODY)
    data = {
        "milvus_connect_param": {"uri": "http://t:1"},
        "collection_infos": [{"name": "*"}],
    }
    assert node.ask("create", data, **bearer(OPS))[0] == 200
    assert other.service.asked == []
