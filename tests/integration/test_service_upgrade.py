"""The service on a store of an earlier version, and of one to come."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from eventsourcing.persistence import StoredEvent

from cdc_actors.store.event_log import TaskLog
from tests.support.away import AWAY
from tests.support.cdc import Cdc, wait_until
from tests.support.golden_stores import GOLDEN, KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["022239f", "a81bf54"])
def upgraded(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cdc]:
    """Yield a service that is not started, whose store is the oldest, then a newer one."""
    monkeypatch.setenv("CDC_ACTORS_KEY", KEY)
    cdc = Cdc(tmp_path / "cdc", AWAY)
    shutil.copy(GOLDEN / f"{request.param}.db", cdc.folder / "cdc.db")
    yield cdc
    cdc.__exit__()


def test_it_goes_on_with_an_earlier_store(upgraded: Cdc) -> None:
    """Its tasks are there, take requests and keep their histories; the log is verified."""
    upgraded.start()
    running, paused = upgraded.ask("list")["tasks"]
    assert (running["state"], paused["state"]) == ("Running", "Paused")
    assert running["collections"][0]["name"] == "books"
    events = upgraded.ask("history", task_id=running["task_id"])["events"]
    assert events[0]["event"] == "created"
    upgraded.ask("pause", task_id=running["task_id"])
    as_of = upgraded.ask("get", task_id=running["task_id"], as_of=len(events))["task"]
    assert as_of["state"] == "Running"
    wait_until(lambda: "event_log_verified" in upgraded.log.read_text(), "it is told")
    assert upgraded.stop() == 0
    words = ["audit", "verify", "--config", str(upgraded.config)]
    subprocess.run([sys.executable, "-m", "cdc_actors", *words], check=True)


def test_a_task_of_a_version_to_come_is_refused(upgraded: Cdc) -> None:
    """It is shown with what to do, runs no further, and stops no other task."""
    with closing(TaskLog.sqlite(str(upgraded.folder / "cdc.db"))) as log:
        running, paused = map(log.load, log.alive_ids())
        number = running.version + 1
        newer = StoredEvent(running.id, number, "task.to_come", b"{}")
        log.database.recorder.insert_events([newer])
    upgraded.start()
    shown = {each["task_id"]: each for each in upgraded.ask("list")["tasks"]}
    health = shown[running.task_id]["health"]
    assert health["status"] == "failed"
    assert "written by a newer version: restore it, or install" in health["error"]
    for kind in ("pause", "resume", "delete", "history"):
        status, answer = upgraded.request(kind, task_id=running.task_id)
        assert (status, "newer version" in answer["message"]) == (503, True), kind
    status, answer = upgraded.request("get", task_id=running.task_id, as_of=number)
    assert (status, "newer version" in answer["message"]) == (503, True)
    upgraded.ask("delete", task_id=paused.task_id)
    assert "newer version" in upgraded.log.read_text()
