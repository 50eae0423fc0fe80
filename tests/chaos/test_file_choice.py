"""Files are chosen although the log has everything, and the service is killed meanwhile.

    python -m pytest -n 0 -s --thorough tests/chaos/test_file_choice.py

The sizes are those that count for users: most of the log is of a partition that was
dropped since, of which there are no files any more. Only the twenty minutes before the end
of files, which a 2.3.5 has always read from the log, are none here: nobody would wait for
so long.
"""

from __future__ import annotations

import random
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cdc_actors.config import Etcd
from cdc_actors.source.catalog.client import EtcdCatalog
from cdc_actors.source.storage.listing import listing, prefixes
from tests.support.books import TIMEOUT, Books, wait_equal, wait_keys
from tests.support.cdc import Cdc, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from pymilvus import MilvusClient

    from cdc_actors.embedded.milvus import EmbeddedMilvus

pytestmark = pytest.mark.thorough

SERVICE = """
from cdc_actors.cli.main import main
from cdc_actors.pipeline import snapshot_starts, unwritten_deletes

snapshot_starts.UNWRITTEN_SECONDS = unwritten_deletes.UNWRITTEN_SECONDS = 0.0
main()
"""
SEGMENTS, ROWS_EACH = 16, 100
ROWS = SEGMENTS * ROWS_EACH
"""Each partition has a segment or two."""

DROPPED, AT_ONCE, LETTERS = 7_500, 250, 20_000
BYTES_A_SECOND = 3 << 20
"""As fast as files are read at most: some ten seconds, and a segment in less than one."""

KILLS = 3


def test_killed_while_chosen_files_are_read(
    source: EmbeddedMilvus,
    target_milvus: EmbeddedMilvus,
    emptied,
    tmp_path: Path,
    seed: int,
) -> None:
    """Each row is there once; files were begun with once, and those done not read again."""
    moments = random.Random(seed)
    client, copy = emptied(source), emptied(target_milvus)
    books = Books(client).create(text=65_535)
    write_old(client, books)
    settings = (
        f"  storage: {{type: local, path: {source.folder / 'data'}, "
        f"maxSnapshotBytesPerSecond: {BYTES_A_SECOND}}}\n"
    )
    with Cdc(tmp_path, source, settings=settings, program=("-c", SERVICE)) as cdc:
        task = cdc.create(target_milvus.uri)
        done: set[int] = set()
        for _ in range(KILLS):
            done = kill_meanwhile(cdc, done, moments)
        segments = rows_by_segment(source)
        wait_keys(copy, {*range(90), *range(200, ROWS)})
        wait_equal(source, target_milvus)
        events = cdc.ask("history", task_id=task, limit=1000)["events"]
    [found] = copy.query(
        "books", output_fields=["count(*)"], consistency_level="Strong"
    )
    assert found["count(*)"] == ROWS - 110
    [completed] = [each for each in events if each["event"] == "snapshot_completed"]
    sent = completed["content"]["rows"]
    assert 0 < sent <= sum(segments[each] for each in segments.keys() - done)
    [why] = [each["why"] for each in events if each["event"] == "snapshot_started"]
    assert why.startswith("its files are cheaper to read")
    then = f"{len(done)} of {len(segments)} segments, {sent} rows after that"
    print(f"seed {seed}: {why}; killed last after {then}")  # noqa: T201 - see above
    client.close()
    copy.close()


def write_old(client: MilvusClient, books: Books) -> None:
    """Have a log that is long and files that are not, and both change the same rows."""
    client.create_partition("books", "old")
    for first in range(ROWS, ROWS + DROPPED, AT_ONCE):
        books.insert(range(first, first + AT_ONCE), "old", text="a" * LETTERS)
    client.release_partitions("books", ["old"])
    client.drop_partition("books", "old")
    for number in range(SEGMENTS):
        name = f"p{number}" if number else ""
        if name:
            client.create_partition("books", name)
        first = number * ROWS_EACH
        books.insert(range(first, first + ROWS_EACH), name, text="a" * LETTERS)
    # If there were more of them, the source would make a segment anew.
    books.delete(range(90, 100))
    client.flush("books", timeout=TIMEOUT)
    books.upsert(range(50), text="b")
    books.delete(range(100, 200))


def rows_by_segment(source: EmbeddedMilvus) -> dict[int, int]:
    """Return how many rows each segment of ``books`` has, by its id."""
    with closing(EtcdCatalog(Etcd(address=(source.etcd_address,)))) as catalog:
        meta = catalog.find("default", "books")
        assert meta is not None
        found = listing(meta, catalog.read_below(prefixes(meta)))
    return {each.id: each.rows for each in found.segments}


def kill_meanwhile(cdc: Cdc, before: set[int], moments: random.Random) -> set[int]:
    """Kill the service once more segments are done, start it; return which are."""
    with closing(sqlite3.connect(cdc.folder / "cdc.db")) as store:

        def done() -> set[int]:
            found = store.execute("SELECT segment FROM segments_done")
            return {number for (number,) in found}

        wait_until(lambda: done() > before, "more segments are done")
        threading.Event().wait(moments.uniform(0, 1))
        cdc.kill()
        is_done = done()
    cdc.start()
    return is_done
