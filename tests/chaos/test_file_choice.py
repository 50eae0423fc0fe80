"""Files are chosen although the log has everything, and the service is killed meanwhile.

    python -m pytest -n 0 -s --thorough tests/chaos/test_file_choice.py

The sizes are those that count for users: most of the log is of a partition that was
dropped since, of which there are no files any more. Only the twenty minutes before the end
of files, which a 2.3.5 has always read from the log, are none here: nobody would wait for
so long.
"""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.books import TIMEOUT, Books, wait_equal, wait_keys
from tests.support.cdc import Cdc, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from cdc_actors.embedded.milvus import EmbeddedMilvus

pytestmark = pytest.mark.thorough

SERVICE = """
from cdc_actors.cli.main import main
from cdc_actors.pipeline import snapshot_starts, unwritten_deletes

snapshot_starts.UNWRITTEN_SECONDS = unwritten_deletes.UNWRITTEN_SECONDS = 0.0
main()
"""
ROWS, DROPPED, AT_ONCE, LETTERS = 1_500, 7_500, 250, 20_000
BYTES_A_SECOND = 5 << 20
"""As fast as files are read at most: it takes some seconds."""

KILLS = 3


def test_killed_while_chosen_files_are_read(
    source: EmbeddedMilvus,
    target_milvus: EmbeddedMilvus,
    emptied,
    tmp_path: Path,
    seed: int,
) -> None:
    """Each row is there once, as at the source, and files were begun with once."""
    moments = random.Random(seed)
    client, copy = emptied(source), emptied(target_milvus)
    books = Books(client).create(text=65_535)
    client.create_partition("books", "old")
    for first in range(ROWS, ROWS + DROPPED, AT_ONCE):
        books.insert(range(first, first + AT_ONCE), "old", text="a" * LETTERS)
    client.release_partitions("books", ["old"])
    client.drop_partition("books", "old")
    for first in range(0, ROWS, AT_ONCE):
        books.insert(range(first, first + AT_ONCE), text="a" * LETTERS)
    books.delete(range(100))
    client.flush("books", timeout=TIMEOUT)
    books.upsert(range(100, 200), text="b")
    books.delete(range(200, 300))
    settings = (
        f"  storage: {{type: local, path: {source.folder / 'data'}, "
        f"maxSnapshotBytesPerSecond: {BYTES_A_SECOND}}}\n"
    )
    with Cdc(tmp_path, source, settings=settings, program=("-c", SERVICE)) as cdc:
        task = cdc.create(target_milvus.uri)
        sent = [kill_meanwhile(cdc, task, moments) for _ in range(KILLS)]
        wait_keys(copy, {*range(100, 200), *range(300, ROWS)})
        wait_equal(source, target_milvus)
        events = cdc.ask("history", task_id=task, limit=1000)["events"]
    [found] = copy.query(
        "books", output_fields=["count(*)"], consistency_level="Strong"
    )
    assert found["count(*)"] == ROWS - 200
    told = [each["event"] for each in events]
    assert told.count("snapshot_completed") == 1
    [why] = [each["why"] for each in events if each["event"] == "snapshot_started"]
    assert why.startswith("its files are cheaper to read")
    print(f"seed {seed}: {why}; killed after {sent} rows")  # noqa: T201 - see above
    client.close()
    copy.close()


def kill_meanwhile(cdc: Cdc, task: str, moments: random.Random) -> int:
    """Kill the service while it reads files, start it; return how many rows were sent."""

    def rows() -> int:
        return sum(
            each["snapshot"]["rows"]
            for each in cdc.get(task)["collections"]
            if each["state"] == "snapshot" and each.get("snapshot")
        )

    wait_until(lambda: rows() > 0, "files are read")
    threading.Event().wait(moments.uniform(0, 1))
    sent = rows()
    cdc.kill()
    cdc.start()
    return sent
