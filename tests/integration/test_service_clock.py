"""A service whose clock is wrong; those of source and target are right. Real processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.books import Books
from tests.support.cdc import Cdc, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from pymilvus import MilvusClient

    from cdc_actors.embedded.milvus import EmbeddedMilvus

SHIFTED = """
import runpy, sys, time, types
import grpc._channel, pymilvus.client.grpc_handler
wrong = types.ModuleType("time")
wrong.__dict__.update(time.__dict__)
wrong.time = lambda: time.time() + {seconds}
sys.modules["time"] = wrong
runpy.run_module("cdc_actors", run_name="__main__", alter_sys=True)
"""
"""Starts the service with a clock that is so many seconds ahead.

gRPC, whose core has the machine's clock, has the right one: it counts by it.
"""


@pytest.mark.parametrize("seconds", [-600, 3600], ids=["behind", "ahead"])
def test_rows_that_the_target_was_seeded_with_come_once(
    source: EmbeddedMilvus,
    client: MilvusClient,
    target_milvus: EmbeddedMilvus,
    milvus: MilvusClient,
    tmp_path: Path,
    seconds: int,
) -> None:
    """Of 61 keys, 50 of which are there already, the target counts 61."""
    books = Books(client).create()
    books.insert(range(60))
    Books(milvus).create().insert(range(50))
    program = ("-c", SHIFTED.format(seconds=seconds))
    with Cdc(tmp_path / "shifted", source, program=program) as cdc:
        task = cdc.create(target_milvus.uri)
        wait_until(
            lambda: cdc.get(task)["rows_applied"] == 60, "what there was has come"
        )
        books.insert([60])
        wait_until(lambda: cdc.get(task)["rows_applied"] == 61, "what is new has come")
    (row,) = milvus.query(
        "books", output_fields=["count(*)"], consistency_level="Strong"
    )
    assert row["count(*)"] == 61
