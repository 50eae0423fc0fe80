"""Health and lag are true while a server answers nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support.books import Books, wait_equal, wait_keys
from tests.support.cdc import Cdc, wait_until
from tests.support.faults import hanging

if TYPE_CHECKING:
    from pymilvus import MilvusClient

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

LIMIT = 30.0
"""Seconds within which a task that stands still must say so."""

NOT_WELL = {"stalled", "retrying"}


@pytest.mark.parametrize("hung", ["target_lite", "source"])
def test_task_that_stands_still_says_so(
    hung: str,
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    cdc: Cdc,
    request: pytest.FixtureRequest,
) -> None:
    """Within 30 s it is not called well any more, and the lag grows; then it recovers."""
    server = request.getfixturevalue(hung)
    books = Books(client).create()
    books.insert(range(3))
    task = cdc.create(target_lite.uri)
    wait_keys(lite, range(3))
    cdc.wait_caught_up(task)
    wait_until(lambda: cdc.get(task)["health"]["status"] == "ok", "it is well")
    wait_until(lambda: cdc.get(task)["lag_seconds"] < 10, "the lag is small")
    if hung == "target_lite":
        books.insert(range(3, 6))
    with hanging(server):
        began = time.time()
        wait_until(
            lambda: cdc.get(task)["health"]["status"] in NOT_WELL, "it says so", LIMIT
        )
        asked = time.time()
        shown = cdc.get(task)
        assert shown["health"]["error"]
        assert shown["state"] == "Running"
        assert shown["lag_seconds"] >= asked - began - 2
        later = cdc.get(task)["lag_seconds"]
        assert later >= shown["lag_seconds"]
    if hung == "source":  # One that has hung for so long ends by itself.
        server.kill()
        server.start()
    books.insert(range(6, 9))
    wait_until(lambda: cdc.get(task)["health"]["status"] == "ok", "it is well", 90)
    wait_equal(source, target_lite)
    cdc.wait_caught_up(task)
    wait_until(lambda: cdc.get(task)["lag_seconds"] < 10, "the lag is small again")


def test_lag_right_after_a_restart_is_the_truth(
    target_lite: EmbeddedLite, client: MilvusClient, lite: MilvusClient, cdc: Cdc
) -> None:
    """While nothing was replicated the lag grew: it is never shown smaller."""
    Books(client).create().insert(range(3))
    task = cdc.create(target_lite.uri)
    wait_keys(lite, range(3))
    cdc.wait_caught_up(task)
    cdc.kill()
    killed = time.time()
    with hanging(target_lite):
        cdc.start()
        asked = time.time()
        shown = cdc.get(task)["lag_seconds"]
        assert shown is None or shown >= asked - killed - 2
    cdc.wait_caught_up(task, 90)
