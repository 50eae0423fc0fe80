"""Services that know nothing of each other, and one collection. Real processes."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from cdc_actors.config import Etcd
from cdc_actors.embedded.milvus import EmbeddedMilvus
from cdc_actors.marks import PROPERTY, Mark
from cdc_actors.source.catalog.client import EtcdCatalog
from tests.support.books import Books, wait_equal, wait_keys
from tests.support.cdc import Cdc, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymilvus import MilvusClient

    from cdc_actors.embedded.lite import EmbeddedLite

ROWS = 500


WATCHFUL = """
import runpy
from cdc_actors.pipeline import claims, mark_rounds
claims.CHECK_SECONDS = mark_rounds.ROUND_SECONDS = 0.1
runpy.run_module("cdc_actors", run_name="__main__", alter_sys=True)
"""
"""Starts a service that looks at its marks as often as a test has no time to wait."""


@pytest.fixture
def first(source: EmbeddedMilvus, tmp_path: Path) -> Iterator[Cdc]:
    """Yield the first of two services."""
    with Cdc(tmp_path / "first", source, program=("-c", WATCHFUL)) as service:
        yield service


@pytest.fixture
def other(source: EmbeddedMilvus, tmp_path: Path) -> Iterator[Cdc]:
    """Yield a second service, with a store of its own."""
    with Cdc(tmp_path / "other", source) as service:
        yield service


def set_aside(cdc: Cdc, task: str) -> str:
    """Wait until the task's collection is set aside; return why."""

    def found() -> list[str]:
        shown = cdc.get(task)["collections"]
        return [each["reason"] for each in shown if each["state"] == "set_aside"]

    wait_until(lambda: bool(found()), "the collection is set aside")
    return found()[0]


def count(client: MilvusClient, name: str = "books") -> int:
    """Return how many rows a collection has, copies of one key included."""
    (row,) = client.query(name, output_fields=["count(*)"], consistency_level="Strong")
    return int(row["count(*)"])


def test_two_services_with_a_store_each(
    source: EmbeddedMilvus,
    target: EmbeddedMilvus | EmbeddedLite,
    client: MilvusClient,
    emptied,
    first: Cdc,
    other: Cdc,
) -> None:
    """The later one does not write until the first one's task is deleted; both say so."""
    replica = emptied(target)
    books = Books(client).create()
    books.insert(range(ROWS))
    task = first.create(target.uri)
    wait_keys(replica, range(ROWS))
    second = other.create(target.uri)
    reason = set_aside(other, second)
    assert f"is written by task {task} of store " in reason
    wait_until(lambda: bool(first.get(task)["health"]["warnings"]), "it hears")
    (heard,) = first.get(task)["health"]["warnings"]
    assert f"task {second} of store " in heard
    assert "wanted to write it, too, and was refused" in heard
    assert first.get(task)["operations_refused"]["count"] == 0
    assert (count(replica), count(client)) == (ROWS, ROWS)
    books.insert([ROWS])
    wait_keys(replica, range(ROWS + 1))
    if isinstance(target, EmbeddedMilvus):
        # What it shows after a restart; DescribeCollection is one alteration ahead.
        catalog = EtcdCatalog(Etcd(address=(target.etcd_address,)))
        meta = catalog.find("default", "books")
        catalog.close()
        assert Mark.of(meta.properties).task == task
    other.ask("delete", task_id=second)
    first.ask("delete", task_id=task)
    assert replica.describe_collection("books")["properties"][PROPERTY] == ""
    again = other.create(target.uri)
    books.insert(range(ROWS + 1, ROWS + 10))
    wait_keys(replica, range(ROWS + 10))
    assert count(replica) == ROWS + 10
    assert Mark.of(replica.describe_collection("books")["properties"]).task == again
    wait_equal(source, target)
    replica.close()


@pytest.fixture
def backward(target_milvus: EmbeddedMilvus, tmp_path: Path) -> Iterator[Cdc]:
    """Yield a service whose source is the other's target."""
    with Cdc(tmp_path / "backward", target_milvus) as service:
        yield service


def test_two_services_that_are_each_others_source_and_target(
    source: EmbeddedMilvus,
    target_milvus: EmbeddedMilvus,
    client: MilvusClient,
    milvus: MilvusClient,
    cdc: Cdc,
    backward: Cdc,
) -> None:
    """What one has copied the other does not copy back; each row is where it belongs.

    A collection goes one way: away from where its client made it.
    """
    books = Books(client).create()
    books.insert(range(ROWS))
    there = cdc.create(target_milvus.uri)
    wait_keys(milvus, range(ROWS))
    back = backward.create(source.uri)
    reason = set_aside(backward, back)
    assert f"default.books is itself written by task {there} of store" in reason
    assert "rows would go round for ever" in reason
    books.insert(range(ROWS, ROWS + 10))
    wait_keys(milvus, range(ROWS + 10))
    Books(milvus, "maps").create().insert(range(3))
    wait_keys(client, range(3), "maps")
    assert "default.maps is itself written by" in set_aside(cdc, there)
    assert [count(each) for each in (client, milvus)] == [ROWS + 10] * 2
    applied = cdc.get(there)["rows_applied"], backward.get(back)["rows_applied"]
    assert applied == (ROWS + 10, 3)


@pytest.mark.thorough
def test_three_services_in_a_ring(
    source: EmbeddedMilvus,
    target_milvus: EmbeddedMilvus,
    client: MilvusClient,
    milvus: MilvusClient,
    emptied,
    tmp_path: Path,
) -> None:
    """No row comes back to where it was written, in whatever order the tasks began.

    The books are made by a client of the first Milvus and go on to the third; the maps are
    at all three before there is a task, so that each task marks its own at once.
    """
    with EmbeddedMilvus(tmp_path / "third") as third, ExitStack() as stack:
        last = emptied(third)
        servers, clients = [source, target_milvus, third], [client, milvus, last]
        for each in clients:
            Books(each, "maps").create()
        services = [
            stack.enter_context(Cdc(tmp_path / name, each, program=("-c", WATCHFUL)))
            for name, each in zip("abc", servers, strict=True)
        ]
        tasks = [
            service.create(to.uri)
            for service, to in zip(
                services, [target_milvus, third, source], strict=True
            )
        ]
        books = Books(client).create()
        books.insert(range(ROWS))
        wait_keys(last, range(ROWS))
        wait_until(lambda: len(reasons(services, tasks)) == 2, "two are set aside")
        for name, reason in reasons(services, tasks).items():
            assert f"default.{name} is itself written by task " in reason
            assert reason.count(" from its default.") == 2
            assert f", which is default.{name} at the target" in reason
        assert [count(each) for each in clients] == [ROWS] * 3
        Books(client, "maps").insert(range(ROWS))
        wait_until(lambda: max(count(each, "maps") for each in clients) == ROWS, "")
        for service, task in zip(services, tasks, strict=True):
            service.wait_caught_up(task)
        assert count(client, "maps") == ROWS
        assert {count(each, "maps") for each in clients} <= {0, ROWS}
        last.close()


def reasons(services: list[Cdc], tasks: list[str]) -> dict[str, str]:
    """Return why collections are set aside, by their names; no two have one."""
    found = [
        (each["name"], each["reason"])
        for service, task in zip(services, tasks, strict=True)
        for each in service.get(task)["collections"]
        if each["state"] == "set_aside"
    ]
    assert len(dict(found)) == len(found)
    return dict(found)
