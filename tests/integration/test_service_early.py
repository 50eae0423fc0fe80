"""Tasks whose rows do not wait for the source's ticks, between real servers."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest
from pymilvus import MilvusClient

from tests.support.books import Books, wait_equal, wait_keys

if TYPE_CHECKING:
    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.cdc import Cdc

WRITERS = 4
WRITES = 40
KEYS = range(12)


def write_at_once(uri: str) -> None:
    """Have several clients replace and delete the same few rows."""

    def write(number: int) -> None:
        moments = random.Random(number)
        client = MilvusClient(uri, timeout=60, dedicated=True)
        books = Books(client)
        for _ in range(WRITES):
            keys = moments.sample(KEYS, 3)
            if moments.random() < 0.7:
                books.upsert(keys)
            else:
                books.delete(keys)
        client.close()

    writers = [threading.Thread(target=write, args=(each,)) for each in range(WRITERS)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()


@pytest.mark.parametrize(
    "target",
    ["milvus", pytest.param("lite", marks=pytest.mark.thorough)],
    indirect=True,
)
def test_rows_that_many_clients_write_at_once_end_equal(
    source: EmbeddedMilvus,
    target: EmbeddedMilvus | EmbeddedLite,
    emptied,
    cdc: Cdc,
) -> None:
    """With a kill meanwhile, and when an update has rows wait for their ticks again."""
    client, other = emptied(source), emptied(target)
    books = Books(client).create(shards=2)
    books.insert(KEYS)
    everything = [{"name": "*"}]
    task = cdc.create(target.uri, collection_infos=everything, consistency="early")
    wait_keys(other, KEYS)
    write_at_once(source.uri)
    killer = threading.Timer(0.2, cdc.kill)
    killer.start()
    write_at_once(source.uri)
    killer.join()
    cdc.start()
    wait_equal(source, target)
    write_at_once(source.uri)
    assert cdc.get(task)["consistency"] == "early"
    assert cdc.ask("update", task_id=task, consistency="tick")["changed"] == [
        "consistency"
    ]
    write_at_once(source.uri)
    wait_equal(source, target)
    assert "consistency" not in cdc.get(task)
    client.close()
    other.close()
