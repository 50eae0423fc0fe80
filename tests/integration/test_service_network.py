"""Whatever the network does on any of the service's ways, both sides end equal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support.books import Books, wait_equal, wait_keys
from tests.support.cdc import Cdc, wait_until
from tests.support.proxy import TcpProxy
from tests.support.ways import PLACES, Ways, ways_between

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pymilvus import MilvusClient

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

TICK = 0.2
"""Seconds between two of the source's time ticks, with which rows are let through."""

NOT_WELL = {"retrying", "stalled"}


@pytest.fixture
def ways(source: EmbeddedMilvus, target_lite: EmbeddedLite) -> Iterator[Ways]:
    """Yield the ways of a service from the source to a Milvus Lite."""
    with ways_between(source, target_lite) as them:
        yield them


@pytest.fixture
def cdc(ways: Ways, tmp_path: Path) -> Iterator[Cdc]:
    """Yield a service whose ways all lead through proxies."""
    with Cdc(tmp_path, ways) as service:  # type: ignore[arg-type]
        yield service


def begin(cdc: Cdc, ways: Ways, books: Books, lite: MilvusClient) -> str:
    """Replicate a few rows while all is well; return the task's id."""
    books.create().insert(range(3))
    task = cdc.create(ways.target_uri)
    wait_keys(lite, range(3))
    cdc.wait_caught_up(task)
    return task


@pytest.mark.parametrize(
    "place",
    [
        "target",
        *(pytest.param(each, marks=pytest.mark.thorough) for each in ("queue", "etcd")),
    ],
)
@pytest.mark.parametrize(
    "fault",
    [pytest.param(TcpProxy.cut, marks=pytest.mark.thorough), TcpProxy.half_open],
    ids=["cut", "half_open"],
)
def test_a_way_that_leads_nowhere(
    fault: Callable[[TcpProxy], None],
    place: str,
    ways: Ways,
    client: MilvusClient,
    lite: MilvusClient,
    cdc: Cdc,
) -> None:
    """The task says that it does not move; when the way is open again it goes on."""
    books = Books(client)
    task = begin(cdc, ways, books, lite)
    fault(ways.proxies[place])
    books.insert(range(3, 6))
    Books(client, "new").create().insert(range(5))
    wait_until(lambda: cdc.get(task)["health"]["status"] in NOT_WELL, "it says so", 60)
    books.delete(range(2))
    ways.proxies[place].heal()
    wait_equal(*ways.servers, timeout=120)
    wait_until(lambda: cdc.get(task)["health"]["status"] == "ok", "it is well", 60)


def test_paused_while_the_target_does_not_answer(
    ways: Ways, client: MilvusClient, lite: MilvusClient, cdc: Cdc
) -> None:
    """Rows that were under way, and get lost there, are not taken for done."""
    books = Books(client)
    task = begin(cdc, ways, books, lite)
    ways.proxies["target"].half_open()
    key, several_batches = 10, time.monotonic() + 5 * TICK
    while time.monotonic() < several_batches:
        books.insert([key])
        key += 1
    cdc.ask("pause", task_id=task)
    ways.proxies["target"].cut()
    ways.proxies["target"].heal()
    cdc.ask("resume", task_id=task)
    wait_keys(lite, [*range(3), *range(10, key)])


@pytest.mark.parametrize("place", PLACES)
def test_connections_that_are_reset(
    place: str,
    ways: Ways,
    client: MilvusClient,
    lite: MilvusClient,
    cdc: Cdc,
) -> None:
    """Again and again in the middle of writing, and nothing is lost or doubled."""
    books = Books(client)
    begin(cdc, ways, books, lite)
    for start in range(3, 63, 10):
        books.insert(range(start, start + 10))
        ways.proxies[place].reset()
        books.upsert(range(start, start + 5))
        books.delete(range(start + 8, start + 10))
    wait_equal(*ways.servers, timeout=120)


@pytest.mark.parametrize(
    "statuses", [(404,), pytest.param((401, 403), marks=pytest.mark.thorough)]
)
def test_an_ingress_that_answers_itself(
    statuses: tuple[int, ...],
    ways: Ways,
    client: MilvusClient,
    lite: MilvusClient,
    cdc: Cdc,
) -> None:
    """What something on the way answers passes: nothing is refused or left out for it."""
    books = Books(client)
    task = begin(cdc, ways, books, lite)
    for number, status in enumerate(statuses, start=1):
        ways.proxies["target"].answer(status)
        books.insert(range(number * 6, number * 6 + 6))
        client.create_partition("books", f"p{status}")
        client.create_alias("books", f"a{status}")
        said = f"status: {status}"
        wait_until(
            lambda said=said: said in str(cdc.get(task)["health"]["error"]), said
        )
        ways.proxies["target"].heal()
        wait_keys(lite, [*range(3), *range(6, number * 6 + 6)])
    wait_equal(*ways.servers)
    shown = cdc.get(task)
    assert shown["operations_refused"]["count"] == 0
    assert [each["state"] for each in shown["collections"]] == ["live"]
    aliases = [f"a{status}" for status in statuses]
    assert sorted(lite.list_aliases("books")["aliases"]) == aliases


@pytest.mark.parametrize(
    "place",
    [
        "target",
        pytest.param("etcd", marks=pytest.mark.thorough),
        pytest.param("queue", marks=pytest.mark.thorough),
    ],
)
@pytest.mark.parametrize(
    "fault",
    [
        lambda way: way.delay(0.3),
        pytest.param(lambda way: way.throttle(50_000), marks=pytest.mark.thorough),
    ],
    ids=["late", "slow"],
)
def test_a_slow_way(
    fault: Callable[[TcpProxy], None],
    place: str,
    ways: Ways,
    client: MilvusClient,
    lite: MilvusClient,
    cdc: Cdc,
) -> None:
    """Everything arrives while the way is slow, only later."""
    books = Books(client)
    begin(cdc, ways, books, lite)
    fault(ways.proxies[place])
    books.insert(range(3, 1003))
    books.upsert(range(5))
    Books(client, "new").create().insert(range(5))
    wait_equal(*ways.servers, timeout=120)
