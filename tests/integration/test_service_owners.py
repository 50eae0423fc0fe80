"""Two services on one SQLite: one works, the other waits and takes over. Real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.books import Books, wait_equal, wait_keys
from tests.support.cdc import Cdc, wait_until
from tests.support.scraping import scrape, value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymilvus import MilvusClient

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Return the setting of one store, the same for every service."""
    return json.dumps({"sqlite": {"path": str(tmp_path / "cdc.db")}})


@pytest.fixture
def services(
    store: str, source: EmbeddedMilvus, tmp_path: Path, store_key: None
) -> Iterator[tuple[Cdc, Cdc]]:
    """Yield a service that works and one that is not started yet, on one store."""
    second = Cdc(tmp_path / "second", source, store=store)
    with Cdc(tmp_path / "first", source, store=store) as first:
        yield first, second
    second.__exit__()


def launch(cdc: Cdc) -> None:
    """Start a service that has to wait for its store."""
    cdc.launch()
    wait_until(
        lambda: "belongs to" in cdc.request("list")[1].get("message", ""),
        f"it waits, {cdc.log}",
    )


def test_the_second_waits_and_takes_over(
    services: tuple[Cdc, Cdc],
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
) -> None:
    """Of 600 rows each is at the target once, also when the first is killed meanwhile."""
    first, second = services
    assert first.process is not None
    books = Books(client).create()
    task = first.create(target_lite.uri)
    launch(second)
    owner = f"the store belongs to process {first.process.pid} on host "
    for kind in ("list", "get", "pause"):
        data = {} if kind == "list" else {"task_id": task}
        status, answer = second.request(kind, **data)
        assert (status, owner in answer["message"]) == (503, True)
    assert second.probe("/livez") == (200, {"alive": True})
    status, ready = second.probe("/readyz")
    assert (status, owner in ready["missing"]["tasks"]) == (503, True)
    assert [value(scrape(each), "cdc_store_owned") for each in services] == [1, 0]
    for begin in range(0, 600, 100):
        books.insert(range(begin, begin + 100))
        if begin == 300:
            first.kill()
            wait_until(lambda: second.request("list")[0] == 200, "it takes over")
    assert value(scrape(second), "cdc_store_owned") == 1
    wait_keys(lite, range(600))
    wait_equal(source, target_lite)
    (counted,) = lite.query("books", output_fields=["count(*)"])
    assert counted["count(*)"] == 600
    launch(first)
    assert second.stop() == 0
    wait_until(lambda: first.request("list")[0] == 200, "the first works again")
    assert first.get(task)["state"] == "Running"


@pytest.mark.usefixtures("store_key")
def test_the_second_passes_on_what_it_is_asked(
    store: str, source: EmbeddedMilvus, target_lite: EmbeddedLite, tmp_path: Path
) -> None:
    """Either answers for both, until the one that works is killed, and after that."""
    first, second = (
        Cdc(tmp_path / name, source, store=store) for name in ("first", "second")
    )
    for each in (first, second):
        with each.config.open("a") as config:
            config.write(f"\nnodeUrl: http://127.0.0.1:{each.port}\n")
    with first, second:
        task = second.create(target_lite.uri)
        assert [each["task_id"] for each in second.ask("list")["tasks"]] == [task]
        second.ask("pause", task_id=task)
        assert second.get(task)["state"] == first.get(task)["state"] == "Paused"
        assert value(scrape(second), "cdc_store_owned") == 0
        assert first.process is not None
        (works, *others) = nodes(second)
        assert (works["state"], works["pid"]) == ("works", first.process.pid)
        assert others == []
        first.kill()
        wait_until(lambda: second.request("list")[0] == 200, "it takes over")
        first.start()
        first.ask("resume", task_id=task)
        asked = [
            (each["event"], each["who"]["address"])
            for each in second.ask("history", task_id=task)["events"]
            if each["who"]["kind"] == "client"
        ]
        by_other = "127.0.0.1 (by 127.0.0.1)"
        assert asked == [(each, by_other) for each in ("created", "paused", "resumed")]


def nodes(cdc: Cdc) -> list[dict[str, Any]]:
    """Return the services on a store, as a command prints them."""
    url = f"http://127.0.0.1:{cdc.port}"
    done = run(cdc, "nodes", "--url", url, "-o", "json", config=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["nodes"]
    return found


def test_commands_that_write_refuse_while_a_service_works(
    services: tuple[Cdc, Cdc], target_lite: EmbeddedLite, monkeypatch
) -> None:
    """An audit that reads is done; an import and a new key wait for the service's end."""
    first, _ = services
    first.create(target_lite.uri)
    for key in (first.folder.parent / "cdc.key", first.folder / "cdc-actors.key"):
        key.write_text(os.environ["CDC_ACTORS_KEY"])
        key.chmod(0o600)
    monkeypatch.delenv("CDC_ACTORS_KEY")
    copy = first.folder / "copy.jsonl"
    for arguments, status in (
        (["audit", "verify"], 0),
        (["audit", "export", str(copy)], 0),
        (["audit", "import", str(copy)], 1),
        (["key", "rotate"], 1),
    ):
        done = run(first, *arguments)
        assert done.returncode == status, done.stderr
        assert ("stop that service first" in done.stderr) == bool(status)
    assert first.stop() == 0
    assert run(first, "key", "rotate").returncode == 0


def run(
    cdc: Cdc, *arguments: str, config: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command, on a service's store unless told otherwise."""
    store = ["--config", str(cdc.config)] if config else []
    return subprocess.run(
        [sys.executable, "-m", "cdc_actors", *arguments, *store],
        capture_output=True,
        text=True,
        cwd=cdc.folder,
        check=False,
    )


@pytest.mark.parametrize("replaced", [False, True])
def test_a_store_that_goes_is_noticed(
    replaced: bool,  # noqa: FBT001
    cdc: Cdc,
    target_lite: EmbeddedLite,
) -> None:
    """Nothing is acknowledged that no restart would find; put back, it is well again."""
    path = cdc.folder / "cdc.db"
    aside = path.rename(cdc.folder / "aside.db")
    if replaced:
        path.write_bytes(b"")
    param = {"uri": target_lite.uri}
    infos = [{"name": "*"}]
    status, answer = cdc.request(
        "create", milvus_connect_param=param, collection_infos=infos
    )
    assert status == 503
    assert "deleted or replaced" in answer["message"]
    status, ready = cdc.probe("/readyz")
    assert status == 503
    assert "deleted or replaced" in ready["missing"]["tasks"]
    aside.replace(path)
    wait_until(lambda: cdc.probe("/readyz")[0] == 200, "it is ready again")
    # Until the log was asked what became of the first create, its collections are taken.
    wait_until(
        lambda: (
            cdc.request("create", milvus_connect_param=param, collection_infos=infos)[0]
            == 200
        ),
        "a task is created",
    )
    listed = cdc.ask("list")["tasks"]
    cdc.kill()
    cdc.start()
    assert [each["task_id"] for each in cdc.ask("list")["tasks"]] == [
        each["task_id"] for each in listed
    ]
