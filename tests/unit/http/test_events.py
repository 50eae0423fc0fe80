"""The history of a task over HTTP: request type, address, query and lines."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime

import pytest
from falcon import testing

from cdc_actors.errors import UnavailableError, UnknownTaskError
from cdc_http import create_app
from cdc_http.events import MAX_EVENT_STREAMS
from cdc_http.server import STOPPING
from tests.support.http_service import Api, FakeService, entry, error_of

ID = "a" * 32
PATH = f"/cdc/tasks/{ID}/events"
LINES = "application/x-ndjson"


@pytest.fixture
def api():
    """The app over a service with a history of three events."""
    return Api(FakeService(events=[entry(1, "created"), entry(2), entry(3)]))


def lines(answer: testing.Result) -> list[int]:
    """Return the numbers of the events of an answer in lines."""
    assert answer.headers["content-type"] == LINES
    return [json.loads(line)["number"] for line in answer.text.splitlines() if line]


def test_both_ways_give_the_same(api):
    """The request type and the address answer alike, with all there is to an event."""
    asked = api.ask("history", {"task_id": ID, "after": 1, "limit": 1})
    got = api.client.simulate_get(PATH, params={"after": 1, "limit": 1})
    assert asked.json == got.json
    data = got.json["data"]
    assert (data["task_id"], data["more"]) == (ID, True)
    assert data["events"] == [
        {
            "number": 2,
            "time": "2026-11-24T12:30:00Z",
            "event": "resumed",
            "who": {"kind": "client", "address": "192.0.2.7", "token_name": None},
            "why": "asked by a client",
            "text": "resumed",
            "content": {},
        }
    ]
    assert api.service.asked == [("history", ID, 1, 1)] * 2


def test_a_uuid_is_taken_for_the_id(api):
    """The id may be written in both ways, as everywhere."""
    uuid = f"{'A' * 8}-{'a' * 4}-{'a' * 4}-{'a' * 4}-{'a' * 12}"
    api.client.simulate_get(f"/cdc/tasks/{uuid}/events")
    api.ask("history", {"task_id": uuid})
    assert api.service.asked == [("history", ID, 0, 100)] * 2


@pytest.mark.parametrize("accept", [LINES, f"{LINES}, application/json;q=0.5"])
def test_lines_when_asked(api, accept):
    """A client that prefers JSON lines gets one for each event."""
    answer = api.client.simulate_get(PATH, headers={"Accept": accept})
    assert lines(answer) == [1, 2, 3]


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html", "nonsense"])
def test_one_answer_else(api, accept):
    """Everybody else gets one JSON answer."""
    answer = api.client.simulate_get(PATH, headers={"Accept": accept})
    assert len(answer.json["data"]["events"]) == 3


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("after=-1", "after"),
        ("after=x", "after"),
        ("after=9223372036854775808", "after"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=1&limit=2", "limit"),
        ("follow=perhaps", "follow"),
        ("folow=true", "folow"),
    ],
)
def test_a_wrong_query_is_named(api, query, named):
    """A parameter that is wrong or unknown is a 400 with its name."""
    assert named in error_of(api.client.simulate_get(PATH, query_string=query), 400)
    assert api.service.asked == []


@pytest.mark.parametrize(
    "data", [{}, {"task_id": ID, "after": "1"}, {"task_id": ID, "limit": True}]
)
def test_a_wrong_request_is_400(api, data):
    """The same in a request, where numbers are numbers."""
    error_of(api.ask("history", data), 400)


@pytest.mark.parametrize("follow", ["", "follow=true"])
def test_a_task_that_never_was_is_404(api, follow):
    """Also where the answer would have been a stream."""
    api.service.failure = UnknownTaskError(f"not found: [{ID}]")
    error_of(api.client.simulate_get(PATH, query_string=follow), 404)


def test_following_ends_with_the_task(api):
    """A stream goes on behind the newest event, and ends when the task is deleted."""
    timer = threading.Timer(0.2, api.service.events.append, [entry(4, "deleted")])
    timer.start()
    answer = api.client.simulate_get(PATH, query_string="follow=true&after=1&limit=1")
    assert lines(answer) == [2, 3, 4]


def test_following_ends_with_the_server(api):
    """A stream ends when the server wants to stop."""
    stopping = threading.Event()
    stopping.set()
    answer = api.client.simulate_get(
        PATH, query_string="follow=true", extras={STOPPING: stopping}
    )
    assert lines(answer) == [1, 2, 3]


def test_following_ends_with_the_log():
    """A log that stops answering ends the stream in good order."""

    class FailsLater(FakeService):
        def history(self, task_id, *, after, limit):
            if after:
                raise UnavailableError("the event log cannot answer")
            return super().history(task_id, after=after, limit=limit)

    answer = Api(FailsLater(events=[entry(1)])).client.simulate_get(
        PATH, query_string="follow=true"
    )
    assert lines(answer) == [1]


def test_only_so_many_follow(api):
    """Too many are told to try later; whoever leaves makes room, read or not."""
    app = create_app(api.service)
    streams = []
    for _ in range(MAX_EVENT_STREAMS):
        environ = testing.create_environ(PATH, query_string="follow=true")
        streams.append(app(environ, lambda *_: None))
    client = testing.TestClient(app)
    full = client.simulate_get(PATH, query_string="follow=true")
    assert "follow already" in error_of(full, 503)
    assert next(iter(streams[0])).count(b"\n") == 3
    for stream in streams:
        stream.close()
    api.service.events.append(entry(4, "deleted"))
    assert lines(client.simulate_get(PATH, query_string="follow=true")) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("as_of", "moment"),
    [
        (3, 3),
        ("3", 3),
        ("2026-01-02T03:00:00Z", datetime(2026, 1, 2, 3, tzinfo=UTC)),
    ],
)
def test_get_as_of(api, as_of, moment):
    """A get may ask for the past, by number or time."""
    task_id = api.create().json["data"]["task_id"]
    api.ask("get", {"task_id": task_id, "as_of": as_of})
    assert api.service.asked[-1] == ("get", task_id, moment)


@pytest.mark.parametrize("as_of", ["", "yesterday", -1, 1.5, True, []])
def test_get_as_of_nonsense(api, as_of):
    """What is neither a number nor a time is a 400."""
    assert "as_of" in error_of(api.ask("get", {"task_id": ID, "as_of": as_of}), 400)
