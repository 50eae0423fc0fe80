"""The chain of hashes as the running service makes it, on both stores."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

from cdc_actors.cli.audit_cmd import _open
from cdc_actors.store.event_log import TaskLog
from tests.support.audit import audit
from tests.support.cdc import Cdc, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from cdc_actors.embedded.lite import EmbeddedLite

SECRET = "pl4nted-s3cret"


def create(cdc: Cdc, target: EmbeddedLite) -> str:
    """Create a task of everything with a planted secret."""
    param = {"uri": target.uri, "token": f"root:{SECRET}"}
    data = {"milvus_connect_param": param, "collection_infos": [{"name": "*"}]}
    return cdc.ask("create", **data)["task_id"]


def test_verified_while_the_service_works(
    alone: Cdc, target_lite: EmbeddedLite
) -> None:
    """An audit beside the service finds all in order, whatever is being written."""
    task = create(alone, target_lite)
    head = audit(alone.config, "head").strip()
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            alone.ask("pause", task_id=task)
            alone.ask("resume", task_id=task)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(3):
            audit(alone.config, "verify", "--head", head)
    finally:
        stop.set()
        worker.join()
    alone.kill()
    alone.start()
    audit(alone.config, "verify", "--head", head)


def test_tampering_is_told_at_the_next_start(
    alone: Cdc, target_lite: EmbeddedLite
) -> None:
    """A service says in its log at each start whether its events are the written ones."""
    task = create(alone, target_lite)
    alone.ask("pause", task_id=task)
    assert alone.stop() == 0
    with closing(_open(alone.config)) as database:
        database.write("UPDATE {events} SET topic = 'task.resumed' WHERE {order} = 1")
    alone.start()
    wait_until(lambda: "event_log_altered" in log_of(alone), "it is told")
    assert "event 1 of the log" in log_of(alone)
    assert "event 1 of the log" in audit(alone.config, "verify", status=3)


def log_of(cdc: Cdc) -> str:
    """Return what the service logged."""
    return cdc.log.read_text()


def test_a_good_log_is_verified_at_the_start(alone: Cdc) -> None:
    """At a start in good order the head is logged, unless that is switched off."""
    wait_until(lambda: "event_log_verified" in log_of(alone), "it is told")
    assert alone.stop() == 0
    alone.log.unlink()
    text = alone.config.read_text()
    off = text.replace("metaStoreConfig: {", "metaStoreConfig: {verifyAtStart: false, ")
    alone.config.write_text(off)
    alone.start()
    assert alone.stop() == 0
    assert "verified" not in log_of(alone)


def test_a_copy_goes_on(alone: Cdc, target_lite: EmbeddedLite, tmp_path: Path) -> None:
    """A service on an imported log has the same tasks, and their secrets encrypted."""
    task = create(alone, target_lite)
    alone.ask("pause", task_id=task)
    before = alone.ask("history", task_id=task)
    assert alone.stop() == 0
    file = tmp_path / "log.jsonl"
    audit(alone.config, "export", str(file))
    assert SECRET not in file.read_text()
    lines = alone.config.read_text().splitlines(keepends=True)
    store = f"metaStoreConfig: {{sqlite: {{path: {alone.folder / 'copy.db'}}}}}\n"
    key = next(alone.folder.glob("*.key"))
    alone.config.write_text(
        "".join(store if line.startswith("metaStore") else line for line in lines)
    )
    (alone.folder / "copy.key").write_bytes(key.read_bytes())
    (alone.folder / "copy.key").chmod(0o600)
    audit(alone.config, "import", str(file))
    alone.start()
    assert alone.ask("history", task_id=task) == before
    alone.ask("resume", task_id=task)
    with closing(TaskLog.sqlite(str(alone.folder / "copy.db"))) as log:
        assert log.alive_ids() == [task]
