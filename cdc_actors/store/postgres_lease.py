"""Who owns a store in PostgreSQL. Importing this needs psycopg.

The owner renews its lease once a second. It counts the seconds of the lease from before it
asked, and stops ``MARGIN_SECONDS`` earlier; whoever waits counts them from after it has
seen the last renewal. So the one has stopped before the other begins, however long an
answer takes, and though a process, its machine or the way to the server stands still
meanwhile. Each goes by a clock that nobody sets, and that goes on while the machine
sleeps. (That of a virtual machine which is halted may not: of what it goes on to do, the
store refuses all, and a target what is above the last send horizon.)

Rows have to be taken within what is left of the lease. So it is the longer the slower a
target is: four times as long as a request took of late.
"""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import structlog

from cdc_actors.errors import UnavailableError
from cdc_actors.store import heartbeats, owner_row
from cdc_actors.store.fence import Fence, session_name
from cdc_actors.store.heartbeats import Heartbeat
from cdc_actors.store.owner_row import OwnerRow
from cdc_actors.store.ownership import Owner, StoreOwnedError
from cdc_actors.store.postgres import KEEP_ALIVE, TIMEOUT_SECONDS, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdc_actors.store.ownership import Node

LEASE_SECONDS = 6.0
"""After how long an owner that does not renew its lease is none any more."""

LONGEST_SECONDS = 60.0
"""The same where targets are slow."""

SLOW_SHARE = 0.25
"""How much of the lease a request for rows may take before the lease gets longer."""

RENEW_SECONDS = 1.0
"""How often it is renewed."""

MARGIN_SECONDS = 1.0
"""How much earlier the owner stops: clocks may run apart by a little."""

REQUEST_SECONDS = 1.0
"""How long rows that the former owner sent in time may take to be at a target."""

_CLASS = int.from_bytes(b"CDCA", "big")
"""Tells our locks from those of other programs in the same database."""

_NAME = "cdc-actors"
_SESSION = (
    f"SET statement_timeout = {1000 * TIMEOUT_SECONDS}",
    # What an owner was told must be so though the server dies.
    "SET synchronous_commit = on",
)
# What kept a store before there was a lease: an advisory lock, by the session of this name.
_LOCK = "SELECT pg_try_advisory_lock(%s, hashtext(%s))"
_LOCK_HOLDER = """
    SELECT holder.application_name FROM pg_locks
    JOIN pg_stat_activity AS holder USING (pid)
    WHERE locktype = 'advisory' AND granted AND classid = %s
    AND objid = (hashtext(%s)::bigint & 4294967295)::oid AND database =
    (SELECT oid FROM pg_database WHERE datname = current_database())
"""

_log = structlog.get_logger()


