"""Who owns the store works, who does not waits, and who lost it writes nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cdc_actors.errors import UnavailableError
from cdc_actors.service import tenure
from cdc_actors.service.tenure import Ownership
from cdc_actors.store.ownership import Owner, StoreOwnedError
from tests.support.cdc import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER = Owner("other-host", 4711, "2026-01-02T03:04:05+00:00")


class ScriptedLease:
    """A lease that is what a test says: ours, another's, or of a store that is away."""

    fence = None

    def __init__(self) -> None:
        self.error: Exception | None = None

    def acquire(self) -> None:
        """Take it, unless it is another's."""
        self.check()

    def check(self) -> None:
        """See whether it is another's."""
        if self.error is not None:
            raise self.error

    def release(self) -> None:
        """Nothing is held."""


class FakeTenure:
    """Notes what is done with it."""

    supervisor = SimpleNamespace(is_alive=lambda: True)
    stores = SimpleNamespace(owners=None)

    def __init__(self) -> None:
        self.done: list[str] = []

    def suspend(self, reason: str) -> None:
        """Write nothing any more."""
        self.done.append(f"suspended: {reason}")

    def end(self, _deadline: float) -> None:
        """End."""
        self.done.append("ended")


class Harness:
    """An ownership, its lease and its tenures."""

    def __init__(self) -> None:
        self.lease = ScriptedLease()
        self.tenures: list[FakeTenure] = []
        self.ownership = Ownership(self.lease, self._begin)

    def _begin(self) -> Any:
        self.tenures.append(FakeTenure())
        return self.tenures[-1]

    def refusal(self) -> str:
        """Return why requests are refused, an empty text if they are not."""
        try:
            _ = self.ownership.tenure
        except UnavailableError as error:
            return str(error)
        return ""


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
    """Yield an ownership that looks often."""
    monkeypatch.setattr(tenure, "POLL_SECONDS", 0.01)
    harness = Harness()
    yield harness
    harness.ownership.stop(0)


def test_who_does_not_get_the_lease_waits_and_takes_over(harness: Harness) -> None:
    """Meanwhile it lives, opens nothing, and each request is told who the owner is."""
    harness.lease.error = StoreOwnedError(OTHER)
    harness.ownership.start()
    assert "process 4711 on host other-host since 2026-01-02" in harness.refusal()
    assert harness.ownership.alive
    assert harness.ownership.other_owner("") is OTHER
    assert harness.tenures == []
    harness.lease.error = None
    wait_until(lambda: len(harness.tenures) == 1, "it takes over")
    assert harness.ownership.other_owner("") is None
    wait_until(lambda: harness.refusal() == "", "requests are answered")


def test_who_loses_the_lease_writes_nothing_and_begins_anew(harness: Harness) -> None:
    """What was known is shown while the store is away, and then read from it again."""
    harness.ownership.start()
    (first,) = harness.tenures
    harness.lease.error = UnavailableError("the server is away")
    wait_until(lambda: first.done != [], "it is noticed")
    assert first.done == ["suspended: the server is away"]
    assert harness.ownership.other_owner("") is None
    assert harness.ownership.tenure is first
    harness.lease.error = None
    wait_until(lambda: len(harness.tenures) == 2, "it begins anew")
    assert first.done[1:] == ["ended"]
    wait_until(lambda: harness.refusal() == "", "requests are answered")
    assert harness.tenures[1].done == []


def test_what_was_known_is_forgotten_once_another_is_the_owner(
    harness: Harness,
) -> None:
    """A task may be another by now: requests are told whom to ask."""
    harness.ownership.start()
    (first,) = harness.tenures
    harness.lease.error = UnavailableError("the server is away")
    wait_until(lambda: first.done != [], "it is noticed")
    harness.lease.error = StoreOwnedError(OTHER)
    wait_until(lambda: "process 4711" in harness.refusal(), "it is told")
    assert harness.ownership.other_owner("") is OTHER
    wait_until(lambda: first.done[1:] == ["ended"], "its work is ended")


def test_a_store_that_cannot_be_opened_is_tried_again(harness: Harness) -> None:
    """At the start it is an error of the command; later the service waits for it."""
    harness.lease.error = StoreOwnedError(OTHER)
    harness.ownership.start()
    harness.lease.error = UnavailableError("the disk is full")
    wait_until(lambda: harness.refusal() == "the disk is full", "it is told")
    assert harness.ownership.other_owner("") is None
    harness.lease.error = None
    wait_until(lambda: harness.refusal() == "", "it takes over")


def test_a_store_that_is_away_at_the_start_is_an_error() -> None:
    """The command says why and ends; nobody waits for a misspelt address."""
    harness = Harness()
    harness.lease.error = UnavailableError("no such host")
    with pytest.raises(UnavailableError, match="no such host"):
        harness.ownership.start()
    harness.ownership.stop(0)
