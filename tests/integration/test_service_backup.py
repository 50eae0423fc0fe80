"""A store that is restored from a backup, on real servers."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.audit import audit
from tests.support.books import Books, wait_equal, wait_keys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymilvus import MilvusClient

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.cdc import Cdc
    from tests.support.postgres import PostgresServer


def at(store: Path) -> dict[str, str]:
    """Return the variable by which a command uses another store."""
    return {"CDC_ACTORS_META_STORE_CONFIG__SQLITE__PATH": str(store)}


@contextmanager
def written(cdc: Cdc, task: str) -> Iterator[None]:
    """Have a service write events all the while."""
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            cdc.ask("pause", task_id=task)
            cdc.ask("resume", task_id=task)

    worker = threading.Thread(target=write)
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join()


@pytest.mark.parametrize("alone", ["sqlite"], indirect=True)
def test_backups_beside_a_service_that_writes(
    alone: Cdc, target_lite: EmbeddedLite, tmp_path: Path
) -> None:
    """Both ways give a whole store, which the log of the service goes on from."""
    exported, copied = tmp_path / "exported.db", tmp_path / "copied.db"
    with written(alone, alone.create(target_lite.uri)):
        audit(alone.config, "export", str(tmp_path / "backup.jsonl"))
        with (
            closing(sqlite3.connect(alone.folder / "cdc.db")) as live,
            closing(sqlite3.connect(copied)) as copy,
        ):
            live.backup(copy)
    audit(alone.config, "import", str(tmp_path / "backup.jsonl"), **at(exported))
    for store in (exported, copied):
        head = audit(alone.config, "head", **at(store)).strip()
        assert int(head.partition(":")[0]) > 1
        audit(alone.config, "verify", **at(store))
        audit(alone.config, "verify", "--head", head)


@pytest.mark.parametrize("alone", ["postgres"], indirect=True)
def test_a_dump_beside_a_service_that_writes(
    alone: Cdc,
    target_lite: EmbeddedLite,
    postgres_server: PostgresServer,
    postgres_url: str,
) -> None:
    """What pg_dump and psql make of it is a whole store, which a service goes on with."""
    task = alone.create(target_lite.uri)
    with written(alone, task):
        restored = postgres_server.restore_dump(postgres_url)
    config = alone.config.read_text()
    alone.kill()
    alone.config.write_text(config.replace(postgres_url, restored))
    head = audit(alone.config, "head").strip()
    alone.start()
    state = alone.get(task)["state"]
    alone.ask("resume" if state == "Paused" else "pause", task_id=task)
    audit(alone.config, "verify", "--head", head)
    alone.kill()
    alone.config.write_text(config)
    audit(alone.config, "verify", "--head", head)


def test_a_restored_store_doubles_nothing(
    cdc: Cdc,
    source: EmbeddedMilvus,
    target_milvus: EmbeddedMilvus,
    client: MilvusClient,
    milvus: MilvusClient,
) -> None:
    """What was sent after the backup is once at the target by count(*), names too."""
    books = Books(client).create()
    task = cdc.create(target_milvus.uri)
    books.insert(range(100))
    wait_keys(milvus, range(100))
    # What was sent is written down exactly, so that rows are beyond it at once.
    cdc.ask("pause", task_id=task)
    backup = cdc.folder / "backup.jsonl"
    audit(cdc.config, "export", str(backup))
    cdc.ask("resume", task_id=task)
    books.insert(range(100, 200))
    books.delete(range(50))
    client.rename_collection("books", "novels")
    Books(client).create().insert(range(70))
    Books(client, "novels").insert(range(200, 210))
    wait_keys(milvus, range(50, 210), "novels")
    wait_keys(milvus, range(70))
    cdc.kill()
    for file in cdc.folder.glob("cdc.db*"):
        file.unlink()
    audit(cdc.config, "import", str(backup))
    cdc.start()
    assert cdc.get(task)["state"] == "Paused"
    cdc.ask("resume", task_id=task)
    Books(client, "novels").insert([210])
    wait_keys(milvus, range(50, 211), "novels")
    wait_equal(source, target_milvus)
    for name, rows in (("novels", 161), ("books", 70)):
        (found,) = milvus.query(name, output_fields=["count(*)"])
        assert found["count(*)"] == rows, name
    assert cdc.get(task)["health"]["status"] in {"ok", "catching_up"}
