"""A store that is restored from a backup, on real servers."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.books import Books, wait_equal, wait_keys

if TYPE_CHECKING:
    from pymilvus import MilvusClient

    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.cdc import Cdc


def audit(cdc: Cdc, *arguments: str) -> None:
    """Run ``cdc-actors audit`` on a service's store."""
    command = [sys.executable, "-m", "cdc_actors", "audit", *arguments]
    subprocess.run([*command, "--config", str(cdc.config)], check=True, timeout=120)


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
    audit(cdc, "export", str(backup))
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
    audit(cdc, "import", str(backup))
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
