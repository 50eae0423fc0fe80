"""What a target has, or is set up to take, in another shape than the source's."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from pymilvus import DataType, MilvusClient

from cdc_actors.embedded.milvus import EmbeddedMilvus
from tests.support.books import DIM, Books, keys, wait_keys
from tests.support.cdc import Cdc, wait_until

if TYPE_CHECKING:
    from pathlib import Path


def test_a_collection_whose_keys_the_target_generates(
    source: EmbeddedMilvus,
    client: MilvusClient,
    target_milvus: EmbeddedMilvus,
    milvus: MilvusClient,
    cdc: Cdc,
) -> None:
    """It would refuse the source's keys: the creation says so, and it is set aside.

    And so does it of another database, of which nothing is selected.
    """
    Books(client).create(index=False).insert(range(3))
    Books(client, "papers").create().insert(range(3))
    client.create_database("shop")
    with closing(MilvusClient(source.uri, db_name="shop", dedicated=True)) as shop:
        Books(shop, "carts").create(index=False)
    schema = MilvusClient.create_schema(auto_id=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("title", DataType.VARCHAR, max_length=64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM * 2)
    milvus.create_collection("books", schema=schema)
    made = cdc.ask(
        "create",
        milvus_connect_param={"uri": target_milvus.uri},
        collection_infos=[{"name": "*"}],
    )
    left_out, warning = made["warnings"]
    assert "databases of the source that have collections: shop. To" in left_out
    assert "the target has a collection default.books with another schema" in warning
    assert "target Int64 primary auto-id" in warning
    task = made["task_id"]
    wait_keys(milvus, range(3), "papers")
    wait_until(
        lambda: any(
            "target Int64 primary auto-id" in (each.get("reason") or "")
            for each in cdc.get(task)["collections"]
            if (each["name"], each["state"]) == ("books", "set_aside")
        ),
        "the books are set aside",
    )


@pytest.mark.thorough
def test_a_target_that_takes_fewer_shards(
    client: MilvusClient, cdc: Cdc, tmp_path: Path
) -> None:
    """It gets as many as it takes, and the task's history says so; no row is missing."""
    books = Books(client).create(shards=5)
    books.insert(range(50))
    few = {"rootCoord": {"dmlChannelNum": 2}}
    with EmbeddedMilvus(tmp_path / "target", wanted=few) as target:
        task = cdc.create(target.uri)
        replica = MilvusClient(target.uri, timeout=30, dedicated=True)
        wait_keys(replica, range(50))
        books.delete(range(10))
        cdc.wait_caught_up(task)
        assert keys(replica) == [*range(10, 50)]
        assert replica.describe_collection("books")["num_shards"] == 2
        replica.close()
    assert "shards_limited" in cdc.log.read_text()
    history = cdc.ask("history", task_id=task)["events"]
    assert any("2 instead of 5 shards" in each["text"] for each in history)


def test_a_target_that_shows_nothing_of_what_is_written_to_it(
    cdc: Cdc, tmp_path: Path
) -> None:
    """It is refused with the name of its setting, though nothing has been created there."""
    silent = {"common": {"ttMsgEnabled": False}}
    with EmbeddedMilvus(tmp_path / "target", wanted=silent) as target:
        status, answer = cdc.request(
            "create",
            milvus_connect_param={"uri": target.uri},
            collection_infos=[{"name": "*"}],
        )
    assert (status, "common.ttMsgEnabled: false" in answer["message"]) == (422, True)
    assert cdc.ask("list")["tasks"] == []
