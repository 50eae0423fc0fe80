"""Single partitions loaded and released: no message of the log tells of it (2.3.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pymilvus.client.types import LoadState

from cdc_actors.embedded.lite import EmbeddedLite
from tests.support.books import Books
from tests.support.cdc import wait_until

if TYPE_CHECKING:
    from tests.support.scenario import Scenario


def loaded(scenario: Scenario, *, source: bool = False) -> set[str]:
    """Return the partitions of the books that are loaded."""
    client = scenario.client if source else scenario.other
    if not client.has_collection("books"):
        return set()
    return {
        name
        for name in client.list_partitions("books")
        if client.get_load_state("books", name)["state"] == LoadState.Loaded
    }


def wait_loaded(scenario: Scenario, *wanted: str) -> None:
    """Wait until just these partitions are loaded, on both sides."""
    for source in (True, False):
        wait_until(
            lambda source=source: loaded(scenario, source=source) == set(wanted),
            f"{wanted} are loaded{' at the source' * source}",
        )


@pytest.mark.parametrize("target", ["milvus"], indirect=True)
def test_some_partitions_are_loaded(scenario: Scenario) -> None:
    """What is loaded before the task, and what is loaded and released later on."""
    books = Books(scenario.client).create(index=False)
    books.index()
    for name in ("fiction", "maps", "plays"):
        scenario.client.create_partition("books", name)
        books.insert(range(3), name)
    scenario.client.load_partitions("books", ["fiction", "maps"])
    scenario.create_task()
    wait_loaded(scenario, "fiction", "maps")
    with scenario.meanwhile():
        scenario.client.release_partitions("books", ["fiction"])
        scenario.client.load_partitions("books", ["plays"])
    wait_loaded(scenario, "maps", "plays")
    with scenario.meanwhile():
        scenario.client.release_partitions("books", ["maps", "plays"])
    wait_loaded(scenario)
    with scenario.meanwhile():
        scenario.client.load_collection("books")
        scenario.client.release_partitions("books", ["plays"])
    wait_loaded(scenario, "_default", "fiction", "maps")
    with scenario.meanwhile():
        scenario.client.release_collection("books")
        scenario.client.load_partitions("books", ["plays"])
    wait_loaded(scenario, "plays")
    assert scenario.refusals() == []


@pytest.mark.parametrize("scenario", ["up"], indirect=True)
@pytest.mark.parametrize("target", ["lite"], indirect=True)
def test_lite_loads_collections_only(scenario: Scenario) -> None:
    """Milvus Lite cannot load single partitions: that is said once, the rest goes on."""
    assert isinstance(scenario.target, EmbeddedLite)
    books = Books(scenario.client).create(index=False)
    books.index()
    scenario.client.create_partition("books", "fiction")
    books.insert(range(3), "fiction")
    scenario.client.load_partitions("books", ["fiction"])
    scenario.create_task()
    wait_until(lambda: "LoadPartitions" in scenario.refusals(), "it is refused")
    scenario.restart()
    books.insert(range(3, 6))
    scenario.cdc.wait_caught_up(scenario.task)
    assert scenario.refusals().count("LoadPartitions") == 1
