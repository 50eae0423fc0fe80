"""Several services on one PostgreSQL: each has some of the tasks. Real processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.books import Books, wait_keys
from tests.support.cdc import Cdc, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymilvus import MilvusClient

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.postgres import PostgresServer

NAMES = ("books", "films", "songs", "plays")


class Nodes:
    """Services on one store that may be started."""

    def __init__(self, folder: Path, source: EmbeddedMilvus, url: str) -> None:
        store = json.dumps({"storeType": "postgres", "postgres": {"url": url}})
        self.all = [Cdc(folder / str(n), source, store=store) for n in range(3)]
        for each in self.all:
            with each.config.open("a") as config:
                config.write(f"\nnodeUrl: http://127.0.0.1:{each.port}\n")

    def shown(self, cdc: Cdc) -> dict[int, dict[str, Any]]:
        """Return the services that one of them knows, by port."""
        done = command(cdc, "nodes", "-o", "json")
        found = json.loads(done)["nodes"]
        return {int(each["url"].rpartition(":")[2]): each for each in found}

    def wait_tasks(self, *counts: int, asked: int = 0) -> None:
        """Wait until so many services have so many tasks."""

        def have() -> bool:
            shown = self.shown(self.all[asked]).values()
            return sorted(each["tasks"] for each in shown) == sorted(counts)

        wait_until(have, f"they have {counts} tasks")


def command(cdc: Cdc, *arguments: str) -> str:
    """Return what a command prints that asks a service."""
    url = f"http://127.0.0.1:{cdc.port}"
    done = subprocess.run(
        [sys.executable, "-m", "cdc_actors", *arguments, "--url", url],
        capture_output=True,
        text=True,
        cwd=cdc.folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def nodes(
    source: EmbeddedMilvus,
    postgres_url: str,
    tmp_path: Path,
    store_key: None,
) -> Iterator[Nodes]:
    """Yield services of which the first two run."""
    nodes = Nodes(tmp_path, source, postgres_url)
    with ExitStack() as stack:
        for each in nodes.all:
            stack.push(each.__exit__)
        for each in nodes.all[:2]:
            each.start()
        yield nodes


def test_each_has_some_of_the_tasks_and_any_answers_for_all(
    nodes: Nodes, target_lite: EmbeddedLite, client: MilvusClient, lite: MilvusClient
) -> None:
    """Rows of all come, also once one is killed; a third one gets its share."""
    first, second, third = nodes.all
    books = {name: Books(client, name).create() for name in NAMES}
    tasks = {
        name: first.create(target_lite.uri, collection_infos=[{"name": name}])
        for name in NAMES
    }
    nodes.wait_tasks(2, 2)
    for each in (first, second):
        listed = each.ask("list")["tasks"]
        assert [task["task_id"] for task in listed] == list(tasks.values())
        has = Counter(task["node"] for task in listed)
        assert has == {f"http://127.0.0.1:{one.port}": 2 for one in (first, second)}
        for name, task in tasks.items():
            each.ask("pause", task_id=task)
            assert each.get(task)["state"] == "Paused"
            each.ask("resume", task_id=task)
            books[name].insert(range(10))
            books[name].upsert(range(10))
    for name in NAMES:
        wait_keys(lite, range(10), name)
    status, answer = second.request(
        "create",
        milvus_connect_param={"uri": target_lite.uri},
        collection_infos=[{"name": "books"}],
    )
    assert (status, tasks["books"] in answer["message"]) == (409, True), answer
    second.kill()
    for name in NAMES:
        books[name].insert(range(10, 20))
        wait_keys(lite, range(20), name)
    nodes.wait_tasks(4)
    third.start()
    nodes.wait_tasks(2, 2)
    for name in NAMES:
        books[name].insert(range(20, 30))
        wait_keys(lite, range(30), name)
    for task in tasks.values():
        third.ask("delete", task_id=task)
        assert first.request("get", task_id=task)[0] == 404
    assert first.ask("list")["tasks"] == third.ask("list")["tasks"] == []


def test_one_is_drained_before_it_is_stopped(
    nodes: Nodes, target_lite: EmbeddedLite, client: MilvusClient, lite: MilvusClient
) -> None:
    """Others have its tasks then; it answers for them, and gets some again if it may."""
    first, second, _ = nodes.all
    books = {name: Books(client, name).create() for name in NAMES}
    tasks = [
        first.create(target_lite.uri, collection_infos=[{"name": name}])
        for name in NAMES
    ]
    nodes.wait_tasks(2, 2)
    drained = nodes.shown(first)[second.port]["node_id"]
    assert "drains" in command(first, "nodes", "drain", drained)
    nodes.wait_tasks(0, 4)
    assert nodes.shown(first)[second.port]["state"] == "drains"
    assert [each["state"] for each in second.ask("list")["tasks"]] == ["Running"] * 4
    second.ask("pause", task_id=tasks[0])
    command(first, "nodes", "drain", drained, "--off")
    first.stop()
    nodes.wait_tasks(4, asked=1)
    assert second.get(tasks[0])["state"] == "Paused"
    for name, each in books.items():
        each.insert(range(10))
        if name != NAMES[0]:
            wait_keys(lite, range(10), name)


def test_all_tasks_are_shown_though_the_store_is_away(
    nodes: Nodes,
    postgres_server: PostgresServer,
    target_lite: EmbeddedLite,
    client: MilvusClient,
) -> None:
    """Also by one that was never asked for them since another one came."""
    first, *_ = nodes.all
    for name in NAMES:
        Books(client, name).create()
    tasks = [
        first.create(target_lite.uri, collection_infos=[{"name": name}])
        for name in NAMES
    ]
    nodes.wait_tasks(2, 2)
    postgres_server.kill()
    try:
        listed = first.ask("list")["tasks"]
    finally:
        postgres_server.start()
    assert [each["task_id"] for each in listed] == tasks


@pytest.mark.thorough
def test_a_task_whose_service_does_not_answer_is_shown_as_the_log_has_it(
    nodes: Nodes, target_lite: EmbeddedLite, client: MilvusClient
) -> None:
    """Until another has it, which begins it again; the stopped one writes nothing then."""
    first, second, _ = nodes.all
    for name in NAMES:
        Books(client, name).create()
    tasks = [
        first.create(target_lite.uri, collection_infos=[{"name": name}])
        for name in NAMES
    ]
    nodes.wait_tasks(2, 2)
    assert second.process is not None
    second.process.send_signal(signal.SIGSTOP)
    try:
        listed = first.ask("list")["tasks"]
        assert [each["task_id"] for each in listed] == tasks
        unheard = [each for each in listed if each["health"]["status"] == "unknown"]
        assert len(unheard) == 2
        assert "does not answer" in unheard[0]["health"]["error"]
        nodes.wait_tasks(4)
    finally:
        second.process.send_signal(signal.SIGCONT)
    nodes.wait_tasks(2, 2)
    assert [each["task_id"] for each in second.ask("list")["tasks"]] == tasks
