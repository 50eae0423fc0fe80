"""What the service does when it, its source or its target goes away and comes back."""

from __future__ import annotations

import itertools
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any, Self

import pytest

from cdc_actors.store.event_log import TaskLog
from tests.support.books import Books, keys, wait_equal, wait_keys
from tests.support.cdc import PROGRAM, Cdc, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from pymilvus import MilvusClient

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

BATCH = 1000


class Writer:
    """Inserts batches of books, one after another, from a thread of its own."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.written = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        for first in itertools.count(0, BATCH):
            if self._stop.is_set():
                return
            self._books.insert(range(first, first + BATCH))
            self.written = first + BATCH


def kinds(log: TaskLog, task: str) -> list[str]:
    """Return the names of the task's events, oldest first."""
    return [type(event).__name__ for event in log.history(task)]


def failing(cdc: Cdc, task: str) -> dict[str, Any] | None:
    """Return the health of a running task that is to be tried again, else None."""
    shown = cdc.get(task)
    assert shown["state"] == "Running"
    return shown["health"] if shown["health"]["next_try"] else None


def wait_failing(cdc: Cdc, task: str) -> dict[str, Any]:
    """Wait until the task says that it is tried again, and return its health."""
    wait_until(lambda: failing(cdc, task) is not None, "the task says it is retrying")
    health = failing(cdc, task)
    assert health is not None
    return health


def wait_ok(cdc: Cdc, task: str, timeout: float = 60) -> None:
    """Wait until the task is well; it is meant to run all the time."""

    def is_ok() -> bool:
        shown = cdc.get(task)
        assert shown["state"] == "Running"
        return shown["health"]["status"] == "ok"

    wait_until(is_ok, "the task is well", timeout)


def test_pause_survives_a_kill(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    tmp_path: Path,
) -> None:
    """A paused task stays paused over SIGKILL; what was written meanwhile comes later."""
    books = Books(client).create()
    books.insert(range(5))
    with Cdc(tmp_path, source) as cdc:
        task = cdc.create(target_lite.uri)
        wait_keys(lite, range(5))
        # Milvus Lite shows the rows of a collection that has no index, and is not loaded.
        wait_until(
            lambda: "LoadCollection" in str(cdc.ask("history", task_id=task)),
            "it is loaded",
        )
        cdc.ask("pause", task_id=task)
        books.insert(range(5, 10))
        cdc.kill()
        cdc.start()
        other = cdc.create(target_lite.uri, db_collections={"other": [{"name": "*"}]})
        wait_until(
            lambda: cdc.get(other)["health"]["status"] != "starting",
            "another task reads",
        )
        assert cdc.get(task)["state"] == "Paused"
        assert keys(lite) == list(range(5))
        cdc.ask("resume", task_id=task)
        wait_keys(lite, range(10))


def test_pause_under_load_stands_still(
    source: EmbeddedMilvus,
    target_milvus: EmbeddedMilvus,
    client: MilvusClient,
    emptied,
    tmp_path: Path,
) -> None:
    """Once a pause has answered, no row reaches the target, however many are written."""
    books = Books(client).create()
    target = emptied(target_milvus)
    with Cdc(tmp_path, source) as cdc:
        with Writer(books) as writer:
            task = cdc.create(target_milvus.uri)
            wait_until(lambda: cdc.get(task)["rows_applied"] > BATCH, "rows arrive", 60)
            cdc.ask("pause", task_id=task)
            before, written = keys(target), writer.written
            wait_until(lambda: writer.written > written + 3 * BATCH, "rows are written")
            assert keys(target) == before
            cdc.ask("resume", task_id=task)
        wait_keys(target, range(writer.written), timeout=60)
    target.close()


def test_source_that_is_away_at_start(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    tmp_path: Path,
) -> None:
    """Without a source the service answers and says what is missing; then it works."""
    books = Books(client).create()
    books.insert(range(5))
    source.kill()
    try:
        with Cdc(tmp_path, source) as cdc:
            wait_until(
                lambda: "source etcd" in cdc.probe("/readyz")[1]["missing"],
                "what is missing is named",
            )
            status, answer = cdc.probe("/readyz")
            assert status == 503
            assert set(answer["missing"]) == {
                "source api",
                "source etcd",
                "source message queue",
            }
            assert cdc.probe("/livez")[0] == 200
            task = cdc.create(target_lite.uri)
            wait_failing(cdc, task)
            source.start()
            wait_until(lambda: cdc.probe("/readyz")[0] == 200, "it is ready")
            wait_keys(lite, range(5), timeout=60)
            wait_ok(cdc, task)
    finally:
        source.start()


