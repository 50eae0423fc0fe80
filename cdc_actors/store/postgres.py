"""The event log in PostgreSQL. Importing this needs psycopg."""

from __future__ import annotations

import inspect
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

from cdc_actors.errors import OperatorError, UnavailableError
from cdc_actors.store import hash_chain as chain
from cdc_actors.store.database import EVENTS_TABLE, Database, reported
from cdc_actors.store.fence import session_name
from cdc_actors.tasks.events import TaskCreated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from uuid import UUID

    from eventsourcing.persistence import StoredEvent

    from cdc_actors.store.fence import Fence

TIMEOUT_SECONDS = 5
MAX_CONNECTIONS = 10

_OPENING = "SELECT pg_advisory_lock(hashtext('cdc-actors'), hashtext(%s))"

# The library does not quote it everywhere.
_SCHEMA = re.compile("[a-z_][a-z0-9_]*")

# So that a server that has silently gone is noticed (libpq: Parameter Key Words).
KEEP_ALIVE = {
    "connect_timeout": TIMEOUT_SECONDS,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 1000 * TIMEOUT_SECONDS,
}


class _Recorder(PostgresApplicationRecorder):
    """Chains each event to those before it, and tries each call once.

    The library's ten attempts would hold the caller for a minute, and would take an
    event whose commit went through, but not the answer, for somebody else's.
    """

    names: dict[str, str]
    datastore: _Datastore

    insert_events = inspect.unwrap(PostgresApplicationRecorder.insert_events)
    select_events = inspect.unwrap(PostgresApplicationRecorder.select_events)

    def _insert_events(
        self,
        curs: psycopg.Cursor[Any],
        stored_events: Sequence[StoredEvent],
        **more: Any,
    ) -> None:
        # Only here does an exception that is none of the server's undo the transaction.
        self.datastore.refuse_former(curs)
        self._refuse_others(curs, stored_events)
        if check := more.pop("check", None):
            # What is true now stays so until the commit.
            self._lock_table(curs)
            check(curs)
        super()._insert_events(curs, stored_events, **more)

    def _refuse_others(
        self, curs: psycopg.Cursor[Any], stored_events: Sequence[StoredEvent]
    ) -> None:
        fence = self.datastore.fence
        if fence is None:
            return
        for event in stored_events:
            task_id = cast("UUID", event.originator_id).hex
            if event.topic == TaskCreated.TOPIC:
                fence.own(curs, task_id)
            else:
                fence.refuse_others(curs, task_id)

    def _fetch_ids_after_insert_events(
        self,
        curs: psycopg.Cursor[Any],
        stored_events: Sequence[StoredEvent],
        **_: Any,
    ) -> Sequence[int] | None:
        # The library has locked the table until the commit.
        numbers = super()._fetch_ids_after_insert_events(curs, stored_events) or ()
        chain.append(curs, self.names, numbers, stored_events)
        return numbers


class _Datastore(PostgresDatastore):
    """Connections that give up in time and are tried before they are lent.

    With a ``fence`` nothing is written once somebody has ended the lease.
    """

    def __init__(
        self, settings: dict[str, Any], schema: str, fence: Fence | None
    ) -> None:
        self.fence = fence
        super().__init__(
            dbname=settings.pop("dbname", ""),
            host=settings.pop("host", ""),
            port=settings.pop("port", ""),
            user=settings.pop("user", ""),
            password=settings.pop("password", ""),
            schema=schema,
            connect_timeout=TIMEOUT_SECONDS,
            lock_timeout=TIMEOUT_SECONDS,
            idle_in_transaction_session_timeout=TIMEOUT_SECONDS,
            max_overflow=MAX_CONNECTIONS - 1,
            pre_ping=True,
        )
        # Else it waits ever longer between attempts, also after the server is back.
        self.pool.reconnect_timeout = TIMEOUT_SECONDS
        self.settings = cast("dict[str, Any]", self.pool.kwargs)
        self.settings.update(KEEP_ALIVE | settings)
        if fence is not None:
            self.settings["application_name"] = session_name(fence.token)

    @contextmanager
    def transaction(self, *, commit: bool = False) -> Iterator[psycopg.Cursor[Any]]:
        with super().transaction(commit=commit) as cursor:
            if commit:
                self.refuse_former(cursor)
            yield cursor

    def refuse_former(self, cursor: psycopg.Cursor[Any]) -> None:
        """Keep the lease until the transaction ends; see ``Fence``."""
        if self.fence is not None:
            self.fence.refuse_former(cursor)

    def after_connect_func(self) -> Callable[[psycopg.Connection[Any]], None]:
        after_connect = super().after_connect_func()

        def limit(connection: psycopg.Connection[Any]) -> None:
            after_connect(connection)
            connection.execute(f"SET statement_timeout = {1000 * TIMEOUT_SECONDS}")

        return limit


