"""A real target is asked for more query nodes than it has."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from pymilvus.client.types import LoadState

from cdc_actors.target.connection import Connection
from cdc_actors.target.requests import issue
from tests.support.books import Books

if TYPE_CHECKING:
    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

WANTED: dict[str, Any] = {"replica_number": 2, "resource_groups": ["rg9"]}
LOADS = {"LoadCollection": {}, "LoadPartitions": {"partition_names": ["_default"]}}


def test_more_replicas_and_another_resource_group(
    target: EmbeddedMilvus | EmbeddedLite, emptied
) -> None:
    """A collection, or parts of it, are loaded by the one node that there is.

    Milvus Lite knows neither replicas nor groups, and loads no single partitions.
    """
    with (
        closing(emptied(target)) as client,
        closing(Connection(target.uri, "")) as connection,
    ):
        books = Books(client).create(index=False)
        books.index()
        for kind, more in LOADS.items():
            if connection.is_lite and kind == "LoadPartitions":
                continue
            client.release_collection("books")
            reduced = issue(connection, kind, ("default", "books"), WANTED | more)
            assert connection.is_lite or "1 replica in the default" in reduced
            state = client.get_load_state("books")["state"]
            assert state in {LoadState.Loaded, LoadState.Loading}
