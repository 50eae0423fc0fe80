"""Who owns a store in PostgreSQL. Importing this needs psycopg."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg

from cdc_actors.errors import UnavailableError
from cdc_actors.store.ownership import Owner, StoreOwnedError
from cdc_actors.store.postgres import KEEP_ALIVE, TIMEOUT_SECONDS, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

_CLASS = int.from_bytes(b"CDCA", "big")
"""Tells our locks from those of other programs in the same database."""

_NAME = "cdc-actors"
_NAME_BYTES = 63

_SESSION = f"""
    SET statement_timeout = {1000 * TIMEOUT_SECONDS};
    SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 5;
    SET tcp_keepalives_count = 3
"""
"""The server notices in 20 seconds, too, that the host of an owner is gone."""

_HOLDER = """
    SELECT holder.application_name FROM pg_locks
    JOIN pg_stat_activity AS holder USING (pid)
    WHERE locktype = 'advisory' AND granted AND classid = %s
    AND objid = (hashtext(%s)::bigint & 4294967295)::oid AND database =
    (SELECT oid FROM pg_database WHERE datname = current_database())
"""


_UNLOCK = "SELECT pg_advisory_unlock(%s, hashtext(%s)) WHERE pg_backend_pid() = %s"


class PostgresLease:
    """An advisory lock of a session of its own, whose name says who has it.

    The server ends it with the session, and the session with the connection. A former
    owner sees that at its next ``check``; ``grace`` is time for that and for stopping.
    """

    grace = 2.0

    def __init__(self, url: str) -> None:
        """See ``open_postgres`` for the URL.

        Raises:
            OperatorError: It cannot be read.
        """
        settings, self._schema = parsed(url)
        self._settings: dict[str, Any] = KEEP_ALIVE | settings
        self._session: psycopg.Connection[Any] | None = None

    def acquire(self) -> None:
        """Lock; see ``Lease``."""
        self.release()
        try:
            session = psycopg.connect(**self._settings, autocommit=True)
            try:
                session.execute(_SESSION)
                self._lock(session)
            except BaseException:
                session.close()
                raise
        except psycopg.Error as error:
            raise _away(error) from error
        self._session = session

    def check(self) -> None:
        """Ask the session whether it lives and is the same; see ``Lease``."""
        if self._session is None:
            raise UnavailableError("the store's lock is not held")
        try:
            (alive,) = _row(self._session, "SELECT pg_backend_pid()")
        except psycopg.Error as error:
            raise _away(error) from error
        if alive != self._session.info.backend_pid:
            raise UnavailableError(
                "the store's lock is lost: something between shares the sessions; "
                "connect to PostgreSQL itself, or to a pooler in session mode"
            )

    def release(self) -> None:
        """Unlock, and end the session; see ``Lease``.

        By itself the server unlocks a moment after the session is closed here.
        """
        session, self._session = self._session, None
        if session is None:
            return
        values = _CLASS, self._schema, session.info.backend_pid
        with suppress(psycopg.Error):
            session.execute(_UNLOCK, values)
        session.close()

    def _lock(self, session: psycopg.Connection[Any]) -> None:
        lock = "SELECT pg_try_advisory_lock(%s, hashtext(%s))"
        (locked,) = _row(session, lock, _CLASS, self._schema)
        if not locked:
            holder = session.execute(_HOLDER, [_CLASS, self._schema]).fetchone()
            raise StoreOwnedError(_owner_in(*holder) if holder else None)
        us = Owner.this_process()
        name = f"{_NAME} {us.pid} {us.since} {us.host}"[:_NAME_BYTES]
        session.execute("SELECT set_config('application_name', %s, false)", [name])


def _row(session: psycopg.Connection[Any], query: str, *values: Any) -> Sequence[Any]:
    row: Sequence[Any] | None = session.execute(query.encode(), values).fetchone()
    assert row is not None  # noqa: S101 - each of these queries has one row
    return row


def _owner_in(name: str | None) -> Owner | None:
    """Read a session's name, which another account may not be shown."""
    match (name or "").split(" "):
        case [program, pid, since, host] if program == _NAME and pid.isdecimal():
            return Owner(host, int(pid), since)
    return None


def _away(error: psycopg.Error) -> UnavailableError:
    detail = " ".join(str(error).split())
    return UnavailableError(f"the event log cannot answer: {detail}")
