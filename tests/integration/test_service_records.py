"""What is kept of a task, and what must not be: history, secrets, threads."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cdc_actors.store.event_log import TaskLog
from tests.support.books import Books, wait_keys
from tests.support.cdc import Cdc, wait_until

if TYPE_CHECKING:
    from pymilvus import MilvusClient

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.tasks import Task

ALL = [{"name": "*"}]
SECRET = "pl4nted-s3cret"


@pytest.mark.parametrize("way", ["token", "password", "uri"])
def test_secret_is_nowhere_to_be_found(
    way: str, target_lite: EmbeddedLite, cdc: Cdc
) -> None:
    """A target's password is in no answer, no file, no log line and no command line."""
    host, port = target_lite.uri.removeprefix("http://").split(":")
    param = {
        "token": {"uri": target_lite.uri, "token": f"root:{SECRET}"},
        "password": {
            "host": host,
            "port": int(port),
            "username": "root",
            "password": SECRET,
        },
        "uri": {"uri": f"http://root:{SECRET}@{host}:{port}"},
    }[way]
    away = dict(param, connect_timeout=1) | (
        {"port": 1} if way == "password" else {"uri": param["uri"].replace(port, "1")}
    )
    answers = [
        cdc.request("create", milvus_connect_param=param, collection_infos=ALL),
        cdc.request("create", milvus_connect_param=away, collection_infos=ALL),
        cdc.request("create", milvus_connect_param=param, collection_infos=[]),
        cdc.request("create", milvus_connect_param=param | {"extra": 1}),
        cdc.request("list"),
    ]
    assert [status for status, _ in answers] == [200, 422, 400, 400, 200]
    for task in cdc.ask("list")["tasks"]:
        one = {"task_id": task["task_id"]}
        asked = (("get", {}), ("get", {"as_of": 1}), ("history", {}))
        past = [cdc.request(kind, **one, **more) for kind, more in asked]
        past.append(cdc.probe(f"/cdc/tasks/{task['task_id']}/events"))
        assert [status for status, _ in past] == [200] * 4
        answers += past
        wait_until(
            lambda task=task: (
                cdc.get(task["task_id"])["health"]["status"] != "starting"
            ),
            "the task has connected",
        )
    assert cdc.process is not None
    assert SECRET not in str(answers)
    process = Path(f"/proc/{cdc.process.pid}")
    assert SECRET not in (process / "cmdline").read_text()
    found = [
        path for path in cdc.folder.iterdir() if SECRET.encode() in path.read_bytes()
    ]
    assert found == []
    assert {"cdc.db", "cdc.db-wal"} <= {path.name for path in cdc.folder.iterdir()}
    assert b"task.created" in export(cdc)
    assert SECRET.encode() not in export(cdc)
    assert cdc.stop() == 0
    found = [
        path for path in cdc.folder.iterdir() if SECRET.encode() in path.read_bytes()
    ]
    assert found == []


def export(cdc: Cdc) -> bytes:
    """Return the event log as JSON lines."""
    path = cdc.folder / "log.jsonl"
    command = [sys.executable, "-m", "cdc_actors", "audit", "export"]
    config = ["--config", str(cdc.config), str(path)]
    path.unlink(missing_ok=True)
    subprocess.run([*command, *config], check=True, cwd=cdc.folder, timeout=120)
    return path.read_bytes()


def test_history_tells_the_whole_life(
    target_lite: EmbeddedLite, client: MilvusClient, lite: MilvusClient, cdc: Cdc
) -> None:
    """Each thing that was done to a task is there in order, with who asked and why."""
    task = cdc.create(target_lite.uri)
    Books(client).create().insert(range(3))
    wait_keys(lite, range(3))
    cdc.ask("pause", task_id=task)
    cdc.ask("resume", task_id=task)
    client.drop_collection("books")
    wait_until(lambda: not lite.has_collection("books"), "the drop has come")
    wait_until(lambda: cdc.get(task)["collections"] == [], "the drop is written down")
    cdc.ask("pause", task_id=task)
    shown = cdc.get(task)
    assert cdc.stop() == 0
    with closing(TaskLog.sqlite(str(cdc.folder / "cdc.db"))) as log:
        events = list(log.history(task))
        loaded = log.load(task)
    decisions = [type(e).__name__ for e in events if e.who["kind"] == "client"]
    assert decisions == ["TaskCreated", "TaskPaused", "TaskResumed", "TaskPaused"]
    done = [e.kind for e in events if type(e).__name__ == "OperationApplied"]
    assert done[0] == "CreateCollection"
    assert done[-1] == "DropCollection"
    assert {"CreateIndex", "LoadCollection"} <= set(done)
    assert all(event.why for event in events)
    assert {e.who["address"] for e in events if e.who["kind"] == "client"} == {
        "127.0.0.1"
    }
    times = [event.timestamp for event in events]
    assert times == sorted(times)
    replayed: Task | None = None
    for event in events:
        replayed = event.mutate(replayed)
    assert replayed == loaded
    assert (loaded.state, loaded.reason) == (shown["state"], shown["reason"])


def test_history_outlives_the_task(target_lite: EmbeddedLite, cdc: Cdc) -> None:
    """The record of a deleted task stays, and its last entry is the delete."""
    task = cdc.create(target_lite.uri)
    cdc.ask("delete", task_id=task)
    assert cdc.stop() == 0
    with closing(TaskLog.sqlite(str(cdc.folder / "cdc.db"))) as log:
        last = list(log.history(task))[-1]
        assert log.alive_ids() == []
    assert type(last).__name__ == "TaskDeleted"
    assert last.who["kind"] == "client"


def test_task_leaves_no_thread_behind(
    target_lite: EmbeddedLite, client: MilvusClient, lite: MilvusClient, cdc: Cdc
) -> None:
    """Pauses, resumes and a delete under load give every thread back."""
    stop = threading.Event()

    def write() -> None:
        for key in itertools.count():
            if stop.is_set():
                return
            books.insert([key])

    books = Books(client).create()
    first = cdc.create(target_lite.uri)  # Threads that live for ever begin here.
    wait_until(lambda: cdc.get(first)["health"]["status"] == "ok", "the task is well")
    cdc.ask("delete", task_id=first)
    wait_until(lambda: settled(cdc, seconds=1), "threads end")
    before = cdc.threads
    writer = threading.Thread(target=write)
    writer.start()
    try:
        task = cdc.create(target_lite.uri)
        for _ in range(5):
            wait_until(lambda: cdc.get(task)["rows_applied"] > 0, "rows arrive")
            cdc.ask("pause", task_id=task)
            cdc.ask("resume", task_id=task)
        cdc.ask("delete", task_id=task)
    finally:
        stop.set()
        writer.join()
    wait_until(lambda: cdc.threads <= before, f"at most {before} threads")


def settled(cdc: Cdc, seconds: float) -> bool:
    """Tell whether the number of threads is the same for a while."""
    seen = {cdc.threads}
    over = threading.Event()
    timer = threading.Timer(seconds, over.set)
    timer.start()
    while not over.wait(0.05):
        seen.add(cdc.threads)
    timer.join()
    return len(seen) == 1
