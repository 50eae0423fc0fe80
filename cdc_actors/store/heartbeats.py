"""What each service on a store in PostgreSQL says of itself, for people to look at.

Nothing is decided by it: the row that the owner renews says who owns the store
(``owner_row``). The times are the server's own, which may jump.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg

from cdc_actors.store.owner_row import statement_of
from cdc_actors.store.ownership import Node, Owner

if TYPE_CHECKING:
    from collections.abc import Sequence

HEARTBEAT_SECONDS = 2.0
"""How often a service says that it is there."""

_CREATE = (
    "CREATE TABLE IF NOT EXISTS {schema}.store_nodes (token TEXT PRIMARY KEY, "
    "node TEXT NOT NULL, heard TIMESTAMPTZ NOT NULL)"
)
_SAY = (
    "INSERT INTO {schema}.store_nodes VALUES (%s, %s, clock_timestamp()) "
    "ON CONFLICT (token) DO UPDATE SET node = excluded.node, heard = excluded.heard"
)
_FORGET = "DELETE FROM {schema}.store_nodes WHERE token = %s"
# Nobody waits for a row here, whoever has it.
_FORGET_OLD = (
    "DELETE FROM {schema}.store_nodes WHERE token IN (SELECT token FROM "
    "{schema}.store_nodes WHERE heard < clock_timestamp() - INTERVAL '1 day' "
    "FOR UPDATE SKIP LOCKED)"
)
_READ = (
    "SELECT node, EXTRACT(EPOCH FROM clock_timestamp() - heard), "
    "EXISTS (SELECT 1 FROM {schema}.store_owner AS owner "
    "WHERE owner.token = nodes.token AND NOT given_back) AS is_owner "
    "FROM {schema}.store_nodes AS nodes ORDER BY is_owner DESC, heard DESC"
)
# The lease is renewed by the same thread, which must not be kept by a lock or a slow disk.
_HURRY = "SET LOCAL statement_timeout = 300; SET LOCAL synchronous_commit = off"


@dataclass(frozen=True, slots=True)
class _Said:
    process: Owner
    tasks: int | None = None
    lag_seconds: float | None = None


class Heartbeat:
    """Says that this process is there. Used by one thread at a time, but for ``tell``."""

    def __init__(self, schema: str, token: str, url: str) -> None:
        self._schema = schema
        self._token = token
        self._said = _Said(Owner.this_process(url))
        self._next = -math.inf
        self._is_known = False

    def tell(self, tasks: int, lag_seconds: float | None) -> None:
        """Say this of the tasks from now on."""
        self._said = replace(self._said, tasks=tasks, lag_seconds=lag_seconds)

    def beat(self, session: psycopg.Connection[Any]) -> None:
        """Say what there is to say, if it is time for that, and the server takes it."""
        if (now := time.monotonic()) < self._next:
            return
        self._next = now + HEARTBEAT_SECONDS
        said = msgspec.json.encode(self._said).decode()
        with suppress(psycopg.Error), session.transaction():
            session.execute(_HURRY)
            if not self._is_known:
                session.execute(statement_of(_CREATE, self._schema))
                session.execute(statement_of(_FORGET_OLD, self._schema))
            session.execute(statement_of(_SAY, self._schema), [self._token, said])
            self._is_known = True

    def end(self, session: psycopg.Connection[Any]) -> None:
        """Be there no more."""
        if self._is_known:
            self._next, self._is_known = -math.inf, False
            session.execute(statement_of(_FORGET, self._schema), [self._token])


def nodes(session: psycopg.Connection[Any], schema: str) -> Sequence[Node]:
    """Return the services on a store: the owner, and who was heard of last, first."""
    try:
        found = session.execute(statement_of(_READ, schema)).fetchall()
    except psycopg.errors.UndefinedTable:
        return ()
    return [
        Node(
            process=said.process,
            is_owner=is_owner,
            silent_seconds=max(0.0, float(seconds)),
            tasks=said.tasks if is_owner else None,
            lag_seconds=said.lag_seconds if is_owner else None,
        )
        for text, seconds, is_owner in found
        if (said := _parsed(text)) is not None
    ]


def _parsed(text: str) -> _Said | None:
    try:
        return msgspec.json.decode(text, type=_Said)
    except msgspec.MsgspecError:
        return None
