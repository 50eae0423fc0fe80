"""A target that limits its clients is written to as fast as it allows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from cdc_actors.embedded.milvus import EmbeddedMilvus
from tests.support.books import Books, wait_equal
from tests.support.cdc import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymilvus import MilvusClient

    from tests.support.cdc import Cdc

MB_A_SECOND = 0.25
FLUSHES_A_SECOND = 0.3
FLUSHES = 4
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


def test_target_with_a_limit_on_operations(
    source: EmbeddedMilvus, limited: EmbeddedMilvus, client: MilvusClient, cdc: Cdc
) -> None:
    """Each operation is done once the target takes it, in order, and nothing fails."""
    books = Books(client).create()
    task = cdc.create(limited.uri)
    cdc.ask("pause", task_id=task)
    for flush in range(FLUSHES):
        books.insert([flush])
        client.flush("books")
    client.release_collection("books")
    cdc.ask("resume", task_id=task)
    last = "ReleaseCollection of default.books applied at the target"

    def texts() -> list[str]:
        return [each["text"] for each in cdc.ask("history", task_id=task)["events"]]

    wait_until(lambda: last in texts(), "what comes after the flushes is done")
    client.load_collection("books")
    wait_equal(source, limited)
    assert cdc.get(task)["operations_refused"]["count"] == 0
    log = cdc.log.read_text("utf-8")
    assert "target_rate_limited" in log
    assert "run_failed" not in log
