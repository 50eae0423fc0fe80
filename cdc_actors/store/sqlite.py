"""The event log in an SQLite file: what is committed survives a power cut."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventsourcing.persistence import (
    ConnectionPoolClosedError,
    ConnectionUnavailableError,
)
from eventsourcing.sqlite import (
    SQLiteApplicationRecorder,
    SQLiteConnectionPool,
    SQLiteDatastore,
)

from cdc_actors.store import hash_chain as chain
from cdc_actors.store.database import EVENTS_TABLE, Database, reported
from cdc_actors.store.fair_lock import FairLock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eventsourcing.persistence import StoredEvent
    from eventsourcing.sqlite import SQLiteConnection, SQLiteCursor

LOCK_TIMEOUT_SECONDS = 2
"""How long a write waits for a thread of this process, and again for another process:
together less than a request waits for its answer, so that it can say why not."""

_NAMES = {
    "events": EVENTS_TABLE,
    "hashes": "event_hashes",
    "checkpoints": "checkpoints",
    "send_horizons": "fences",
    "segments_done": "segments_done",
    "write_checks": "write_checks",
    "comparisons": "comparisons",
    "order": "rowid",
    "binary": "BLOB",
    "counter": "INTEGER",
    "lock": "UPDATE {hashes} SET number = number WHERE FALSE",
    "p": "?",
}


class _Pool(SQLiteConnectionPool):
    """Connections in WAL mode (the library's choice) that sync at every commit."""

    def _create_connection(self) -> SQLiteConnection:
        connection = super()._create_connection()
        cursor = connection.cursor()
        # SQLite's default, unless whoever built it chose otherwise.
        cursor.execute("PRAGMA synchronous=FULL")
        # Only macOS knows a difference: its fsync leaves data in the drive's cache.
        cursor.execute("PRAGMA fullfsync=ON")
        return connection

    def close(self) -> None:
        """Close the connections, those in use once they are given back.

        SQLite crashes the process if a connection is closed while another thread reads
        by it, which the library's own way of closing does.
        """
        with self._put_condition:
            for connection in self._in_use.values():
                connection._sqlite_conn.interrupt()  # noqa: SLF001
            self._in_use.clear()
            super().close()


class _Datastore(SQLiteDatastore):
    """Lends connections, one writer at a time.

    The library's own lock for writers is not fair, and stays locked if no connection can
    be had afterwards; and a commit that fails leaves its transaction open in the pool.
    """

    def __init__(self, path: str) -> None:
        self._writing = FairLock()
        self._path = Path(path).absolute()
        super().__init__(self._path.as_uri())
        self.pool = _Pool(
            db_name=self._path.as_uri(), lock_timeout=LOCK_TIMEOUT_SECONDS
        )
        self._file: os.stat_result | None = None

    @contextmanager
    def get_connection(self, *, commit: bool) -> Iterator[SQLiteConnection]:
        if not commit:
            with self._lent() as connection:
                yield connection
        elif self._writing.acquire(timeout=LOCK_TIMEOUT_SECONDS):
            try:
                with self._lent() as connection:
                    yield connection
                # Only now is it known that what was written is in the file at the path.
                self._check_file()
            finally:
                self._writing.release()
        else:
            raise ConnectionUnavailableError("another thread is writing")

    @contextmanager
    def _lent(self) -> Iterator[SQLiteConnection]:
        self._check_file()
        connection = self.pool.get_connection()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        finally:
            self._give_back(connection)

    def _give_back(self, connection: SQLiteConnection) -> None:
        try:
            self.pool.put_connection(connection)
        except ConnectionPoolClosedError:
            connection.close()
            raise

    def close(self) -> None:
        """Close every connection; whoever is writing comes to the end of it first."""
        waited = self._writing.acquire(timeout=LOCK_TIMEOUT_SECONDS)
        try:
            super().close()
        finally:
            if waited:
                self._writing.release()

    def remember_file(self) -> None:
        """From now on refuse to work when the file at the path is not this one."""
        self._file = self._path.stat()

    def _check_file(self) -> None:
        if self._file is None:
            return
        try:
            same = os.path.samestat(self._file, self._path.stat())
        except OSError:
            same = False
        if not same:
            raise ConnectionUnavailableError(
                f"the file {self._path} was deleted or replaced while it was open; "
                "put it back, or restore a copy and start the service again"
            )


class _Recorder(SQLiteApplicationRecorder):
    """Chains each event to those before it."""

    def _insert_events(
        self, c: SQLiteCursor, stored_events: Sequence[StoredEvent], **_: Any
    ) -> Sequence[int] | None:
        # The insert comes first: from then on no other process can write.
        numbers = super()._insert_events(c, stored_events) or ()
        chain.append(c, _NAMES, numbers, stored_events)
        return numbers


def open_sqlite(path: str) -> Database:
    """Open the file at ``path``, made if there is none.

    Raises:
        UnavailableError: The file cannot be opened or is no database.
    """
    datastore = _Datastore(path)
    recorder = _Recorder(datastore, events_table_name=EVENTS_TABLE)
    recorder.create_table_statements.append(chain.TABLE.format(**_NAMES))
    with reported(f"the event log {path}"):
        recorder.create_table()
        datastore.remember_file()
    return Database(recorder=recorder, datastore=datastore, names=_NAMES)
