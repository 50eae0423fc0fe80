"""Properties of collections that are altered at the source."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cdc_actors.marks import PROPERTY
from tests.support.books import Books, keys, wait_keys
from tests.support.cdc import wait_until

if TYPE_CHECKING:
    from pymilvus import MilvusClient

    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.cdc import Cdc
    from tests.support.scenario import Scenario

TTL = "collection.ttl.seconds"
OWN = {
    "collection.replica.number": "2",
    "collection.resource_groups": "rg9",
    "replicate.id": "east",
}
"""What is about the source itself."""


def test_properties_are_altered(scenario: Scenario) -> None:
    """Each alteration arrives, also the newest, which the source's catalog lacks.

    What is about the source itself does not.
    """
    books = scenario.begin()
    with scenario.meanwhile():
        scenario.client.alter_collection_properties("books", {TTL: 100_000})
        books.insert(range(10, 20))
        scenario.client.alter_collection_properties("books", OWN)
        scenario.client.alter_collection_properties("books", {"mmap.enabled": True})
        scenario.client.alter_collection_properties("books", {TTL: 200_000})
    wait_keys(scenario.other, range(20))
    scenario.wait_equal()
    found = scenario.other.describe_collection("books")["properties"]
    assert found.pop(PROPERTY)
    assert found == {TTL: "200000", "mmap.enabled": "True"}
    scenario.client.alter_collection_properties("books", {TTL: 300_000})
    scenario.wait_equal()
    assert scenario.refusals() == []


def test_properties_from_before_the_task(scenario: Scenario) -> None:
    """A collection comes with the properties that it has by then."""
    books = Books(scenario.client).create()
    books.insert(range(3))
    scenario.client.alter_collection_properties("books", OWN | {TTL: 100_000})
    scenario.create_task()
    wait_keys(scenario.other, range(3))
    scenario.wait_equal()
    with scenario.meanwhile():
        scenario.client.alter_collection_properties("books", {TTL: 200_000})
        books.insert(range(3, 6))
    wait_keys(scenario.other, range(6))
    scenario.wait_equal()


def test_rows_that_the_source_has_expired(
    client: MilvusClient, milvus: MilvusClient, target_milvus: EmbeddedMilvus, cdc: Cdc
) -> None:
    """An old log does not bring them to life again; by the time to live of now.

    The source still has them in its files, as it compacts when it likes.
    """
    lives = {"expired": ["1"], "kept": [], "lengthened": ["1", "100000"]}
    for name in lives:
        Books(client, name).create().insert(range(5))
    inserted = time.monotonic()
    for name, altered in lives.items():
        for ttl in altered:
            client.alter_collection_properties(name, {TTL: ttl})
    wait_until(lambda: time.monotonic() - inserted > 2, "the rows are expired")
    task = cdc.create(target_milvus.uri)
    for name in ("kept", "lengthened"):
        wait_keys(milvus, range(5), name)
    cdc.wait_caught_up(task)
    wait_until(
        lambda: (
            milvus.describe_collection("lengthened")["properties"].get(TTL) == "100000"
        ),
        "the time to live has come",
    )
    wait_keys(milvus, [], "expired")
    assert keys(client, "expired") == list(range(5))
    assert "expired_rows_left_out" in cdc.log.read_text("utf-8")
