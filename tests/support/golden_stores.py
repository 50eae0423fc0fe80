"""Stores as earlier versions of the service wrote them, on real servers.

    git worktree add /tmp/earlier COMMIT
    python -m tests.support.golden_stores /tmp/earlier tests/unit/store/golden/COMMIT.db

A version of COMMIT replicates to a Milvus Lite, is killed, and its store is copied. Then
this version goes on with it, and both sides are compared; at last that of COMMIT is started
on what this one made of its store, and what it says is printed.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from cdc_actors.embedded.lite import EmbeddedLite
from cdc_actors.embedded.milvus import EmbeddedMilvus
from tests.support.books import Books, wait_equal, wait_keys
from tests.support.cdc import PROGRAM, Cdc, wait_until
from tests.support.servers import empty

if TYPE_CHECKING:
    from pymilvus import MilvusClient

KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
GOLDEN = Path(__file__).parents[1] / "unit" / "store" / "golden"
ROWS = 40


def make(earlier: Path, file: Path) -> None:
    """Write the store of a version to ``file``, and see that this one goes on with it."""
    os.environ["CDC_ACTORS_KEY"] = KEY
    here = os.environ.get("PYTHONPATH", "")
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedMilvus(Path(folder) / "source") as source,
        EmbeddedLite(Path(folder) / "target") as target,
        closing(empty(source)) as client,
        closing(empty(target)) as copy,
    ):
        os.environ["PYTHONPATH"] = f"{earlier}:{earlier / 'http'}"
        with Cdc(Path(folder) / "cdc", source, program=PROGRAM) as cdc:
            _live(cdc, target.uri, client, copy)
            cdc.kill()
            _copy(cdc.folder / "cdc.db", file)
            os.environ["PYTHONPATH"] = here
            cdc.start()
            Books(client).insert(range(ROWS, 2 * ROWS))
            wait_keys(copy, range(2 * ROWS))
            wait_equal(source, target)
            assert cdc.stop() == 0
            os.environ["PYTHONPATH"] = f"{earlier}:{earlier / 'http'}"
            cdc.log.unlink()
            _go_back(cdc)


def _live(cdc: Cdc, target: str, client: MilvusClient, copy: MilvusClient) -> None:
    """Have a task that runs, one that is paused and one that is deleted."""
    books = Books(client).create(shards=2)
    cdc.create(target, db_collections={"default": [{"name": "books"}]})
    books.insert(range(ROWS // 2))
    wait_keys(copy, range(ROWS // 2))
    client.create_alias("books", "best")
    books.insert(range(ROWS // 2, ROWS))
    wait_keys(copy, range(ROWS))
    for name in ("shops", "gone"):
        task = cdc.create(target, db_collections={"default": [{"name": name}]})
        cdc.ask("pause", task_id=task)
        if name == "gone":
            cdc.ask("delete", task_id=task)


def _copy(store: Path, file: Path) -> None:
    file.unlink(missing_ok=True)
    with closing(sqlite3.connect(store)) as opened:
        opened.execute("VACUUM INTO ?", [str(file)])


def _go_back(cdc: Cdc) -> None:
    cdc.launch()
    wait_until(lambda: "rebuilt" in cdc.log.read_text() or _refused(cdc), "it has read")
    print(_refused(cdc), cdc.request("list")[1])  # noqa: T201


def _refused(cdc: Cdc) -> list[str]:
    lines = cdc.log.read_text().splitlines()
    return [each for each in lines if "newer version" in each][:1]


if __name__ == "__main__":
    make(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
