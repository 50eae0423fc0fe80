"""The row of a store in PostgreSQL that says who owns it.

No time stands in it: the clocks of servers may jump, and a standby that takes over has
another one. The owner counts its renewals up, and others see whether it still does.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg

from cdc_actors.store.fence import Fence, session_name
from cdc_actors.store.ownership import Owner

if TYPE_CHECKING:
    from collections.abc import Sequence

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
_END_SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s "
    "AND usename = current_user AND datname = current_database()"
)
_CLAIM = (
    "UPDATE {schema}.store_owner SET fence = fence + 1, token = %s, owner = %s, "
    "renewals = renewals + 1, seconds = %s, given_back = FALSE "
    "WHERE fence = %s AND renewals = %s"
)
_RENEW = (
    "UPDATE {schema}.store_owner SET renewals = renewals + 1, seconds = %s "
    "WHERE fence = %s AND token = %s"
)
_GIVE_BACK = (
    "UPDATE {schema}.store_owner SET renewals = renewals + 1, given_back = TRUE "
    "WHERE fence = %s AND token = %s"
)
# What PostgreSQL says, for all its IF NOT EXISTS, where two make the same in one moment: by
# when it notices.
_MADE_BY_ANOTHER = (
    psycopg.errors.UniqueViolation,
    psycopg.errors.DuplicateTable,
    psycopg.errors.DuplicateObject,
)


@dataclass(frozen=True, slots=True)
class OwnerRow:
    """What the row says; number 0 if nobody ever owned the store.

    The lease has ended once the row has been the same for ``seconds``. ``is_gone`` tells
    that nothing of the owner can be under way.
    """

    number: int = 0
    token: str = ""
    owner: Owner | None = None
    renewals: int = 0
    seconds: float = 0.0
    is_gone: bool = True


def read(session: psycopg.Connection[Any], schema: str) -> OwnerRow:
    """Return the row of a store, which is made if there is none."""
    with suppress(psycopg.errors.UndefinedTable):
        if row := session.execute(statement_of(_READ, schema)).fetchone():
            number, token, text, renewals, seconds, given_back = row
            owner = Owner.parsed(text)
            is_gone = given_back or (owner is not None and owner.has_ended)
            return OwnerRow(number, token, owner, renewals, seconds, is_gone)
    for statement in (_CREATE, _INSERT):
        with suppress(*_MADE_BY_ANOTHER):
            session.execute(statement_of(statement, schema))
    return OwnerRow()


def claim(
    session: psycopg.Connection[Any],
    schema: str,
    before: OwnerRow,
    us: Owner,
    token: str,
    seconds: float,
) -> Fence | None:
    """Become the owner, for ``seconds``; None if the row is not as ``before`` any more.

    The transactions of one that was stopped, or cut off, would keep the row, some of them
    for ever: PostgreSQL limits no transaction whose client has sent half of a pipeline.
    """
    if not before.is_gone:
        session.execute(_END_SESSIONS, [session_name(before.token)])
    text = msgspec.json.encode(us).decode()
    values = token, text, seconds, before.number, before.renewals
    if not _changed(session, statement_of(_CLAIM, schema), values):
        return None
    return Fence(schema, before.number + 1, token)


def renew(session: psycopg.Connection[Any], fence: Fence, seconds: float) -> bool:
    """Own the store for ``seconds`` from now on, unless somebody else does."""
    values = seconds, fence.number, fence.token
    return _changed(session, statement_of(_RENEW, fence.schema), values)


def give_back(session: psycopg.Connection[Any], fence: Fence) -> None:
    """End the lease, and say that nothing is under way any more."""
    session.execute(statement_of(_GIVE_BACK, fence.schema), [fence.number, fence.token])


def _changed(
    session: psycopg.Connection[Any], statement: bytes, values: Sequence[Any]
) -> bool:
    return session.execute(statement, values).rowcount > 0


def statement_of(statement: str, schema: str) -> bytes:
    """Return a statement's text with the name of the schema."""
    return statement.format(schema=schema).encode()
