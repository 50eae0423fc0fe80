"""The lease of one service on a store in PostgreSQL. Importing this needs psycopg.

It is renewed once a second. The service counts its seconds from before it asked, and stops
``MARGIN_SECONDS`` earlier; the others count them from after they have seen the last
renewal, and end the lease then. So the one has stopped before another takes its tasks,
however long an answer takes, and though a process, its machine or the way to the server
stands still meanwhile. Each goes by a clock that nobody sets, and that goes on while the
machine sleeps. (That of a virtual machine which is halted may not: of what it goes on to
do, the store refuses all, and a target what is above the last send horizon.)

Rows have to be taken within what is left of the lease. So it is the longer the slower a
target is: before each renewal there is left twice what a request took of late.
"""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
import structlog

from cdc_actors.errors import UnavailableError
from cdc_actors.store import node_rows, single_owner
from cdc_actors.store.fence import Fence, session_name
from cdc_actors.store.node_rows import Said
from cdc_actors.store.ownership import Owner, StoreOwnedError
from cdc_actors.store.postgres import KEEP_ALIVE, TIMEOUT_SECONDS, away, parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cdc_actors.store.node_rows import NodeRow
    from cdc_actors.store.ownership import Node

LEASE_SECONDS = 5.0
"""After how long a service that does not renew its lease has none any more."""

LONGEST_SECONDS = 60.0
"""The same where targets are slow."""

SLOW_SHARE = 0.5
"""How much of what is left of the lease at the least a request for rows takes at most."""

KEPT_PART = 1 - 1 / LONGEST_SECONDS
"""What each second leaves of it: the longest is the shortest again in three minutes."""

RENEW_SECONDS = 1.0
"""How often it is renewed."""

MARGIN_SECONDS = 1.0
"""How much earlier the service stops: clocks may run apart by a little."""

_SESSION = (
    f"SET statement_timeout = {1000 * TIMEOUT_SECONDS}",
    # Others wait for one that joins, which may be stopped while it does.
    f"SET idle_in_transaction_session_timeout = {1000 * TIMEOUT_SECONDS}",
    # What a service was told must be so though the server dies.
    "SET synchronous_commit = on",
)
_LOST = "another service has ended the lease of this one, which was not renewed in time"

_T = TypeVar("_T")
_log = structlog.get_logger()


class Term:
    """The time of one lease, which never begins again; see ``OwnedTime``."""

    def __init__(self, slowest: float = 0.0) -> None:
        self.token = uuid.uuid4().hex
        self.slowest = slowest
        self._until = 0.0
        self._is_over = False
        self._lock = threading.Lock()

    def time_left(self) -> float:
        """Return for how long the service may send."""
        return self._until - _now()

    def renew(self, until: float) -> None:
        """Go on until then, unless somebody knows already that it is over."""
        with self._lock:
            if not self._is_over:
                self._until = until

    def has_ended(self) -> bool:
        """Tell whether no time is left; then there never is any again."""
        with self._lock:
            self._is_over = self._is_over or self.time_left() <= 0
            return self._is_over

    def end(self) -> None:
        """Be over now."""
        with self._lock:
            self._until, self._is_over = 0.0, True

    def note_request(self, seconds: float) -> None:
        """Know how long a target took for rows.

        If the lease has ended meanwhile, it may be this process that stood still.
        """
        if self.time_left() > 0:
            self.slowest = max(self.slowest, seconds)


