"""The rows of a store in PostgreSQL that say which services are there: a lease for each.

No time decides anything: the clocks of servers may jump, and a standby that takes over has
another one. A service counts its renewals up, and the others see whether it still does.
``heard`` is for people to look at.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from cdc_actors.store.fence import session_name
from cdc_actors.store.ownership import Node, Owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

_NODES = (
    "CREATE TABLE IF NOT EXISTS {schema}.node_leases (token TEXT PRIMARY KEY, "
    "said TEXT NOT NULL, renewals BIGINT NOT NULL, seconds DOUBLE PRECISION NOT NULL, "
    "alone BOOLEAN NOT NULL, drains BOOLEAN NOT NULL, heard TIMESTAMPTZ NOT NULL)"
)
# The number is of a key, so that to change it waits for who writes for the task; to change
# the load does not.
_OWNERS = (
    "CREATE TABLE IF NOT EXISTS {schema}.task_owners (task_id TEXT PRIMARY KEY, "
    "number BIGINT NOT NULL, token TEXT NOT NULL, moved BOOLEAN NOT NULL, "
    "load DOUBLE PRECISION NOT NULL, UNIQUE (task_id, number))"
)
_NAMES = (
    "CREATE TABLE IF NOT EXISTS {schema}.target_names (target TEXT, database TEXT, "
    "name TEXT, task_id TEXT NOT NULL, PRIMARY KEY (target, database, name))"
)
_KEY_CHECK = (
    "CREATE TABLE IF NOT EXISTS {schema}.key_check "
    "(id INTEGER PRIMARY KEY, sealed TEXT NOT NULL)"
)
_INDEXES = (
    "CREATE INDEX IF NOT EXISTS task_owners_token ON {schema}.task_owners (token)",
    "CREATE INDEX IF NOT EXISTS target_names_task ON {schema}.target_names (task_id)",
)
_TRANSACTION_LOCK = "SELECT pg_advisory_xact_lock(%s, hashtext(%s))"
_JOIN = (
    "INSERT INTO {schema}.node_leases VALUES "
    "(%s, %s, 1, %s, %s, FALSE, clock_timestamp())"
)
_RENEW = (
    "UPDATE {schema}.node_leases SET renewals = renewals + 1, said = %s, seconds = %s, "
    "heard = clock_timestamp() WHERE token = %s"
)
_READ = "SELECT token, said, renewals, seconds, alone FROM {schema}.node_leases"
_SHOWN = (
    "SELECT token, said, alone, drains, "
    "EXTRACT(EPOCH FROM clock_timestamp() - heard), "
    "owners.tasks, owners.load FROM {schema}.node_leases AS nodes, LATERAL ("
    "SELECT count(*) AS tasks, coalesce(sum(load), 0) AS load "
    "FROM {schema}.task_owners AS owners WHERE owners.token = nodes.token) AS owners "
    "ORDER BY said"
)
_END_SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s "
    "AND usename = current_user AND datname = current_database()"
)
_END = "DELETE FROM {schema}.node_leases WHERE token = %s AND renewals = %s"
_LEAVE = "DELETE FROM {schema}.node_leases WHERE token = %s"
_GIVE_BACK = (
    "UPDATE {schema}.task_owners SET token = '', number = number + 1, moved = FALSE "
    "WHERE token = %s"
)
_DRAIN = "UPDATE {schema}.node_leases SET drains = %s WHERE left(token, %s) = %s"

NODE_ID_DIGITS = 8
"""How much of its token people call a service by."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a service says of itself; the lag is the longest of its tasks."""

    process: Owner
    lag_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One service. Its lease has ended once the row has been the same for ``seconds``.

    While one ``is_alone`` no other joins.
    """

    token: str
    said: Said | None
    renewals: int
    seconds: float
    is_alone: bool

    @property
    def process(self) -> Owner | None:
        """Which process it is, None if that cannot be read."""
        return self.said.process if self.said else None

    @property
    def is_gone(self) -> bool:
        """Whether nothing of it can be under way: it was a process here, and has ended."""
        return self.process is not None and self.process.has_ended


@contextmanager
def joining(session: psycopg.Connection[Any], schema: str, lock: int) -> Iterator[None]:
    """Let one process at a time join; the tables are there then.

    Others renew their leases meanwhile. ``lock`` tells ours from other programs' locks.
    """
    with session.transaction():
        session.execute(_TRANSACTION_LOCK, [lock, f"{schema} joining"])
        for statement in (_NODES, _OWNERS, _NAMES, _KEY_CHECK, *_INDEXES):
            session.execute(statement_of(statement, schema))
        yield


def join(
    session: psycopg.Connection[Any],
    schema: str,
    token: str,
    said: Said,
    *,
    seconds: float,
    alone: bool,
) -> None:
    """Be there, with a lease of ``seconds``."""
    values = token, msgspec.json.encode(said).decode(), seconds, alone
    session.execute(statement_of(_JOIN, schema), values)


def renew(
    session: psycopg.Connection[Any],
    schema: str,
    token: str,
    said: Said,
    seconds: float,
) -> bool:
    """Be there for ``seconds`` from now on, unless somebody has ended the lease."""
    values = msgspec.json.encode(said).decode(), seconds, token
    return session.execute(statement_of(_RENEW, schema), values).rowcount > 0


def read(session: psycopg.Connection[Any], schema: str) -> list[NodeRow]:
    """Return all."""
    found = session.execute(statement_of(_READ, schema)).fetchall()
    return [
        NodeRow(token, _parsed(said), renewals, seconds, alone)
        for token, said, renewals, seconds, alone in found
    ]


def end(session: psycopg.Connection[Any], schema: str, row: NodeRow) -> bool:
    """End a lease that was not renewed since ``row`` was read; tell whether that is so.

    The transactions of one that was stopped, or cut off, would keep what they have locked,
    some of them for ever: PostgreSQL limits no transaction whose client has sent half of a
    pipeline. Its tasks stay marked as its own, until others take them.
    """
    session.execute(_END_SESSIONS, [session_name(row.token)])
    ended = session.execute(statement_of(_END, schema), [row.token, row.renewals])
    if ended.rowcount and row.is_gone:
        session.execute(statement_of(_GIVE_BACK, schema), [row.token])
    return ended.rowcount > 0


def leave(
    session: psycopg.Connection[Any], schema: str, token: str, *, at_rest: bool
) -> None:
    """Be there no more; ``at_rest`` says that nothing is under way for the tasks."""
    with session.transaction():
        session.execute(statement_of(_LEAVE, schema), [token])
        if at_rest:
            session.execute(statement_of(_GIVE_BACK, schema), [token])


def drain(
    session: psycopg.Connection[Any], schema: str, node_id: str, *, drains: bool
) -> bool:
    """Have a service give its tasks to others, or have tasks; False if there is none."""
    values = drains, NODE_ID_DIGITS, node_id
    return session.execute(statement_of(_DRAIN, schema), values).rowcount > 0


def nodes(session: psycopg.Connection[Any], schema: str) -> list[Node]:
    """Return the services as people see them, by host, without those that are alone."""
    found = session.execute(statement_of(_SHOWN, schema)).fetchall()
    return [
        Node(
            node_id=token[:NODE_ID_DIGITS],
            process=said.process,
            drains=drains,
            silent_seconds=max(0.0, float(seconds)),
            tasks=tasks,
            load=round(load, 1),
            lag_seconds=said.lag_seconds,
        )
        for token, text, alone, drains, seconds, tasks, load in found
        if not alone and (said := _parsed(text)) is not None
    ]


def statement_of(statement: str, schema: str) -> bytes:
    """Return a statement's text with the name of the schema."""
    return statement.format(schema=schema).encode()


def process_of(text: str) -> Owner | None:
    """Return which process has said something, None if that cannot be read."""
    said = _parsed(text)
    return said.process if said else None


def _parsed(text: str) -> Said | None:
    try:
        return msgspec.json.decode(text, type=Said)
    except msgspec.MsgspecError:
        return None
