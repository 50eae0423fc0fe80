"""The event log's file while its connections are closed."""

from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest

from cdc_actors.errors import UnavailableError
from cdc_actors.store.database import reported
from cdc_actors.store.sqlite import open_sqlite

if TYPE_CHECKING:
    from pathlib import Path

    from cdc_actors.store.database import Database


def read_while_it_closes(database: Database, read: list[int]) -> None:
    """Read a row after the database was closed, by a connection that was had before."""
    with reported(), database.datastore.transaction(commit=False) as cursor:
        database.close()
        cursor.execute("SELECT 7 AS seven")
        read.append(cursor.fetchone()["seven"])


def test_a_connection_in_use_is_not_closed_under_its_user(tmp_path: Path) -> None:
    """Whoever reads when the log is closed comes to the end, and then hears of it."""
    database = open_sqlite(str(tmp_path / "cdc.db"))
    read: list[int] = []
    with pytest.raises(UnavailableError):
        read_while_it_closes(database, read)
    assert read == [7]
    with pytest.raises(UnavailableError):
        database.read("SELECT 1")


def test_what_is_being_written_is_written_when_the_log_is_closed(
    tmp_path: Path,
) -> None:
    """Once it is closed nothing more is written, so that another one may own the file."""
    path = str(tmp_path / "cdc.db")
    database = open_sqlite(path)
    database.write("CREATE TABLE t (n INTEGER)")
    begun, go_on = Event(), Event()

    def write() -> None:
        with database.datastore.transaction(commit=True) as cursor:
            cursor.execute("INSERT INTO t VALUES (1)")
            begun.set()
            assert go_on.wait(60)

    writer = Thread(target=write)
    closer = Thread(target=database.close)
    writer.start()
    assert begun.wait(60)
    closer.start()
    go_on.set()
    closer.join()
    again = open_sqlite(path)
    assert len(again.read("SELECT n FROM t")) == 1
    again.close()
    writer.join()