class PostgresLease:
    """A lease that a thread of its own renews; see ``Lease``."""

    def __init__(self, url: str, node_url: str = "") -> None:
        """See ``open_postgres`` for the URL, and ``lease_of`` for that of the node.

        Raises:
            OperatorError: It cannot be read.
        """
        settings, self._schema = parsed(url)
        self._node_url = node_url
        self._token = uuid.uuid4().hex
        self._heartbeat = Heartbeat(self._schema, self._token, node_url)
        named = {"application_name": session_name(self._token)}
        self._settings: dict[str, Any] = KEEP_ALIVE | settings | named
        self._session: psycopg.Connection[Any] | None = None
        self._fence: Fence | None = None
        self._until = 0.0
        self._slowest = 0.0
        self._seen, self._seen_at = OwnerRow(), 0.0
        self._trouble = ""
        self._lost: UnavailableError | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def fence(self) -> Fence | None:
        """What the owner writes under; None unless the lease was taken."""
        return self._fence

    def acquire(self) -> float:
        """Take the lease once that of the owner before has ended; see ``Lease``.

        At once, if that gave it back, or was a process of this machine that has ended.
        """
        self._end_renewal()
        try:
            session = self._connected()
            self._refuse_older_version(session)
            self._heartbeat.beat(session)
            return self._claim(session)
        except psycopg.Error as error:
            self._disconnect()
            raise _away(error) from error

    def check(self) -> None:
        """Look how the last renewals went; see ``Lease``."""
        if self._lost is not None:
            raise self._lost
        if self.time_left() <= 0:
            raise UnavailableError(
                "the store's lease could not be renewed"
                + (f": {self._trouble}" if self._trouble else "")
            )

    def time_left(self) -> float:
        """Return for how long the owner may send; see ``Lease``."""
        return self._until - _now()

    def note_request(self, seconds: float) -> None:
        """Know how long a target took for rows; see ``Lease``."""
        self._slowest = max(self._slowest, seconds)

    def note_tasks(self, tasks: int, lag_seconds: float | None) -> None:
        """Tell the others of the tasks; see ``Lease``."""
        self._heartbeat.tell(tasks, lag_seconds)

    def nodes(self) -> Sequence[Node]:
        """Ask the server who is there, in a session of its own; see ``Lease``."""
        try:
            with psycopg.connect(**self._settings, autocommit=True) as session:
                return heartbeats.nodes(session, self._schema)
        except psycopg.Error as error:
            raise _away(error) from error

    def release(self) -> None:
        """Let another one have it at once; see ``Lease``."""
        self._end_renewal()
        fence, self._fence, self._until = self._fence, None, 0.0
        with suppress(psycopg.Error):
            if fence is not None:
                owner_row.give_back(self._connected(), fence)
            if self._session is not None:
                self._heartbeat.end(self._session)
        self._disconnect()

    def _claim(self, session: psycopg.Connection[Any]) -> float:
        before = self._look(session)
        seconds, asked = self._seconds(), _now()
        if not (before.is_gone or asked - self._seen_at >= before.seconds):
            raise StoreOwnedError(before.owner)
        us = Owner.this_process(self._node_url)
        fence = owner_row.claim(session, self._schema, before, us, self._token, seconds)
        if fence is None:
            raise StoreOwnedError(before.owner)
        self._fence, self._lost = fence, None
        self._renewed(asked, seconds)
        self._lock_out_older_version(session)
        self._begin_renewal()
        return 0.0 if before.is_gone else REQUEST_SECONDS

    def _look(self, session: psycopg.Connection[Any]) -> OwnerRow:
        """Read the row, and note since when it is known to be so."""
        row = owner_row.read(session, self._schema)
        if row != self._seen:
            self._seen, self._seen_at = row, _now()
        # Of ours nothing is under way: who acquires has ended what it did before.
        return replace(row, is_gone=True) if row.token == self._token else row

    def _seconds(self) -> float:
        """Return how long the lease is to be; what was slow is forgotten in time."""
        # By so little that no renewal is for less than what was left of the one before.
        self._slowest *= 0.999
        return min(LONGEST_SECONDS, max(LEASE_SECONDS, self._slowest / SLOW_SHARE))

    def _begin_renewal(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._renew_on, args=[self._stop], name="lease renewal", daemon=True
        )
        self._thread.start()

    def _end_renewal(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _renew_on(self, stop: threading.Event) -> None:
        """Renew the lease until it is given back or lost. A thread of its own."""
        while not stop.wait(RENEW_SECONDS) and self._lost is None:
            try:
                self._renew()
            except psycopg.Error as error:
                self._note(_away(error))
                self._disconnect()

    def _renew(self) -> None:
        assert self._fence is not None  # noqa: S101 - tells mypy
        session = self._connected()
        seconds, asked = self._seconds(), _now()
        if owner_row.renew(session, self._fence, seconds):
            self._renewed(asked, seconds)
            self._heartbeat.beat(session)
            return
        owner = owner_row.read(session, self._schema).owner
        self._until, self._lost = 0.0, StoreOwnedError(owner)

    def _renewed(self, asked: float, seconds: float) -> None:
        self._until = asked + seconds - MARGIN_SECONDS
        self._note(None)

    def _note(self, error: UnavailableError | None) -> None:
        text = str(error or "")
        if text and not self._trouble:
            _log.warning("store_lease_not_renewed", error=text)
        self._trouble = text

    def _connected(self) -> psycopg.Connection[Any]:
        """Return the session, a new one if the last has ended."""
        if self._session is None or self._session.closed:
            self._session = psycopg.connect(**self._settings, autocommit=True)
            for statement in _SESSION:
                self._session.execute(statement)
            if self._fence is not None:
                self._lock_out_older_version(self._session)
        return self._session

    def _disconnect(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _refuse_older_version(self, session: psycopg.Connection[Any]) -> None:
        held = session.execute(_LOCK_HOLDER, [_CLASS, self._schema]).fetchone()
        match str(held[0] if held else "").split(" "):
            case [program, pid, since, host] if program == _NAME and pid.isdecimal():
                raise StoreOwnedError(Owner(host, int(pid), since))

    def _lock_out_older_version(self, session: psycopg.Connection[Any]) -> None:
        session.execute(_LOCK, [_CLASS, self._schema])


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _away(error: psycopg.Error) -> UnavailableError:
    detail = " ".join(str(error).split())
    return UnavailableError(f"the event log cannot answer: {detail}")
