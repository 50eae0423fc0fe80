"""Services that know nothing of each other, and one collection. Real processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cdc_actors.config import Etcd
from cdc_actors.embedded.milvus import EmbeddedMilvus
from cdc_actors.marks import PROPERTY, Mark
from cdc_actors.source.catalog.client import Catalog
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


def count(client: MilvusClient) -> int:
    """Return how many rows a collection has, copies of one key included."""
    (row,) = client.query(
        "books", output_fields=["count(*)"], consistency_level="Strong"
    )
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
    wait_until(lambda: first.get(task)["operations_refused"]["count"] == 1, "it hears")
    (heard,) = first.get(task)["operations_refused"]["newest"]
    assert f"task {second} of store " in heard["reason"]
    assert "wanted to write it, too, and was refused" in heard["reason"]
    assert (count(replica), count(client)) == (ROWS, ROWS)
    books.insert([ROWS])
    wait_keys(replica, range(ROWS + 1))
    if isinstance(target, EmbeddedMilvus):
        # What it shows after a restart; DescribeCollection is one alteration ahead.
        catalog = Catalog(Etcd(address=(target.etcd_address,)))
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
