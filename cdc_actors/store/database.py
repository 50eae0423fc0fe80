"""The database behind the event log and the checkpoints, SQLite or PostgreSQL.

Both go through the connection pools of ``eventsourcing``. This module is what they have
in common; ``sqlite`` and ``postgres`` open them.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from eventsourcing.domain import EventSourcingError
from eventsourcing.persistence import ConnectionPoolClosedError, PersistenceError
from eventsourcing.utils import TopicError

from cdc_actors.errors import OperatorError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from eventsourcing.persistence import ApplicationRecorder

    from cdc_actors.store.fence import Fence

EVENTS_TABLE = "task_events"


class Datastore(Protocol):
    """A connection pool of the library."""

    def transaction(self, *, commit: bool) -> AbstractContextManager[Any]:
        """Lend a cursor whose work is committed, or else rolled back, at the end."""

    def close(self) -> None:
        """Close every connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """An open database. Any thread may use it.

    ``names`` are what a statement's text may hold in braces: the database's own words
    for ``events``, ``hashes``, ``checkpoints``, ``send_horizons``, ``segments_done``,
    ``write_checks`` and ``comparisons`` (the tables), ``order`` (the column that counts
    events), ``counter`` and ``binary`` (the types of such numbers and of bytes), ``lock``
    (a statement after which nobody else writes events until the end of the transaction)
    and ``p`` (the mark of a parameter). PostgreSQL has ``owners``, ``nodes``,
    ``target_names`` and ``key_check`` besides, tables that the lease has made. What is
    written under a ``fence`` is refused once others may write it.
    """

    recorder: ApplicationRecorder
    datastore: Datastore
    names: dict[str, str]
    fence: Fence | None = None

    def read(self, statement: str, *values: Any) -> list[Any]:
        """Return the rows of a query, each to be read by column name."""
        with reported(), self.datastore.transaction(commit=False) as cursor:
            cursor.execute(statement.format(**self.names), values)
            return list(cursor.fetchall())

    def write(self, *statements: str) -> None:
        """Run statements without parameters in one transaction."""
        with reported(), self.datastore.transaction(commit=True) as cursor:
            for statement in statements:
                cursor.execute(statement.format(**self.names))

    def write_rows(
        self, statement: str, rows: Iterable[Sequence[Any]], task_id: str = ""
    ) -> None:
        """Run one statement for each row of parameters, all in one transaction.

        They are refused if they are of a task that is not ours any more.
        """
        with reported(), self.datastore.transaction(commit=True) as cursor:
            if task_id and self.fence is not None:
                self.fence.refuse_others(cursor, task_id)
            cursor.executemany(statement.format(**self.names), list(rows))

    def change(self, statement: str, *values: Any) -> list[Any]:
        """Run a statement and commit; return the rows that it returns, if it does."""
        with reported(), self.datastore.transaction(commit=True) as cursor:
            cursor.execute(statement.format(**self.names), values)
            return list(cursor.fetchall()) if cursor.description else []

    def close(self) -> None:
        """Close every connection. Later calls raise ``UnavailableError``."""
        self.datastore.close()


@contextmanager
def reported(what: str = "the event log") -> Iterator[None]:
    """Translate the errors of databases and of the library.

    Raises:
        UnavailableError: The database is away, locked, full or broken; in its words.
        OperatorError: There are events that this version cannot make sense of.
    """
    try:
        yield
    except (PersistenceError, ConnectionPoolClosedError, sqlite3.Error) as error:
        words = " ".join(str(error).split()) or "it is closed"
        raise UnavailableError(f"{what} cannot answer: {words}") from error
    except (EventSourcingError, TopicError) as error:
        raise OperatorError(
            f"{what} cannot be read: {error}; it was changed by hand, or written by a "
            "newer version: restore it, or install that version"
        ) from error
