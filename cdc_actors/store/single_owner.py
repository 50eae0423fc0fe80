"""How services of earlier versions, of which one had a whole store, are kept out of it.

The oldest held an advisory lock, in a session that was called after them. Then there was
one row, which the owner renewed. Both are looked at before a service joins, and held, or
said to be held for ever, from then on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from cdc_actors.store.node_rows import statement_of
from cdc_actors.store.ownership import Owner

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

LOCK_CLASS = int.from_bytes(b"CDCA", "big")
"""Tells our locks from those of other programs in the same database."""

_NAME = "cdc-actors"
_LOCK = "SELECT pg_try_advisory_lock(%s, hashtext(%s))"
_LOCK_HOLDER = """
    SELECT holder.application_name FROM pg_locks
    JOIN pg_stat_activity AS holder USING (pid)
    WHERE locktype = 'advisory' AND granted AND classid = %s
    AND objid = (hashtext(%s)::bigint & 4294967295)::oid AND database =
    (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_SEVERAL = "several services of a newer version"
_FOR_EVER = 1e12
_CREATE = (
    "CREATE TABLE IF NOT EXISTS {schema}.store_owner ("
    "id INTEGER PRIMARY KEY, fence BIGINT UNIQUE NOT NULL, token TEXT NOT NULL, "
    "owner TEXT NOT NULL, renewals BIGINT NOT NULL, seconds DOUBLE PRECISION NOT NULL, "
    "given_back BOOLEAN NOT NULL)"
)
_INSERT = (
    "INSERT INTO {schema}.store_owner VALUES (1, 0, '', '', 0, 0, TRUE) "
    "ON CONFLICT (id) DO NOTHING"
)
_READ = (
    "SELECT fence, token, owner, renewals, seconds, given_back "
    "FROM {schema}.store_owner"
)
_CLOSE = (
    "UPDATE {schema}.store_owner SET fence = fence + 1, token = %s, owner = %s, "
    "seconds = %s, given_back = FALSE"
)
_NODES_OF_THEN = "DROP TABLE IF EXISTS {schema}.store_nodes"


def lock_out(session: psycopg.Connection[Any], schema: str) -> None:
    """Hold what the oldest look at, if no other of us does."""
    session.execute(_LOCK, [LOCK_CLASS, schema])


def shut_out(
    session: psycopg.Connection[Any],
    schema: str,
    has_stood: Callable[[object, float], bool],
) -> Owner | None:
    """Take the store from a single owner for good; return that one while it lives.

    ``has_stood`` tells whether a value has been the same for some seconds. In a
    transaction: what was written under the earlier number is committed, or never is.
    """
    if holder := _oldest(session, schema):
        return holder
    session.execute(statement_of(_CREATE, schema))
    session.execute(statement_of(_INSERT, schema))
    row = session.execute(statement_of(_READ, schema)).fetchone()
    assert row is not None  # noqa: S101 - it was made just now
    _, token, text, _, seconds, given_back = row
    if token == _SEVERAL:
        return None
    owner = Owner.parsed(text)
    ended = given_back or owner is None or owner.has_ended
    if not (ended or has_stood(row, seconds)):
        return owner
    several = msgspec.json.encode(Owner(_SEVERAL, 0, "the upgrade")).decode()
    values = _SEVERAL, several, _FOR_EVER
    session.execute(statement_of(_CLOSE, schema), values)
    session.execute(statement_of(_NODES_OF_THEN, schema))
    return None


def _oldest(session: psycopg.Connection[Any], schema: str) -> Owner | None:
    held = session.execute(_LOCK_HOLDER, [LOCK_CLASS, schema]).fetchone()
    match str(held[0] if held else "").split(" "):
        case [program, pid, since, host] if program == _NAME and pid.isdecimal():
            return Owner(host, int(pid), since)
    return None
