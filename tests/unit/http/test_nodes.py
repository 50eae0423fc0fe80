"""``/cdc/nodes`` and ``cdc-actors nodes``: which services a store has, and draining one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from cdc_actors.cli.main import main
from cdc_actors.config.auth import Token
from cdc_actors.errors import UnavailableError
from cdc_actors.store.ownership import Node, Owner
from cdc_http import Server, create_app
from cdc_http.tokens import new_token
from tests.support.http_service import Api, FakeService, error_of

if TYPE_CHECKING:
    from collections.abc import Iterator

SINCE = "2026-11-30T10:00Z"
NODES = [
    Node(
        node_id="0f3a9c1e",
        process=Owner("a", 1, SINCE, url="http://a:8444"),
        silent_seconds=0.54,
        tasks=3,
        load=4.5,
        lag_seconds=1.25,
    ),
    Node(
        node_id="1f3a9c1e", process=Owner("b", 2, SINCE), silent_seconds=2, drains=True
    ),
    Node(
        node_id="2f3a9c1e",
        process=Owner("c", 3, SINCE),
        silent_seconds=11,
        tasks=0,
        drains=True,
    ),
    Node(process=Owner("d", 4, SINCE)),
]
STATES = ["works", "drains", "silent", "works"]
TABLE = """\
NODE      STATE   URL            HOST  PID  SINCE              HEARD OF  TASKS  LOAD  LAG
0f3a9c1e  works   http://a:8444  a     1    2026-11-30T10:00Z  0 s ago   3      4.5   1.2 s
1f3a9c1e  drains  -              b     2    2026-11-30T10:00Z  2 s ago   -      -     -
2f3a9c1e  silent  -              c     3    2026-11-30T10:00Z  11 s ago  0      -     -
-         works   -              d     4    2026-11-30T10:00Z  0 s ago   -      -     -
"""
OPS, OPS_HASH = new_token("ops")
EYE, EYE_HASH = new_token("eye")
TOKENS = (
    Token(name="ops", role="operator", hash=OPS_HASH),
    Token(name="eye", role="viewer", hash=EYE_HASH),
)


@pytest.fixture
def service() -> FakeService:
    """Return a service that knows others."""
    return FakeService(on_store=NODES)


@pytest.fixture
def url(service: FakeService) -> Iterator[str]:
    """Serve it, and yield where."""
    server = Server(create_app(service), "127.0.0.1", 0)
    server.start()
    yield f"http://127.0.0.1:{server.address[1]}"
    server.stop()


def test_each_says_how_it_is():
    """One works, one drains; one that was not heard of for ten seconds may be gone."""
    answer = Api(FakeService(on_store=NODES)).client.simulate_get("/cdc/nodes")
    assert answer.status_code == 200
    shown = answer.json["data"]["nodes"]
    assert [each["state"] for each in shown] == STATES
    assert shown[0] == {
        "node_id": "0f3a9c1e",
        "url": "http://a:8444",
        "host": "a",
        "pid": 1,
        "since": SINCE,
        "state": "works",
        "silent_seconds": 0.5,
        "tasks": 3,
        "load": 4.5,
        "lag_seconds": 1.25,
    }


def test_a_store_that_does_not_answer_is_said():
    """Status 503 with the reason."""
    service = FakeService(failure=UnavailableError("the event log cannot answer"))
    answer = Api(service).client.simulate_get("/cdc/nodes")
    assert "cannot answer" in error_of(answer, 503)


def test_people_see_a_table(url: str) -> None:
    """A line for each, with what is not known as a dash."""
    done = CliRunner().invoke(main, ["nodes", "--url", url])
    assert (done.exit_code, done.output) == (0, TABLE)


def test_programs_get_json(url: str) -> None:
    """As the API has it."""
    done = CliRunner().invoke(main, ["nodes", "--url", url, "-o", "json"])
    assert [each["pid"] for each in json.loads(done.output)["nodes"]] == [1, 2, 3, 4]


def post(api: Api, body: object, token: str = OPS) -> Any:
    """Post something to ``/cdc/nodes``."""
    headers = {"Authorization": f"Bearer {token}"}
    return api.client.simulate_post("/cdc/nodes", json=body, headers=headers)


def test_one_is_drained_and_has_tasks_again(service: FakeService) -> None:
    """The answer has all services, as GET has them."""
    api = Api(service, tokens=TOKENS)
    for body, drains in (({}, True), ({"drain": False}, False)):
        answer = post(api, {"node_id": "0f3a9c1e", **body})
        assert answer.status_code == 200
        states = [each["state"] for each in answer.json["data"]["nodes"]]
        assert states == STATES
        assert service.asked == [("drain", "0f3a9c1e", drains), ("nodes",)]
        service.asked.clear()


def test_a_service_that_is_not_there_is_not_drained(service: FakeService) -> None:
    """The answer says what to do; so it is where one has the store alone."""
    message = error_of(post(Api(service, tokens=TOKENS), {"node_id": "ff"}), 404)
    assert message.startswith("there is no service ff that others could work for")
    assert "GET /cdc/nodes" in message


def test_who_may_only_look_drains_nothing(service: FakeService) -> None:
    """Nor does who is not known; both may see that from the status."""
    api = Api(service, tokens=TOKENS)
    message = error_of(post(api, {"node_id": "0f3a9c1e"}, EYE), 403)
    assert "has the role viewer, and a request to drain a service" in message
    error_of(post(api, {"node_id": "0f3a9c1e"}, "unknown"), 401)
    assert service.asked == []


@pytest.mark.parametrize(
    "body", [{}, [], {"node_id": 7}, {"node_id": "0f3a9c1e", "drain": "yes"}]
)
def test_what_names_no_service_is_refused(service: FakeService, body: object) -> None:
    """Before anything is done."""
    message = error_of(post(Api(service, tokens=TOKENS), body), 400)
    assert "fail to decode the request" in message
    assert service.asked == []


def test_other_methods_are_refused(service: FakeService) -> None:
    """The answer says which there are."""
    answer = Api(service).client.simulate_put("/cdc/nodes")
    assert answer.status_code == 405
    assert {"GET", "POST"} <= set(answer.headers["allow"].split(", "))


@pytest.mark.parametrize("options", [[], ["--off"]])
def test_a_command_drains_one(
    service: FakeService, url: str, options: list[str]
) -> None:
    """It prints all services then, for people or programs."""
    command = ["nodes", "drain", "0f3a9c1e", *options, "--url", url]
    done = CliRunner().invoke(main, command)
    assert (done.exit_code, done.output) == (0, TABLE)
    assert service.asked == [("drain", "0f3a9c1e", not options), ("nodes",)]
    done = CliRunner().invoke(main, [*command, "-o", "json"])
    assert [each["state"] for each in json.loads(done.output)["nodes"]] == STATES


def test_a_command_says_that_there_is_no_such_service(url: str) -> None:
    """With the words of the API, and ends with an error."""
    done = CliRunner().invoke(main, ["nodes", "drain", "ff", "--url", url])
    assert done.exit_code != 0
    assert "there is no service ff" in done.output
