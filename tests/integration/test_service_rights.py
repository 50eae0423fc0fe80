"""A task's user loses rights at the target, and is given them again."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pymilvus import MilvusClient
from pymilvus.grpc_gen import milvus_pb2

from tests.integration.test_readme import block
from tests.support.accounts import as_root
from tests.support.books import Books, wait_equal, wait_keys
from tests.support.cdc import wait_until
from tests.support.guarded import RIGHTS, GuardedMilvus, TaskUser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.cdc import Cdc
    from tests.support.guarded import Right

UNHEARD_SECONDS = 10.0
"""When a right is withdrawn anew: a proxy may hear of changes in a wrong order."""

INSERT = "Collection", "Insert", "books"
CREATE_INDEX = "Collection", "CreateIndex", "*"
RENAME = "Global", "RenameCollection", "*"


@pytest.fixture
def user(target_guarded: GuardedMilvus, emptied) -> Iterator[TaskUser]:
    """Yield the user of a task, with the rights that the README names.

    Those to insert are for single collections.
    """
    emptied(target_guarded).close()
    others = [each for each in RIGHTS if each[1] != "Insert"]
    inserts = [("Collection", "Insert", name) for name in ("books", "maps", "papers")]
    user = TaskUser(target_guarded, [*others, *inserts])
    yield user
    user.close()


def create_task(cdc: Cdc, target: GuardedMilvus, user: TaskUser) -> str:
    """Create a task of everything; return its id."""
    param = {"uri": target.uri, "token": user.token}
    everything = {"*": [{"name": "*"}]}
    created = cdc.ask("create", milvus_connect_param=param, db_collections=everything)
    return str(created["task_id"])


def wait_refused(cdc: Cdc, task: str, privilege: str) -> None:
    """Wait until the task says that it misses a privilege; nothing is given up for it."""
    said = f"Privilege{privilege}: permission deny"
    shown: dict[str, Any] = {}

    def is_said() -> bool:
        shown.update(cdc.get(task))
        return said in str(shown["health"]["error"])

    wait_until(is_said, said)
    assert (shown["state"], shown["health"]["status"]) == ("Running", "retrying")
    assert shown["health"]["failure_class"] == "transient"
    assert {each["state"] for each in shown["collections"]} <= {"live", "creating"}
    assert shown["operations_refused"]["count"] == 0


def withdraw(target: GuardedMilvus, user: TaskUser, right: Right, method: str) -> None:
    """Take a right away, and wait until the target's proxy has heard of it.

    One that is asked for nothing looks at the right first, and does nothing either way.
    """
    user.withdraw(right)
    request = getattr(milvus_pb2, f"{method}Request")()
    if method != "RenameCollection":
        request.collection_name = "books"
    withdrawn = time.monotonic()

    def is_heard() -> bool:
        nonlocal withdrawn
        try:
            answer = str(getattr(stub, method)(request, timeout=5))
        except grpc.RpcError as error:
            answer = str(error)
        if "permission deny" in answer:
            return True
        if time.monotonic() - withdrawn > UNHEARD_SECONDS:
            user.grant(right)
            user.withdraw(right)
            withdrawn = time.monotonic()
        return False

    with closing(MilvusClient(target.uri, token=user.token, dedicated=True)) as asking:
        stub = asking._get_connection()._stub
        wait_until(is_heard, f"{method} is refused")


def count(client: MilvusClient, name: str) -> int:
    """Return what a server counts."""
    found = client.query(name, output_fields=["count(*)"], consistency_level="Strong")
    return int(found[0]["count(*)"])


def test_rights_that_are_enough(
    source: EmbeddedMilvus,
    client: MilvusClient,
    target_guarded: GuardedMilvus,
    user: TaskUser,
    cdc: Cdc,
) -> None:
    """With what the README names a task lacks nothing, whatever is done at the source."""
    named = [each.split() for each in block("rights").splitlines()]
    rights = {(kind, right, "*") for kind, *of_kind in named for right in of_kind}
    assert rights == set(RIGHTS)
    task = create_task(cdc, target_guarded, user)
    books, _ = Books(client).create(), Books(client, "papers").create()
    client.create_partition("books", "old")
    books.insert(range(5), partition="old")
    books.insert(range(5, 10))
    books.delete([5])
    client.release_partitions("books", ["old"])
    client.drop_partition("books", "old")
    client.create_alias("books", "volumes")
    client.alter_alias("papers", "volumes")
    client.drop_alias("volumes")
    client.rename_collection("papers", "novels")
    client.alter_collection_properties("books", {"collection.ttl.seconds": 90_000})
    client.flush("books")
    client.release_collection("novels")
    client.drop_index("novels", "vector")
    client.create_database("archive")
    wait_until(lambda: "archive" in databases(target_guarded), "the database")
    client.drop_database("archive")
    client.drop_collection("novels")
    wait_until(lambda: "archive" not in databases(target_guarded), "no database")
    wait_equal(source, target_guarded)
    cdc.wait_caught_up(task)
    assert cdc.get(task)["operations_refused"]["count"] == 0
    wait_until(lambda: cdc.get(task)["health"]["status"] == "ok", "it is well", 60)


def databases(server: EmbeddedMilvus) -> list[str]:
    """Return the names of a server's databases."""
    root = as_root(server)
    found: list[str] = root.list_databases()
    root.close()
    return found


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
    task = create_task(cdc, target_guarded, user)
    wait_keys(root, range(10))
    withdraw(target_guarded, user, INSERT, "Insert")
    books.insert(range(10, 20))
    books.delete(range(3))
    wait_refused(cdc, task, "Insert")
    books.insert(range(20, 30))
    user.grant(INSERT)
    wait_keys(root, range(3, 30))

    withdraw(target_guarded, user, CREATE_INDEX, "CreateIndex")
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


@pytest.mark.thorough
def test_a_shadow_without_the_right_to_rename(
    client: MilvusClient, target_guarded: GuardedMilvus, user: TaskUser, cdc: Cdc
) -> None:
    """It is said before anything is made, and once it is granted the shadow comes."""
    root = as_root(target_guarded)
    Books(client).create().insert(range(10))
    task = create_task(cdc, target_guarded, user)
    wait_keys(root, range(10))
    withdraw(target_guarded, user, RENAME, "RenameCollection")
    cdc.ask("resync", task_id=task, collections=["books"], method="shadow")

    def shown() -> dict[str, Any]:
        [found] = cdc.get(task)["collections"]
        return dict(found)

    wait_until(lambda: shown()["state"] == "set_aside", "it is set aside")
    assert "RenameCollection: permission deny" in shown()["reason"]
    assert root.list_collections() == ["books"]
    user.grant(RENAME)
    user.grant(("Collection", "Insert", "*"))

    def is_there() -> bool:
        if shown()["state"] == "set_aside":
            # The proxy may not have heard yet.
            cdc.request("retry", task_id=task)
        return shown()["state"] == "live" and root.list_collections() == ["books"]

    wait_until(is_there, "it is brought")
    wait_keys(root, range(10))
    assert count(root, "books") == 10
    events = [each["event"] for each in cdc.ask("history", task_id=task)["events"]]
    assert "shadows_requested" in events
    root.close()
