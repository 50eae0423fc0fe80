"""A target that limits its clients is written to as fast as it allows."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from pymilvus import MilvusClient

from cdc_actors.embedded.milvus import EmbeddedMilvus
from tests.support.books import Books, wait_equal
from tests.support.cdc import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cdc import Cdc

MB_A_SECOND = 0.25
FLUSHES_A_SECOND = 0.3
SHELVES = 2
ROWS = 400
AT_ONCE = 50
TEXT = 20_000

LIMITS = {
    "enabled": True,
    "dml": {
        "enabled": True,
        "insertRate": {"max": MB_A_SECOND, "collection": {"max": MB_A_SECOND}},
    },
    "flushRate": {"enabled": True, "max": FLUSHES_A_SECOND},
    "limitWriting": {
        "memProtection": {"enabled": False},
        "diskProtection": {"enabled": False},
    },
}


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[EmbeddedMilvus]:
    """Yield a target that takes a quarter of a megabyte a second, and few operations."""
    wanted = {"quotaAndLimits": LIMITS}
    with EmbeddedMilvus(tmp_path / "limited", wanted=wanted) as server:
        yield server


def test_target_with_a_rate_limit(
    source: EmbeddedMilvus, limited: EmbeddedMilvus, client: MilvusClient, cdc: Cdc
) -> None:
    """Rows arrive at the rate it takes; the task does not fail, nor knock all the time."""
    books = Books(client).create(text=TEXT)
    began = time.monotonic()
    task = cdc.create(limited.uri)
    for start in range(0, ROWS, AT_ONCE):
        books.insert(range(start, start + AT_ONCE), text="x" * TEXT)
        # One request each: together they would be one, which no limit refuses.
        wait_until(
            lambda: cdc.get(task)["rows_applied"] >= start + AT_ONCE,  # noqa: B023
            "they have arrived",
            60,
        )
    wait_equal(source, limited, timeout=180)
    took = time.monotonic() - began
    refusals = cdc.log.read_text("utf-8").count("target_rate_limited")
    assert 0 < refusals < took + 5
    assert cdc.get(task)["health"]["status"] in {"ok", "catching_up"}
    assert "run_failed" not in cdc.log.read_text("utf-8")


def test_target_with_a_limit_on_flushes(
    source: EmbeddedMilvus, limited: EmbeddedMilvus, client: MilvusClient, cdc: Cdc
) -> None:
    """Those that it refuses are asked again until it takes them; nothing waits for them."""
    shelves = [Books(client, f"books{number}").create() for number in range(SHELVES)]
    task = cdc.create(limited.uri)
    cdc.ask("pause", task_id=task)
    for books in shelves:
        books.insert([1])
        client.flush(books.name)
        client.release_collection(books.name)
    cdc.ask("resume", task_id=task)
    wanted = {
        f"ReleaseCollection of default.{books.name} applied at the target"
        for books in shelves
    }

    def texts() -> set[str]:
        events = cdc.ask("history", task_id=task)["events"]
        return {each["text"] for each in events}

    wait_until(lambda: wanted <= texts(), "what comes after the flushes is done")
    with closing(MilvusClient(limited.uri)) as target:
        for books in shelves:
            wait_until(
                lambda name=books.name: flushed(target, name) == 1,
                f"{books.name} is flushed",
                60,
            )
    assert cdc.get(task)["operations_refused"]["count"] == 0
    log = cdc.log.read_text("utf-8")
    assert "flush_postponed" in log
    assert "run_failed" not in log


def flushed(client: MilvusClient, name: str) -> int:
    """Return how many rows of a collection are in segments that were flushed."""
    return int(client.get_collection_stats(name)["row_count"])
