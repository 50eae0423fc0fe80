"""Properties of collections that are altered at the source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.books import Books, wait_keys

if TYPE_CHECKING:
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
