"""``GET /cdc/nodes`` and ``cdc-actors nodes``: which services a store has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cdc_actors.cli.main import main
from cdc_actors.errors import UnavailableError
from cdc_actors.store.ownership import Node, Owner
from cdc_http import Server, create_app
from tests.support.http_service import Api, FakeService, error_of

if TYPE_CHECKING:
    from collections.abc import Iterator

SINCE = "2026-11-30T10:00:00+00:00"
NODES = [
    Node(
        process=Owner("a", 1, SINCE, url="http://a:8444"),
        is_owner=True,
        silent_seconds=0.54,
        tasks=3,
        lag_seconds=1.25,
    ),
    Node(process=Owner("b", 2, SINCE), is_owner=False, silent_seconds=2),
    Node(process=Owner("c", 3, SINCE), is_owner=True, silent_seconds=11, tasks=0),
]
TABLE = """\
STATE   URL            HOST  PID  SINCE                      HEARD OF  TASKS  LAG
works   http://a:8444  a     1    2026-11-30T10:00:00+00:00  0 s ago   3      1.2 s
waits   -              b     2    2026-11-30T10:00:00+00:00  2 s ago   -      -
silent  -              c     3    2026-11-30T10:00:00+00:00  11 s ago  0      -
"""


@pytest.fixture
def url() -> Iterator[str]:
    """Serve three services on a store, and yield where."""
    server = Server(create_app(FakeService(on_store=NODES)), "127.0.0.1", 0)
    server.start()
    yield f"http://127.0.0.1:{server.address[1]}"
    server.stop()


def test_each_says_how_it_is():
    """One works, one waits; one that was not heard of for ten seconds may be gone."""
    answer = Api(FakeService(on_store=NODES)).client.simulate_get("/cdc/nodes")
    assert answer.status_code == 200
    shown = answer.json["data"]["nodes"]
    assert [each["state"] for each in shown] == ["works", "waits", "silent"]
    assert shown[0] == {
        "url": "http://a:8444",
        "host": "a",
        "pid": 1,
        "since": SINCE,
        "state": "works",
        "silent_seconds": 0.5,
        "tasks": 3,
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
    assert [each["pid"] for each in json.loads(done.output)["nodes"]] == [1, 2, 3]
