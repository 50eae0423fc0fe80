"""The store takes nothing for a while: the service says so, waits, and goes on."""

from __future__ import annotations

import random
import resource
import sqlite3
import subprocess
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from cdc_actors.store.audit.verify import verify
from cdc_actors.store.event_log import TaskLog
from tests.support.books import Books, wait_equal, wait_keys
from tests.support.cdc import Cdc, wait_until
from tests.support.scraping import scrape, value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pymilvus import MilvusClient

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

HALF_A_FRAME = 2_000
"""SQLite writes a page of 4,096 bytes and a head at a time."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder that holds two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this user cannot mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def full(cdc: Cdc) -> Iterator[None]:
    """Fill the disk that the store is on."""
    filler = cdc.folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1024))
    yield
    filler.unlink()


@contextmanager
def limited(cdc: Cdc) -> Iterator[None]:
    """Let no file of the service grow."""
    assert cdc.process is not None
    limits = resource.prlimit(cdc.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(cdc.process.pid, resource.RLIMIT_FSIZE, (1, limits[1]))
    yield
    resource.prlimit(cdc.process.pid, resource.RLIMIT_FSIZE, limits)


@contextmanager
def locked(cdc: Cdc) -> Iterator[None]:
    """Hold the database's lock, as another process may."""
    with closing(sqlite3.connect(cdc.folder / "cdc.db", timeout=20)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.rollback()


@pytest.mark.parametrize("broken", [limited, locked])
def test_store_that_takes_nothing(
    broken: Callable[[Cdc], AbstractContextManager[None]],
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    tmp_path: Path,
) -> None:
    """Requests get 503 with the reason; once the store takes again, all goes on."""
    with Cdc(tmp_path, source) as cdc:
        survive(cdc, broken, source, target_lite, client, lite)


def test_store_on_a_full_disk(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    small_disk: Path,
) -> None:
    """Requests get 503 with the reason; once there is room again, all goes on."""
    with Cdc(small_disk, source) as cdc:
        survive(cdc, full, source, target_lite, client, lite)


def test_torn_write_ahead_file(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    tmp_path: Path,
) -> None:
    """What the machine was writing when it lost power, half a frame, is passed over."""
    with Cdc(tmp_path, source) as cdc:
        books = Books(client).create()
        books.insert(range(3))
        task = cdc.create(target_lite.uri)
        wait_keys(lite, range(3))
        cdc.kill()
        with (tmp_path / "cdc.db-wal").open("ab") as log:
            log.write(random.Random(0).randbytes(HALF_A_FRAME))
        cdc.start()
        assert cdc.get(task)["state"] == "Running"
        books.insert(range(3, 6))
        wait_equal(source, target_lite)
        cdc.kill()
        with closing(TaskLog.sqlite(str(tmp_path / "cdc.db"))) as events:
            assert verify(events.database).valid


def survive(
    cdc: Cdc,
    broken: Callable[[Cdc], AbstractContextManager[None]],
    source: EmbeddedMilvus,
    target: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
) -> None:
    """Replicate, break the store, mend it, and compare; nobody asks for anything."""
    books = Books(client).create()
    books.insert(range(3))
    task = cdc.create(target.uri, collection_infos=[{"name": "books"}])
    wait_keys(lite, range(3))
    cdc.wait_caught_up(task)
    with broken(cdc):
        status, answer = cdc.request(
            "create",
            milvus_connect_param={"uri": target.uri},
            collection_infos=[{"name": "another"}],
        )
        assert status == 503
        assert "the event log cannot answer" in answer["message"]
        assert cdc.request("pause", task_id=task)[0] == 503
        assert cdc.get(task)["state"] == "Running"
        assert cdc.probe("/livez")[0] == 200
        status, ready = cdc.probe("/readyz")
        assert status == 503
        assert "the event log cannot answer" in ready["missing"]["tasks"]
        books.insert(range(3, 6))
        wait_until(lambda: says_why(cdc, task), "its health says why", 60)
        # More than the first retry, which finds the store as it was.
        wait_until(lambda: cdc.get(task)["health"]["attempt"] > 2, "it tries again", 60)
        books.insert(range(6, 9))
        wait_until(lambda: value(scrape(cdc), "cdc_store_up") == 0, "it is seen", 60)
        assert value(scrape(cdc), "cdc_not_ready", "tasks") == 1
    wait_until(lambda: cdc.get(task)["health"]["status"] == "ok", "it is well", 90)
    wait_equal(source, target)
    listed = {each["task_id"] for each in cdc.ask("list")["tasks"]}
    cdc.kill()
    cdc.start()
    assert {each["task_id"] for each in cdc.ask("list")["tasks"]} == listed
    assert value(scrape(cdc), "cdc_store_up") == 1
    books.insert(range(9, 12))
    wait_equal(source, target)


def says_why(cdc: Cdc, task: str) -> bool:
    """Tell whether a task's health names the store."""
    health = cdc.get(task)["health"]
    return health["status"] == "retrying" and "the event log" in health["error"]
