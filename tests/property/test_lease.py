"""Never two services that may send for one task, whatever stands still, in any order."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cdc_actors.errors import UnavailableError
from cdc_actors.service.claiming import REQUEST_SECONDS
from cdc_actors.store import postgres_lease
from cdc_actors.store.node_rows import NodeRow
from cdc_actors.store.postgres_lease import PostgresLease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cdc_actors.store.node_rows import Said

    Steps = list[tuple[float, int, str]]

NUMBERS = st.integers(0, 2)
TASKS = ("a", "b")
SECONDS = st.sampled_from([0.0, 0.1, 0.4, 1.0, 3.0, 4.5, 5.5, 8.0])
ACTS = st.sampled_from(["renew", "join", "claim", "give back"])
STEPS = st.lists(st.tuples(SECONDS, NUMBERS, ACTS), max_size=4)
"""What others do, each after some seconds."""


class Server:
    """The rows of a server; requests and answers take as long as they are told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.rows: dict[str, NodeRow] = {}
        self.owners = dict.fromkeys(TASKS, "")
        self.wait: Callable[[], None] = lambda: None
        self._joins = False

    @contextmanager
    def joining(self, _session: Any, _schema: str, _lock: int) -> Iterator[None]:
        """As ``node_rows.joining``; who waits for the lock is told that it took long."""
        if self._joins:
            raise psycopg.OperationalError("canceling statement due to timeout")
        self._joins = True
        try:
            self.wait()
            yield
        finally:
            self._joins = False

    def join(
        self,
        _session: Any,
        _schema: str,
        token: str,
        _said: Said,
        *,
        seconds: float,
        alone: bool,
    ) -> None:
        """As ``node_rows.join``."""

        def act() -> None:
            self.rows[token] = NodeRow(token, None, 1, seconds, alone)

        self._after_a_while(act)

    def renew(
        self, _session: Any, _schema: str, token: str, _said: Said, seconds: float
    ) -> bool:
        """As ``node_rows.renew``."""

        def act() -> bool:
            if row := self.rows.get(token):
                renewals = row.renewals + 1
                self.rows[token] = replace(row, renewals=renewals, seconds=seconds)
            return row is not None

        return self._after_a_while(act)

    def read(self, _session: Any, _schema: str) -> list[NodeRow]:
        """As ``node_rows.read``."""
        return self._after_a_while(lambda: list(self.rows.values()))

    def end(self, _session: Any, _schema: str, row: NodeRow) -> bool:
        """As ``node_rows.end``."""

        def act() -> bool:
            is_same = self.rows.get(row.token) == row
            if is_same:
                del self.rows[row.token]
            return is_same

        return self._after_a_while(act)

    def leave(self, _session: Any, _schema: str, token: str, *, at_rest: bool) -> None:
        """As ``node_rows.leave``."""
        self.rows.pop(token, None)
        if at_rest:
            for task, owner in self.owners.items():
                self.owners[task] = "" if owner == token else owner

    def claim(self, token: str) -> list[tuple[str, bool]]:
        """As ``TaskOwners.claim``: tasks that nobody has, and whether they were left."""

        def act() -> list[tuple[str, bool]]:
            if token not in self.rows:
                return []
            free = [(i, bool(o)) for i, o in self.owners.items() if o not in self.rows]
            self.owners.update(dict.fromkeys((task for task, _ in free), token))
            return free

        return self._after_a_while(act)

    def _after_a_while(self, act: Callable[[], Any]) -> Any:
        self.wait()
        done = act()
        self.wait()
        return done