@pytest.mark.parametrize(
    "gone",
    [
        "source",
        pytest.param("target_lite", marks=pytest.mark.thorough),
        "target_milvus",
    ],
)
def test_server_that_goes_away_and_comes_back(
    gone: str,
    source: EmbeddedMilvus,
    client: MilvusClient,
    emptied,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    """While a server is away the task says so and tries again; later both are equal."""
    server = request.getfixturevalue(gone)
    target = request.getfixturevalue("target_lite") if gone == "source" else server
    emptied(target).close()
    books = Books(client).create()
    books.insert(range(5))
    with Cdc(tmp_path, source) as cdc:
        task = cdc.create(target.uri)
        wait_ok(cdc, task)
        cdc.wait_caught_up(task)
        server.kill()
        try:
            if gone != "source":
                books.insert(range(5, 10))
            health = wait_failing(cdc, task)
            assert health["status"] == "retrying"
            assert health["error"]
            assert health["failure_class"] == "transient"
            assert health["attempt"] >= 1
        finally:
            server.start()
        books.insert(range(10, 15))
        wait_ok(cdc, task)
        wait_equal(source, target)
        assert cdc.stop() == 0
    log = TaskLog.sqlite(str(tmp_path / "cdc.db"))
    found = kinds(log, task)
    log.close()
    assert found.index("TaskFailed") < found.index("TaskRecovered")
    assert "TaskPaused" not in found


def test_sigterm_ends_in_good_order(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    tmp_path: Path,
) -> None:
    """SIGTERM under load ends with status 0, and the next start goes on from there."""
    books = Books(client).create()
    with Cdc(tmp_path, source) as cdc:
        task = cdc.create(target_lite.uri)
        with Writer(books) as writer:
            wait_until(lambda: cdc.get(task)["rows_applied"] > BATCH, "rows arrive")
            assert cdc.stop() == 0
        cdc.start()
        wait_keys(lite, range(writer.written))
        assert cdc.get(task)["state"] == "Running"
        assert cdc.stop() == 0
        assert "Traceback" not in cdc.log.read_text()
    log = TaskLog.sqlite(str(tmp_path / "cdc.db"))
    done = [e.kind for e in log.history(task) if type(e).__name__ == "OperationApplied"]
    log.close()
    assert done.count("CreateCollection") == 1
    assert done.count("CreateIndex") == 1


def test_second_sigterm_leaves_at_once(source: EmbeddedMilvus, tmp_path: Path) -> None:
    """A second SIGTERM while a request still holds up the stop ends the process."""
    with (
        Cdc(tmp_path, source, program=PROGRAM) as cdc,
        socket.create_server(("127.0.0.1", 0)) as silent,
    ):
        uri = "http://{}:{}".format(*silent.getsockname())
        param = {"uri": uri, "connect_timeout": 60}
        infos = [{"name": "*"}]
        client = threading.Thread(
            target=cdc.request,
            args=("create",),
            kwargs={"milvus_connect_param": param, "collection_infos": infos},
        )
        client.start()
        process = cdc.process
        assert process is not None
        # The request has come as far as its target, which says nothing.
        with silent.accept()[0]:
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: "stopping" in cdc.log.read_text(), "it is stopping")
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 128 + signal.SIGTERM
            client.join()


def test_postgres_as_the_store(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    postgres_url: str,
    tmp_path: Path,
) -> None:
    """With PostgreSQL as the store, a task survives SIGKILL just so."""
    store = f"{{storeType: postgres, postgres: {{url: '{postgres_url}'}}}}"
    books = Books(client).create()
    books.insert(range(5))
    with Cdc(tmp_path, source, store=store) as cdc:
        task = cdc.create(target_lite.uri)
        wait_keys(lite, range(5))
        cdc.kill()
        books.insert(range(5, 10))
        books.upsert(range(3))
        cdc.start()
        assert cdc.get(task)["state"] == "Running"
        wait_keys(lite, range(10))
        wait_equal(source, target_lite)
