"""Indexes of a collection, and whether it is loaded, which depend on each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymilvus import MilvusClient
from pymilvus.client.types import LoadState

from tests.support.books import Books, wait_keys
from tests.support.cdc import wait_until

if TYPE_CHECKING:
    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.cdc import Cdc
    from tests.support.scenario import Scenario


def index_of(client: MilvusClient, name: str) -> tuple[str | None, LoadState]:
    """Return the kind of the index, if any, and whether the collection is loaded."""
    if not client.has_collection(name) or not client.list_indexes(name):
        return None, LoadState.NotExist
    found = client.describe_index(name, "vector")
    state: LoadState = client.get_load_state(name)["state"]
    return found and found["index_type"], state


def test_index_of_a_collection_that_is_not_loaded(scenario: Scenario) -> None:
    """It does not load the collection, so that it can be dropped; another comes."""
    books = scenario.begin()
    plain = Books(scenario.client, "plain").create(index=False)
    with scenario.meanwhile():
        plain.index()
        books.insert(range(10, 20))
    wait_until(
        lambda: index_of(scenario.other, "plain") == ("FLAT", LoadState.NotLoad),
        "it is indexed and not loaded",
    )
    with scenario.meanwhile():
        scenario.client.drop_index("plain", "vector")
        indexes = MilvusClient.prepare_index_params()
        indexes.add_index(
            "vector", index_type="IVF_FLAT", metric_type="L2", params={"nlist": 8}
        )
        scenario.client.create_index("plain", indexes, sync=False)
        plain.insert(range(5))
    wait_until(
        lambda: index_of(scenario.other, "plain") == ("IVF_FLAT", LoadState.NotLoad),
        "it has another index and is not loaded",
    )
    scenario.client.load_collection("plain")
    wait_keys(scenario.other, range(5), "plain")
    scenario.wait_equal()


def test_one_of_two_indexes_is_dropped_at_milvus_lite(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    cdc: Cdc,
) -> None:
    """Lite knows indexes by their fields alone; a drop without one is that of all."""
    plain = Books(client, "plain").create(index=False)
    plain.index()
    indexes = MilvusClient.prepare_index_params()
    indexes.add_index("title", index_type="Trie", index_name="by_title")
    client.create_index("plain", indexes)
    task = cdc.create(target_lite.uri)
    wait_until(lambda: index_of(lite, "plain")[0] == "FLAT", "it is indexed")
    client.drop_index("plain", "by_title")
    plain.insert(range(3))
    applied = "DropIndex of default.plain applied at the target"

    def dropped() -> bool:
        events = cdc.ask("history", task_id=task)["events"]
        return any(each["text"] == applied for each in events)

    wait_until(dropped, "the drop is done")
    assert lite.list_indexes("plain") == ["vector"]
    assert client.list_indexes("plain") == ["vector"]
