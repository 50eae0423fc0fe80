"""A target that refuses the login in the middle of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.accounts import as_root
from tests.support.books import Books, wait_keys
from tests.support.cdc import wait_until
from tests.support.guarded import TaskUser

if TYPE_CHECKING:
    from pymilvus import MilvusClient

    from tests.support.cdc import Cdc
    from tests.support.guarded import GuardedMilvus

OTHER = "Another123"


def test_password_that_is_changed_and_changed_back(
    client: MilvusClient, cdc: Cdc, target_guarded: GuardedMilvus, emptied
) -> None:
    """Rows and operations wait for the login; none is left out, and no collection."""
    emptied(target_guarded).close()
    root, user = as_root(target_guarded), TaskUser(target_guarded)
    books = Books(client).create()
    books.insert(range(10))
    task = cdc.ask(
        "create",
        milvus_connect_param={"uri": target_guarded.uri, "token": user.token},
        collection_infos=[{"name": "*"}],
    )["task_id"]
    wait_keys(root, range(10))
    former = user.change_password(OTHER)
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
    user.change_password(former)
    books.insert(range(30, 40))
    wait_keys(root, range(40))
    wait_until(lambda: cdc.get(task)["health"]["status"] == "ok", "it is well", 60)
    assert count(root) == count(client) == 40
    wait_until(lambda: root.list_aliases("books")["aliases"] == ["volumes"], "alias")
    assert root.has_partition("books", "maps")
    shown = cdc.get(task)
    assert shown["operations_refused"]["count"] == 0
    assert [each["state"] for each in shown["collections"]] == ["live"]
    user.close()
    root.close()


def count(client: MilvusClient) -> int:
    """Return what the server counts."""
    found = client.query(
        "books", output_fields=["count(*)"], consistency_level="Strong"
    )
    return int(found[0]["count(*)"])
