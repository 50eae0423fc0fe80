"""A managed target: what it does for nobody is said once, and rows go on without."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pymilvus import MilvusClient
from pymilvus.grpc_gen import common_pb2

from tests.support.accounts import as_root, forget
from tests.support.books import Books, wait_equal, wait_keys
from tests.support.cdc import wait_until
from tests.support.databases import databases_of
from tests.support.forwarder import Forwarder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.cdc import Cdc
    from tests.support.forwarder import Refusal

DENIED = {"Flush", "GetMetrics", "CreateCredential", "ListCredUsers", "ListDatabases"}
NOT_PERMITTED = {"CreateDatabase", "DropDatabase", "AlterDatabase"}
UNKNOWN = {"CreateRole", "SelectRole", "OperatePrivilege", "OperateUserRole"}


ONCE = {
    "CreateCredential",
    "CreateDatabase",
    "CreateRole",
    "Flush",
    "OperatePrivilege",
    "OperateUserRole",
}


class Managed:
    """Refuses as a small managed cluster does, and more than some partitions, in all.

    ``most_partitions`` is how many may be created.
    """

    def __init__(self, most_partitions: int) -> None:
        self.most_partitions = most_partitions
        self.asked: Counter[str] = Counter()

    def __call__(self, method: str, _request: bytes) -> Refusal | None:
        """Return what a request is refused with, None if it is not."""
        self.asked[method] += 1
        if method in DENIED:
            path = f"/milvus.proto.milvus.MilvusService/{method}"
            return grpc.StatusCode.UNKNOWN, f"it's a deny api, fullMethod:{path}"
        if method in NOT_PERMITTED:
            said = f"Privilege{method}: permission deny"
            return grpc.StatusCode.PERMISSION_DENIED, said
        if method in UNKNOWN:
            return grpc.StatusCode.UNIMPLEMENTED, f"unknown method {method}"
        if method == "CreatePartition":
            return self._of_partition()
        return None

    def has_refused_or_made(self, partitions: int) -> bool:
        """Tell whether more than so many partitions were asked for."""
        return self.asked["CreatePartition"] > partitions

    def _of_partition(self) -> bytes | None:
        most = self.most_partitions
        if self.asked["CreatePartition"] <= most:
            return None
        reason = f"partition number ({most}) exceeds max configuration ({most})"
        status = common_pb2.Status(code=65535, error_code=1, reason=reason)
        return bytes(status.SerializeToString())


@pytest.fixture
def root(source: EmbeddedMilvus) -> Iterator[MilvusClient]:
    """Yield a client of a source that has no users and roles, nor has any afterwards."""
    client = as_root(source)
    forget(client)
    yield client
    forget(client)
    client.close()


def shown_by(cdc: Cdc, task: str) -> dict[str, dict[str, Any]]:
    """Return the collections of a task by their names."""
    return {each["name"]: each for each in cdc.get(task)["collections"]}


def refused_by(cdc: Cdc, task: str) -> Counter[str]:
    """Return how many operations of each kind were refused."""
    refused = cdc.get(task)["operations_refused"]
    assert refused["count"] == len(refused["newest"])
    return Counter(each["kind"] for each in refused["newest"])


def test_what_a_managed_target_does_for_nobody(
    source: EmbeddedMilvus,
    target_milvus: EmbeddedMilvus,
    milvus: MilvusClient,
    client: MilvusClient,
    root: MilvusClient,
    cdc: Cdc,
) -> None:
    """Flushes, databases, users: each kind is said once, over a kill; rows arrive.

    What has no place there is set aside with that reason: a collection of another
    database, and one with a partition too many, which comes once there is room.
    """
    books, pages = Books(client).create(), Books(client, "pages").create()
    for name in ("ann", "bob"):
        root.create_user(name, "Secret123")
        root.create_role(f"{name}s")
        root.grant_role(name, f"{name}s")
    for database in ("old", "older"):
        client.create_database(database)
    with closing(MilvusClient(source.uri, db_name="old", dedicated=True)) as old:
        Books(old, "archive").create().insert([1])
    managed = Managed(1)
    with Forwarder(target_milvus.uri, managed) as way:
        task = cdc.create(
            way.uri,
            db_collections={"*": [{"name": "*"}]},
            extra_info={"enable_user_role": True},
        )
        for number, each in enumerate((books, pages)):
            client.create_partition(each.name, "more")
            each.insert(range(10))
            each.insert(range(10, 20), partition="more")
            client.flush(each.name)
            wait_until(partial(managed.has_refused_or_made, number), "a partition")
        wait_keys(milvus, range(20))
        wait_until(
            lambda: shown_by(cdc, task)["pages"]["state"] == "set_aside", "pages"
        )
        cdc.kill()
        cdc.start()
        books.insert(range(20, 30))
        client.flush("books")
        wait_keys(milvus, range(30))
        wait_until(lambda: set(refused_by(cdc, task)) == ONCE, "all is said")
        assert set(refused_by(cdc, task).values()) == {1}
        shown, health = shown_by(cdc, task), cdc.get(task)["health"]
        assert {shown[each]["state"] for each in ("pages", "archive")} == {"set_aside"}
        assert "map old to `default` with name_mapping" in shown["archive"]["reason"]
        assert "takes no partition more" in shown["pages"]["reason"]
        assert {each.partition(":")[0] for each in health["warnings"]} == ONCE
        assert databases_of(way.uri) == ["default"]
        managed.most_partitions = 99
        cdc.ask("retry", task_id=task, collection_infos=[{"name": "pages"}])
        wait_keys(milvus, range(20), "pages")
        wait_equal(source, target_milvus, lambda database, _name: database == "default")
