"""The history of tasks as the running service tells it, on both stores."""

from __future__ import annotations

import http.client
import json
import urllib.request
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cdc import Cdc, wait_until

if TYPE_CHECKING:
    from cdc_actors.embedded.lite import EmbeddedLite

SECRET = "pl4nted-s3cret"


@pytest.fixture
def task(alone: Cdc, target_lite: EmbeddedLite) -> str:
    """Create, pause and resume a task."""
    param = {"uri": target_lite.uri, "token": f"root:{SECRET}"}
    infos = [{"name": "*"}]
    answer = alone.ask("create", milvus_connect_param=param, collection_infos=infos)
    alone.ask("pause", task_id=answer["task_id"])
    alone.ask("resume", task_id=answer["task_id"])
    return answer["task_id"]


def history(cdc: Cdc, task: str, **more: int) -> list[dict[str, Any]]:
    """Return events of a task."""
    return cdc.ask("history", task_id=task, **more)["events"]


def by_client(events: list[dict[str, Any]]) -> list[str]:
    """Return what clients did, in order."""
    return [each["event"] for each in events if each["who"]["kind"] == "client"]


def number_of(events: list[dict[str, Any]], event: str) -> int:
    """Return the number of the first event of a kind."""
    return next(each["number"] for each in events if each["event"] == event)


def test_history_of_a_task_alive_and_deleted(alone: Cdc, task: str) -> None:
    """Everything done to a task is told with who and why, even once it is deleted."""
    alone.ask("delete", task_id=task)
    events = history(alone, task)
    assert by_client(events) == ["created", "paused", "resumed", "deleted"]
    assert [each["number"] for each in events] == list(range(1, len(events) + 1))
    assert all(each["why"] and each["text"] for each in events)
    client = {"kind": "client", "address": "127.0.0.1", "token_name": None}
    assert events[0]["who"] == client
    path = f"/cdc/tasks/{task}/events?after=1&limit=2"
    status, answer = alone.probe(path)
    assert (status, answer["data"]["events"]) == (200, events[1:3])
    assert SECRET not in json.dumps(events)
    assert alone.request("history", task_id="0" * 32)[0] == 404


def test_history_outlives_the_process(alone: Cdc, task: str) -> None:
    """What was told before a kill is told again after it."""
    alone.ask("delete", task_id=task)
    before = history(alone, task)
    alone.kill()
    alone.start()
    assert history(alone, task) == before


def test_task_as_of(alone: Cdc, task: str) -> None:
    """A get of the past shows what was, and what nobody knows any more as unknown."""
    before = datetime.now(UTC).isoformat()
    alone.ask("delete", task_id=task)
    events = history(alone, task)
    paused = number_of(events, "paused")
    shown = alone.ask("get", task_id=task, as_of=paused)["task"]
    assert (shown["state"], shown["as_of"]) == ("Paused", paused)
    assert (shown["lag_seconds"], shown["rows_applied"]) == (None, None)
    first = alone.ask("get", task_id=task, as_of=events[0]["time"])["task"]
    assert (first["state"], first["as_of"]) == ("Running", 1)
    assert first["health"]["status"] == "unknown"
    assert alone.ask("get", task_id=task, as_of=before)["task"]["state"] == "Running"
    now = datetime.now(UTC).isoformat()
    for moment in (now, "2026-01-01", len(events)):
        assert alone.request("get", task_id=task, as_of=moment)[0] == 404, moment
    assert alone.request("get", task_id=task, as_of=len(events) + 1)[0] == 400
    assert alone.request("get", task_id=task)[0] == 404


def test_following(alone: Cdc, task: str) -> None:
    """A client that follows sees each event come, and the end of the task as an end."""
    url = f"http://127.0.0.1:{alone.port}/cdc/tasks/{task}/events?follow=true"
    with urllib.request.urlopen(url, timeout=30) as stream:
        seen = [json.loads(stream.readline())]
        assert seen[0]["event"] == "created"
        alone.ask("pause", task_id=task)
        alone.ask("delete", task_id=task)
        seen += [json.loads(line) for line in stream if line.strip()]
    assert by_client(seen) == ["created", "paused", "resumed", "paused", "deleted"]
    assert seen == history(alone, task)


def test_followers_do_not_hold_up_a_stop(alone: Cdc, task: str) -> None:
    """A service that is told to stop ends its streams in good order, and at once."""
    connection = http.client.HTTPConnection("127.0.0.1", alone.port, timeout=30)
    connection.request("GET", f"/cdc/tasks/{task}/events?follow=true")
    stream = connection.getresponse()
    assert json.loads(stream.readline())["event"] == "created"
    assert alone.stop() == 0
    rest = [json.loads(line) for line in stream.read().splitlines() if line]
    assert by_client(rest) == ["paused", "resumed"]


def test_followers_that_leave_make_room(alone: Cdc, task: str) -> None:
    """Whoever hangs up no longer counts among those who follow."""
    url = f"http://127.0.0.1:{alone.port}/cdc/tasks/{task}/events?follow=true"

    def full() -> bool:
        return alone.probe(f"/cdc/tasks/{task}/events?follow=true")[0] == 503

    streams = [urllib.request.urlopen(url, timeout=30) for _ in range(4)]
    assert full()
    for stream in streams:
        stream.close()

    def taken() -> bool:
        try:
            urllib.request.urlopen(url, timeout=30).close()
        except urllib.error.HTTPError as error:
            error.close()
            return False
        return True

    wait_until(taken, "there is room again")
