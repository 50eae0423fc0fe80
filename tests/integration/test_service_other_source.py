"""A task replicates its own source, and touches nothing when it finds another one."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from pymilvus import MilvusClient

from cdc_actors.embedded.milvus import EmbeddedMilvus
from tests.support.books import Books, keys, wait_equal, wait_keys
from tests.support.cdc import Cdc, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from cdc_actors.embedded.lite import EmbeddedLite


def count(client: MilvusClient) -> int:
    """Return how many books there are, each copy of a key counted."""
    found = client.query(
        "books", output_fields=["count(*)"], consistency_level="Strong"
    )
    return int(found[0]["count(*)"])


def refuses(cdc: Cdc, task: str) -> None:
    """Check that the task has paused with the true reason, and is not to be resumed."""
    wait_until(lambda: cdc.get(task)["state"] == "Paused", "the task has paused")
    words = "point sourceConfig back at the task's source"
    assert words in cdc.get(task)["reason"]
    status, answer = cdc.request("resume", task_id=task)
    assert status == 409
    assert words in answer["message"]
    assert "delete the task and create it anew" in answer["message"]
    assert cdc.get(task)["state"] == "Paused"


def test_a_configuration_that_names_another_source(
    source: EmbeddedMilvus,
    target_milvus: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    milvus: MilvusClient,
    lite: MilvusClient,
    tmp_path: Path,
) -> None:
    """Nothing is dropped or mixed; back at the right source all rows arrive, each once.

    The other one has channels of the same names, and a collection of the same name.
    """
    books = Books(client).create()
    books.insert(range(20))
    Books(milvus).create().insert(range(100, 150))
    Books(milvus, "papers").create().insert(range(5))
    with Cdc(tmp_path, source) as cdc:
        task = cdc.create(target_lite.uri)
        wait_keys(lite, range(20))
        assert cdc.stop() == 0
    books.insert(range(20, 30))
    with Cdc(tmp_path, target_milvus) as cdc:
        before = cdc.ask("position", task_id=task)
        refuses(cdc, task)
        assert cdc.ask("position", task_id=task) == before
        assert [keys(lite), lite.list_collections()] == [[*range(20)], ["books"]]
    with Cdc(tmp_path, source) as cdc:
        cdc.ask("resume", task_id=task)
        wait_keys(lite, range(30))
        cdc.wait_caught_up(task)
        wait_equal(source, target_lite)
        assert count(lite) == count(client) == 30


@pytest.mark.thorough
def test_a_source_that_is_wiped_and_set_up_anew(
    target_lite: EmbeddedLite, lite: MilvusClient, tmp_path: Path
) -> None:
    """While the service runs and its task is paused; a new task brings what is there."""
    with (
        EmbeddedMilvus(tmp_path / "source") as server,
        Cdc(tmp_path / "cdc", server) as cdc,
    ):
        with closing(MilvusClient(server.uri)) as client:
            Books(client).create().insert(range(20))
            task = cdc.create(target_lite.uri)
            wait_keys(lite, range(20))
        cdc.ask("pause", task_id=task)
        server.stop()
        for each in ("etcd", "nats", "data"):
            shutil.rmtree(tmp_path / "source" / each, ignore_errors=True)
        server.start()
        with closing(MilvusClient(server.uri)) as client:
            Books(client, "papers").create().insert(range(5))
        status, answer = cdc.request("resume", task_id=task)
        assert status == 409
        assert "delete the task and create it anew" in answer["message"]
        assert keys(lite) == [*range(20)]
        cdc.ask("delete", task_id=task)
        cdc.create(target_lite.uri)
        wait_keys(lite, range(5), "papers")
        assert keys(lite) == [*range(20)]