class PostgresLease:
    """A lease that a thread of its own renews; see ``Lease``."""

    def __init__(self, url: str, node_url: str = "") -> None:
        """See ``open_postgres`` for the URL, and ``lease_of`` for that of the node.

        Raises:
            OperatorError: It cannot be read.
        """
        settings, self._schema = parsed(url)
        self._settings: dict[str, Any] = KEEP_ALIVE | settings
        self._said = Said(Owner.this_process(node_url))
        self._session: psycopg.Connection[Any] | None = None
        self._fence: Fence | None = None
        self._seen: dict[object, float] = {}
        self._others: Sequence[Owner] = ()
        self._joined: list[str] = []
        self._trouble = ""
        self._lost: UnavailableError | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.term = Term()

    @property
    def fence(self) -> Fence | None:
        """What the service writes under; None unless the lease was taken."""
        return self._fence

    @property
    def others(self) -> Sequence[Owner]:
        """The other services, as of the last renewal; see ``Lease``."""
        return self._others

    def acquire(self, *, alone: bool = False) -> None:
        """Join the services on the store; see ``Lease``."""
        self._end_renewal()
        self._disconnect()
        self.term.end()
        self.term, self._fence = Term(self.term.slowest), None
        try:
            session = self._connected()
            with node_rows.joining(session, self._schema, single_owner.LOCK_CLASS):
                for token in self._joined:
                    # Its tasks stay its own: what it sent may still be under way.
                    node_rows.leave(session, self._schema, token, at_rest=False)
                self._refuse_others(session, alone=alone)
                # Whether it has will not be known if the answer to the commit is lost.
                self._joined.append(self.term.token)
                asked = self._join(session, alone=alone)
            self._joined = [self.term.token]
            single_owner.lock_out(session, self._schema)
        except psycopg.Error as error:
            self._disconnect()
            raise away(error) from error
        self._fence = Fence(self._schema, self.term.token, alone)
        self._lost = None
        self._renewed(asked, LEASE_SECONDS)
        self._begin_renewal()

    def check(self) -> None:
        """Look how the last renewals went; see ``Lease``."""
        if self._lost is not None:
            raise self._lost
        if self.term.has_ended():
            raise UnavailableError(
                "the store's lease could not be renewed"
                + (f": {self._trouble}" if self._trouble else "")
            )

    def note_tasks(self, _tasks: int, lag_seconds: float | None, /) -> None:
        """Tell people of the longest lag; see ``Lease``."""
        self._said = replace(self._said, lag_seconds=lag_seconds)

    def nodes(self) -> Sequence[Node]:
        """Ask the server who is there, in a session of its own; see ``Lease``."""
        return self._beside(lambda session: node_rows.nodes(session, self._schema))

    def drain(self, node_id: str, *, drains: bool) -> bool:
        """Have a service give its tasks to others, or have tasks again; see ``Lease``."""
        return self._beside(
            lambda session: node_rows.drain(
                session, self._schema, node_id, drains=drains
            )
        )

    def release(self) -> None:
        """Let others have the tasks at once; see ``Lease``."""
        self._end_renewal()
        fence, self._fence = self._fence, None
        self.term.end()
        with suppress(psycopg.Error):
            if fence is not None:
                session = self._connected()
                node_rows.leave(session, self._schema, fence.token, at_rest=True)
        self._disconnect()

    def _beside(self, ask: Callable[[psycopg.Connection[Any]], _T]) -> _T:
        """Ask by a session beside that of the lease, for any thread."""
        try:
            with psycopg.connect(**self._settings, autocommit=True) as session:
                return ask(session)
        except psycopg.Error as error:
            raise away(error) from error

    def _refuse_others(self, session: psycopg.Connection[Any], *, alone: bool) -> None:
        owner = single_owner.shut_out(session, self._schema, self._has_stood)
        if owner is not None:
            raise StoreOwnedError(owner)
        for row in self._living(session):
            if alone or row.is_alone:
                raise StoreOwnedError(row.process, row.renewals)

    def _join(self, session: psycopg.Connection[Any], *, alone: bool) -> float:
        asked = _now()
        node_rows.join(
            session,
            self._schema,
            self.term.token,
            self._said,
            seconds=LEASE_SECONDS,
            alone=alone,
        )
        return asked

    def _living(self, session: psycopg.Connection[Any]) -> list[NodeRow]:
        """Return the other services, without those whose leases have ended just now."""
        living = []
        rows = node_rows.read(session, self._schema)
        marks = {(each.token, each.renewals) for each in rows}
        self._seen = {i: at for i, at in self._seen.items() if i in marks}
        for row in rows:
            if row.token == self.term.token:
                continue
            if row.is_gone or self._has_stood((row.token, row.renewals), row.seconds):
                if node_rows.end(session, self._schema, row):
                    _log.warning("node_lease_ended", node=str(row.process))
            else:
                living.append(row)
        there = [each for each in living if not each.is_alone]
        self._others = [each.process for each in there if each.process is not None]
        return living

    def _has_stood(self, mark: object, seconds: float) -> bool:
        """Tell whether ``mark`` was first seen ``seconds`` ago or earlier."""
        now = _now()
        return now - self._seen.setdefault(mark, now) >= seconds

    def _seconds(self) -> float:
        """Return how long the lease is to be; what was slow is forgotten in time."""
        # A renewal a second later is for no less than what was left of the one before.
        self.term.slowest *= KEPT_PART
        least_left = self.term.slowest / SLOW_SHARE
        seconds = least_left + RENEW_SECONDS + MARGIN_SECONDS
        return min(LONGEST_SECONDS, max(LEASE_SECONDS, seconds))

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
                self._note(away(error))
                self._disconnect()

    def _renew(self) -> None:
        """Renew the lease, and end those of others that have not done so in time."""
        session = self._connected()
        seconds, asked = self._seconds(), _now()
        token = self.term.token
        if node_rows.renew(session, self._schema, token, self._said, seconds):
            self._renewed(asked, seconds)
            self._living(session)
        else:
            self.term.end()
            self._lost = UnavailableError(_LOST)

    def _renewed(self, asked: float, seconds: float) -> None:
        self.term.renew(asked + seconds - MARGIN_SECONDS)
        self._note(None)

    def _note(self, error: UnavailableError | None) -> None:
        text = str(error or "")
        if text and not self._trouble:
            _log.warning("store_lease_not_renewed", error=text)
        self._trouble = text

    def _connected(self) -> psycopg.Connection[Any]:
        """Return the session, a new one if the last has ended."""
        if self._session is None or self._session.closed:
            named = {"application_name": session_name(self.term.token)}
            self._session = psycopg.connect(**self._settings | named, autocommit=True)
            for statement in _SESSION:
                self._session.execute(statement)
            if self._fence is not None:
                single_owner.lock_out(self._session, self._schema)
        return self._session

    def _disconnect(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
