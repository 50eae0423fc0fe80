"""Never two owners that may send, whatever stands still, and in whatever order."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cdc_actors.errors import UnavailableError
from cdc_actors.service.tenure import POLL_SECONDS
from cdc_actors.store import postgres_lease
from cdc_actors.store.fence import Fence
from cdc_actors.store.owner_row import OwnerRow
from cdc_actors.store.postgres_lease import PostgresLease

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.store.ownership import Owner

    Steps = list[tuple[float, int, str]]

NUMBERS = st.integers(0, 2)
SECONDS = st.sampled_from([0.0, 0.1, 0.4, 1.0, 3.0, 4.5, 5.5, 8.0])
ACTS = st.sampled_from(["renew", "acquire"])
STEPS = st.lists(st.tuples(SECONDS, NUMBERS, ACTS), max_size=4)
"""What others do, each after some seconds."""


class Server:
    """The row of a server; requests and answers take as long as they are told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.row = OwnerRow()
        self.wait: Callable[[], None] = lambda: None

    def read(self, _session: Any, _schema: str) -> OwnerRow:
        """As ``owner_row.read``."""
        return self._after_a_while(lambda: self.row)

    def claim(
        self,
        _session: Any,
        schema: str,
        before: OwnerRow,
        _us: Owner,
        token: str,
        seconds: float,
    ) -> Fence | None:
        """As ``owner_row.claim``."""

        def act() -> Fence | None:
            row = self.row
            if (row.number, row.renewals) != (before.number, before.renewals):
                return None
            number = row.number + 1
            self.row = OwnerRow(number, token, None, row.renewals + 1, seconds, False)
            return Fence(schema, number, token)

        return self._after_a_while(act)

    def renew(self, _session: Any, fence: Fence, seconds: float) -> bool:
        """As ``owner_row.renew``."""

        def act() -> bool:
            is_same = (self.row.number, self.row.token) == (fence.number, fence.token)
            if is_same:
                renewals = self.row.renewals + 1
                self.row = replace(self.row, renewals=renewals, seconds=seconds)
            return is_same

        return self._after_a_while(act)

    def give_back(self, _session: Any, fence: Fence) -> None:
        """As ``owner_row.give_back``."""
        if (self.row.number, self.row.token) == (fence.number, fence.token):
            self.row = replace(self.row, is_gone=True)

    def _after_a_while(self, act: Callable[[], Any]) -> Any:
        self.wait()
        done = act()
        self.wait()
        return done


class Process(PostgresLease):
    """A lease whose renewals are made when a test says so."""

    def __init__(self) -> None:
        super().__init__("postgresql://nobody@nowhere/store")

    def renew(self) -> None:
        """Do what the thread does once a second, for as long as it lives."""
        if self.fence is not None and self._lost is None:
            self._renew()

    def _connected(self) -> Any:
        return SimpleNamespace(execute=lambda *_: None, transaction=nullcontext)

    def _begin_renewal(self) -> None:
        pass

    def _refuse_older_version(self, _session: Any) -> None:
        pass

    def _disconnect(self) -> None:
        pass


class Leases(RuleBasedStateMachine):
    """Three processes on one store."""

    @initialize()
    def begin(self) -> None:
        """Nobody owns it."""
        self.server = Server()
        self.processes = [Process() for _ in range(3)]
        self.before = postgres_lease.owner_row, postgres_lease._now
        postgres_lease.owner_row = self.server  # type: ignore[assignment]
        postgres_lease._now = lambda: self.server.now

    def teardown(self) -> None:
        """Put back what the module had."""
        if hasattr(self, "before"):
            postgres_lease.owner_row, postgres_lease._now = self.before

    @rule(seconds=SECONDS)
    def stand_still(self, seconds: float) -> None:
        """Time passes; nobody does anything: all are stopped, or just not at it."""
        self.server.now += seconds

    @rule(number=NUMBERS, act=ACTS, before=STEPS, after=STEPS)
    def act(self, number: int, act: str, before: Steps, after: Steps) -> None:
        """One renews its lease or wants one; others act before and after the server."""
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

    @rule(number=NUMBERS, polls=st.integers(1, 20))
    def wait(self, number: int, polls: int) -> None:
        """One that is not the owner wants to be, and looks twice a second."""
        for _ in range(polls):
            self._do(number, "acquire")
            self.one_may_send()
            self.server.now += POLL_SECONDS

    def _do(self, number: int, act: str) -> None:
        process = self.processes[number]
        if act == "renew":
            process.renew()
        elif process.time_left() <= 0:
            with suppress(UnavailableError):
                process.acquire()

    @rule(number=NUMBERS, seconds=st.floats(0, 4))
    def find_target_slow(self, number: int, seconds: float) -> None:
        """One has a target that takes its time."""
        self.processes[number].note_request(seconds)

    @rule(number=NUMBERS)
    def end(self, number: int) -> None:
        """One ends in good order."""
        self.processes[number].release()

    @invariant()
    def one_may_send(self) -> None:
        """At any time it is one at most."""
        left = [each.time_left() > 0 for each in getattr(self, "processes", [])]
        assert left.count(True) <= 1


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
