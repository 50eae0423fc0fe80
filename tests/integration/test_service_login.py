"""A target that refuses the login in the middle of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pymilvus import MilvusClient

from tests.support.accounts import ROOT, as_root
from tests.support.books import Books, wait_keys
from tests.support.cdc import wait_until
from tests.support.guarded import GuardedMilvus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.cdc import Cdc

OTHER = "Another123"


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMilvus]:
    """Yield a target that asks for a login."""
    folder = tmp_path_factory.mktemp("guarded")
    with GuardedMilvus(folder) as server:
        yield server


def test_password_that_is_changed_and_changed_back(
    client: MilvusClient, cdc: Cdc, guarded: EmbeddedMilvus
) -> None:
    """Rows and operations wait for the login; none is left out, and no collection."""
    root = as_root(guarded)
    books = Books(client).create()
    books.insert(range(10))
    task = cdc.ask(
        "create",
        milvus_connect_param={"uri": guarded.uri, "token": ROOT},
        collection_infos=[{"name": "*"}],
    )["task_id"]
    wait_keys(root, range(10))
    root.update_password("root", "Milvus", OTHER)
    books.insert(range(10, 20))
    client.create_partition("books", "maps")
    client.create_alias("books", "volumes")
    said = "the target refuses the login"
    wait_until(lambda: said in str(cdc.get(task)["health"]["error"]), said)
    shown = cdc.get(task)
    assert (shown["state"], shown["operations_refused"]["count"]) == ("Running", 0)
    assert shown["health"]["failure_class"] == "transient"
    assert [each["state"] for each in shown["collections"]] == ["live"]
    books.insert(range(20, 30))
    again = MilvusClient(guarded.uri, token=f"root:{OTHER}", dedicated=True)
    again.update_password("root", OTHER, "Milvus")
    again.close()
    books.insert(range(30, 40))
    wait_keys(root, range(40))
    wait_until(lambda: cdc.get(task)["health"]["status"] == "ok", "it is well", 60)
    assert count(root) == count(client) == 40
    wait_until(lambda: root.list_aliases("books")["aliases"] == ["volumes"], "alias")
    assert root.has_partition("books", "maps")
    shown = cdc.get(task)
    assert shown["operations_refused"]["count"] == 0
    assert [each["state"] for each in shown["collections"]] == ["live"]
    root.close()


def count(client: MilvusClient) -> int:
    """Return what the server counts."""
    found = client.query(
        "books", output_fields=["count(*)"], consistency_level="Strong"
    )
    return int(found[0]["count(*)"])