class Process(PostgresLease):
    """A lease whose renewals are made when a test says so, and the tasks under it."""

    def __init__(self, server: Server) -> None:
        super().__init__("postgresql://nobody@nowhere/store")
        self._server = server
        self._begins: dict[str, tuple[str, float]] = {}

    def renew(self) -> None:
        """Do what the thread does once a second, for as long as it lives."""
        if self.fence is not None and self._lost is None:
            self._renew()

    def claim(self) -> None:
        """Have what nobody has, once what was sent for it has come to its end."""
        token = self.term.token
        for task, was_left in self._server.claim(token):
            wait = REQUEST_SECONDS if was_left else 0.0
            self._begins[task] = token, self._server.now + wait

    def give_back(self) -> None:
        """Let others have one, which is at rest."""
        for task, (token, _) in self._begins.items():
            if self._server.owners[task] == token and token in self._server.rows:
                del self._begins[task]
                self._server.owners[task] = ""
                return

    def may_send(self, task: str) -> bool:
        """Tell whether it may send for a task now."""
        token, begins = self._begins.get(task, ("", 0.0))
        is_ours = token == self.term.token and begins <= self._server.now
        return is_ours and self.term.time_left() > 0

    def end(self) -> None:
        """End all work, then the lease."""
        self._begins.clear()
        self.release()

    def _connected(self) -> Any:
        return SimpleNamespace(execute=lambda *_: None, transaction=nullcontext)

    def _begin_renewal(self) -> None:
        pass

    def _disconnect(self) -> None:
        pass


class Leases(RuleBasedStateMachine):
    """Three services on one store of two tasks."""

    @initialize()
    def begin(self) -> None:
        """Nobody is there."""
        self.server = Server()
        self.processes = [Process(self.server) for _ in range(3)]
        names = ("node_rows", "single_owner", "_now")
        self.before = {name: getattr(postgres_lease, name) for name in names}
        postgres_lease.node_rows = self.server  # type: ignore[assignment]
        postgres_lease.single_owner = SimpleNamespace(  # type: ignore[assignment]
            LOCK_CLASS=1, shut_out=lambda *_: None, lock_out=lambda *_: None
        )
        postgres_lease._now = lambda: self.server.now

    def teardown(self) -> None:
        """Put back what the module had."""
        for name, value in getattr(self, "before", {}).items():
            setattr(postgres_lease, name, value)

    @rule(seconds=SECONDS)
    def stand_still(self, seconds: float) -> None:
        """Time passes; nobody does anything: all are stopped, or just not at it."""
        self.server.now += seconds

    @rule(number=NUMBERS, act=ACTS, before=STEPS, after=STEPS)
    def act(self, number: int, act: str, before: Steps, after: Steps) -> None:
        """One does something; others act before and after the server."""
        waiting, acting = [after, before], {number}

        def wait() -> None:
            for seconds, other, its in waiting.pop() if waiting else ():
                self.server.now += seconds
                if other not in acting:
                    acting.add(other)
                    self._do(other, its)
                    acting.discard(other)

        self.server.wait = wait
        self._do(number, act)
        self.server.wait = lambda: None

    @rule(number=NUMBERS, seconds=st.integers(1, 9))
    def work(self, number: int, seconds: int) -> None:
        """One does all that it is to do, once a second; the others stand still."""
        for _ in range(seconds):
            for act in ("join", "renew", "claim"):
                self._do(number, act)
                self.one_may_send()
            self.server.now += 1

    def _do(self, number: int, act: str) -> None:
        process = self.processes[number]
        with suppress(UnavailableError):
            match act:
                case "renew":
                    process.renew()
                case "claim":
                    process.claim()
                case "give back":
                    process.give_back()
                case _ if process.term.time_left() <= 0:
                    process.acquire()

    @rule(number=NUMBERS, seconds=st.floats(0, 4))
    def find_target_slow(self, number: int, seconds: float) -> None:
        """One has a target that takes its time."""
        self.processes[number].term.note_request(seconds)

    @rule(number=NUMBERS)
    def end(self, number: int) -> None:
        """One ends in good order."""
        self.processes[number].end()

    @invariant()
    def one_may_send(self) -> None:
        """At any time it is one at most for each task."""
        for task in TASKS:
            may = [each.may_send(task) for each in getattr(self, "processes", [])]
            assert may.count(True) <= 1


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