def open_postgres(url: str, fence: Fence | None = None) -> Database:
    """Connect to ``postgresql://user:password@host:port/database``.

    A service writes under its ``fence``; whoever only reads needs none.

    Every parameter that libpq knows may follow in the query, such as ``sslmode``, and
    ``schema``, an existing one to keep the tables in (``public`` if it is left out).

    Raises:
        OperatorError: The URL cannot be read.
        UnavailableError: The server cannot be reached or refuses; in its words.
    """
    settings, schema = parsed(url)
    datastore = _Datastore(settings, schema, fence)
    try:
        # The pool only says that it waited in vain, this says why.
        psycopg.connect(**datastore.settings).close()
        with reported():
            recorder = _Recorder(datastore, events_table_name=EVENTS_TABLE)
            recorder.names = _names(schema)
            recorder.create_table()
        database = Database(
            recorder=recorder, datastore=datastore, names=recorder.names, fence=fence
        )
        database.write(chain.TABLE)
    except psycopg.OperationalError as error:
        datastore.close()
        raise away(error) from error
    except Exception:
        datastore.close()
        raise
    return database


@contextmanager
def opening(url: str, fence: Fence) -> Iterator[None]:
    """Let one service at a time open a store, which makes what is not there yet.

    Of two that make the same in one moment PostgreSQL refuses one, for all its
    ``IF NOT EXISTS``.

    Raises:
        UnavailableError: The server does not answer, or another takes too long.
    """
    settings, _ = parsed(url)
    settings["application_name"] = session_name(fence.token)
    try:
        with psycopg.connect(**KEEP_ALIVE | settings, autocommit=True) as session:
            session.execute(f"SET statement_timeout = {1000 * TIMEOUT_SECONDS}")
            session.execute(_OPENING, [f"{fence.schema} opening"])
            yield
    except psycopg.Error as error:
        raise away(error) from error


def away(error: psycopg.Error) -> UnavailableError:
    """Return what to raise where the server does not answer, or refuses; in its words."""
    words = " ".join(str(error).split())
    return UnavailableError(f"the event log cannot answer: {words}")


def _names(schema: str) -> dict[str, str]:
    return {
        "events": f"{schema}.{EVENTS_TABLE}",
        "hashes": f"{schema}.event_hashes",
        "checkpoints": f"{schema}.checkpoints",
        "send_horizons": f"{schema}.fences",
        "segments_done": f"{schema}.segments_done",
        "write_checks": f"{schema}.write_checks",
        "comparisons": f"{schema}.comparisons",
        "nodes": f"{schema}.node_leases",
        "owners": f"{schema}.task_owners",
        "target_names": f"{schema}.target_names",
        "key_check": f"{schema}.key_check",
        "order": "notification_id",
        "binary": "BYTEA",
        "counter": "BIGINT",
        "lock": "LOCK TABLE {events} IN EXCLUSIVE MODE",
        "p": "%s",
    }


def parsed(url: str) -> tuple[dict[str, Any], str]:
    """Return libpq's parameters and the schema that are in a URL.

    Raises:
        OperatorError: It cannot be read.
    """
    try:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        schema = query.pop("schema", "public")
        rest = urlunsplit(parts._replace(query=urlencode(query)))
        if parts.scheme in {"postgresql", "postgres"} and _SCHEMA.fullmatch(schema):
            return conninfo_to_dict(rest), schema
    except (ValueError, psycopg.ProgrammingError):
        pass  # Their words may repeat the URL, and with it the password.
    raise OperatorError(
        "the URL of the event log cannot be read; it must look like "
        "postgresql://user:password@host:5432/database?sslmode=require&schema=name "
        "with special characters as %XX, and a schema's name in lower case"
    )
