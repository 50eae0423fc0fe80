"""What else may go wrong around the service, and what it says and does then."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import nats
import pytest

from tests.support.books import Books, keys, wait_equal, wait_keys
from tests.support.cdc import Cdc, wait_until
from tests.support.faults import hanging

if TYPE_CHECKING:
    from pathlib import Path

    from pymilvus import MilvusClient

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.postgres import PostgresServer

ALL = [{"name": "*"}]


@pytest.mark.parametrize("hung", ["target_lite", "source"])
def test_server_that_hangs_does_not_hold_up_requests(
    hung: str,
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    cdc: Cdc,
    request: pytest.FixtureRequest,
) -> None:
    """Pause, resume and a good end go through while a server answers nothing."""
    books = Books(client).create()
    books.insert(range(3))
    task = cdc.create(target_lite.uri)
    wait_keys(lite, range(3))
    if hung == "target_lite":
        books.insert(range(3, 6))
    with hanging(request.getfixturevalue(hung)):
        cdc.ask("pause", task_id=task)
        cdc.ask("resume", task_id=task)
        assert cdc.get(task)["state"] == "Running"
        assert cdc.stop() == 0  # Soon: a Milvus that hangs for long ends by itself.
    cdc.start()
    books.insert(range(6, 9))
    wait_until(lambda: cdc.get(task)["health"]["status"] == "ok", "it is well", 60)
    wait_equal(source, target_lite)


def test_silent_target_does_not_hold_up_others(
    target_lite: EmbeddedLite, client: MilvusClient, lite: MilvusClient, cdc: Cdc
) -> None:
    """While one create waits for a silent target, a task of another target begins."""
    Books(client).create().insert(range(3))
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as one:
        uri = "http://{}:{}".format(*silent.getsockname())
        param = {"uri": uri, "connect_timeout": 20}
        waiting = one.submit(
            cdc.request, "create", milvus_connect_param=param, collection_infos=ALL
        )
        connection, _ = silent.accept()
        with connection:
            cdc.create(target_lite.uri)
            wait_keys(lite, range(3))
            assert not waiting.done()
        silent.close()
        assert waiting.result()[0] == 422


@pytest.mark.parametrize("lost", ["books", "requests"])
def test_log_that_lost_the_checkpoint(
    lost: str,
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    cdc: Cdc,
) -> None:
    """Where the log no longer holds what comes next, the task pauses, and stays paused."""
    books = Books(client).create()
    books.insert(range(3))
    task = cdc.create(target_lite.uri)
    wait_keys(lite, range(3))
    cdc.wait_caught_up(task)
    cdc.ask("pause", task_id=task)
    books.insert(range(3, 6))
    client.flush("books")
    purge(source, lost)
    cdc.ask("resume", task_id=task)
    wait_until(lambda: cdc.get(task)["state"] == "Paused", "the task pauses")
    shown = cdc.get(task)
    assert "no longer" in shown["reason"]
    assert shown["health"]["status"] == "failed"
    assert shown["health"]["failure_class"] == "position_lost"
    status, answer = cdc.request("resume", task_id=task)
    assert status == 409
    assert "the log no longer holds" in answer["message"]
    assert "`resync` brings its collections anew" in answer["message"]
    assert cdc.get(task)["reason"] == shown["reason"]
    assert keys(lite) == [0, 1, 2]


def purge(source: EmbeddedMilvus, which: str) -> None:
    """Remove what the log holds of the rows, or of the clients' requests."""

    async def run() -> None:
        async with await nats.connect(source.nats_address) as client:
            jetstream = client.jetstream()
            for info in await jetstream.streams_info():
                name = info.config.name or ""
                if ("replicate" in name) == (which == "requests"):
                    await jetstream.purge_stream(name)

    asyncio.run(run())


def test_postgres_that_is_killed(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    postgres_server: PostgresServer,
    postgres_url: str,
    tmp_path: Path,
) -> None:
    """While the store is away the service says so and lives; later it goes on."""
    store = f"{{storeType: postgres, postgres: {{url: '{postgres_url}'}}}}"
    books = Books(client).create()
    books.insert(range(3))
    with Cdc(tmp_path, source, store=store) as cdc:
        task = cdc.create(target_lite.uri)
        wait_keys(lite, range(3))
        postgres_server.kill()
        try:
            status, answer = cdc.probe("/readyz")
            assert status == 503
            assert "tasks" in answer["missing"]
            assert cdc.probe("/livez")[0] == 200
            assert cdc.request("pause", task_id=task)[0] == 503
            books.insert(range(3, 6))
            assert cdc.request("get", task_id=task)[0] == 200
        finally:
            postgres_server.start()
        wait_until(lambda: cdc.probe("/readyz")[0] == 200, "it is ready")
        wait_until(
            lambda: cdc.request("resume", task_id=task)[0] in (200, 409), "it answers"
        )
        books.insert(range(6, 9))
        wait_until(lambda: cdc.get(task)["health"]["status"] == "ok", "it is well", 60)
        wait_equal(source, target_lite)
