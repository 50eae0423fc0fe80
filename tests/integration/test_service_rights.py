"""A task's user loses rights at the target, and is given them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.accounts import as_root
from tests.support.books import Books, wait_equal, wait_keys
from tests.support.cdc import wait_until
from tests.support.guarded import GuardedMilvus, TaskUser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymilvus import MilvusClient

    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.cdc import Cdc

INSERT = "Collection", "Insert", "books"
CREATE_INDEX = "Collection", "CreateIndex", "*"


@pytest.fixture
def user(target_guarded: GuardedMilvus, emptied) -> Iterator[TaskUser]:
    """Yield the user of a task, who may insert into two collections and no others."""
    emptied(target_guarded).close()
    user = TaskUser(target_guarded)
    user.withdraw(("Collection", "Insert", "*"))
    for name in ("books", "maps"):
        user.grant(("Collection", "Insert", name))
    yield user
    user.close()


def wait_refused(cdc: Cdc, task: str, privilege: str) -> None:
    """Wait until the task says that it misses a privilege; nothing is given up for it."""
    said = f"Privilege{privilege}: permission deny"
    wait_until(lambda: said in str(cdc.get(task)["health"]["error"]), said)
    shown = cdc.get(task)
    assert (shown["state"], shown["health"]["status"]) == ("Running", "retrying")
    assert shown["health"]["failure_class"] == "transient"
    assert {each["state"] for each in shown["collections"]} <= {"live", "creating"}
    assert shown["operations_refused"]["count"] == 0


def count(client: MilvusClient, name: str) -> int:
    """Return what a server counts."""
    found = client.query(name, output_fields=["count(*)"], consistency_level="Strong")
    return int(found[0]["count(*)"])


def test_rights_that_are_withdrawn_and_granted(
    source: EmbeddedMilvus,
    client: MilvusClient,
    target_guarded: GuardedMilvus,
    user: TaskUser,
    cdc: Cdc,
) -> None:
    """The task says which is missing; every row and index arrives once it is granted.

    The first right is granted while the task tries again, the second while it is paused.
    """
    root = as_root(target_guarded)
    books, maps = Books(client).create(), Books(client, "maps")
    books.insert(range(10))
    task = cdc.ask(
        "create",
        milvus_connect_param={"uri": target_guarded.uri, "token": user.token},
        collection_infos=[{"name": "*"}],
    )["task_id"]
    wait_keys(root, range(10))
    user.withdraw(INSERT)
    books.insert(range(10, 20))
    books.delete(range(3))
    wait_refused(cdc, task, "Insert")
    books.insert(range(20, 30))
    user.grant(INSERT)
    wait_keys(root, range(3, 30))

    user.withdraw(CREATE_INDEX)
    maps.create().insert(range(10))
    wait_refused(cdc, task, "CreateIndex")
    books.insert(range(30, 40))
    cdc.ask("pause", task_id=task)
    maps.insert(range(10, 20))
    maps.delete(range(3))
    user.grant(CREATE_INDEX)
    cdc.ask("resume", task_id=task)
    wait_keys(root, range(3, 20), "maps")
    wait_keys(root, range(3, 40))
    wait_equal(source, target_guarded)
    assert [count(root, name) for name in ("books", "maps")] == [37, 17]
    wait_until(lambda: cdc.get(task)["health"]["status"] == "ok", "it is well", 60)
    shown = cdc.get(task)
    assert {each["state"] for each in shown["collections"]} == {"live"}
    assert shown["operations_refused"]["count"] == 0
    assert {key: root.list_indexes(key) for key in ("books", "maps")} == {
        key: client.list_indexes(key) for key in ("books", "maps")
    }
    root.close()
