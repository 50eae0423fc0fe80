"""Who may write to a store, and to its tasks' targets.

A lease is taken before anything is read of a store. In SQLite one process has it, with all
tasks; what holds it is the operating system, until the process ends, however it ends. In
PostgreSQL each service has one, and some of the tasks (``task_owners``); it ends by itself
unless it is renewed, so that a service which was stopped, or cut off from the server, has
it no more. Whoever only reads needs none.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from cdc_actors.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdc_actors.owned_time import OwnedTime
    from cdc_actors.store.fence import Fence


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that has a store; ``since`` is a time in ISO 8601.

    ``place`` tells the process from all others that ever were on its machine; it is empty
    where the system does not say. ``url`` is where others reach its API; it is empty where
    nobody has set that, and of older versions.
    """

    host: str
    pid: int
    since: str
    place: str = ""
    url: str = ""

    @classmethod
    def this_process(cls, url: str = "") -> Owner:
        """Return us, from now on; others reach our API at ``url``."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        pid = os.getpid()
        place = f"{_machine()} {_started(pid)}"
        return cls(socket.gethostname(), pid, now, place, url)

    @classmethod
    def parsed(cls, json: bytes | str) -> Owner | None:
        """Return who was written down, None where that is nobody, or cannot be read."""
        try:
            return msgspec.json.decode(json, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None

    @property
    def has_ended(self) -> bool:
        """Whether it surely lives no more: it was a process here, and there is none."""
        machine, _, started = self.place.rpartition(" ")
        if not (machine and started) or machine != _machine():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return _started(self.pid) not in {started, ""}

    def __str__(self) -> str:
        return f"process {self.pid} on host {self.host} since {self.since}"


def _machine() -> str:
    """Return what tells this boot of this machine, and this container, from others."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process began, in ticks since the boot; "dead" for one to be reaped.

    Empty where that cannot be seen. See proc(5), ``/proc/pid/stat``.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *others = stat.rpartition(")")[2].split()
    return "dead" if state in "ZX" else others[18]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One service on a store, as the others see it.

    Attributes:
        process: Which process it is, and where its API is reached.
        node_id: What people call it; empty where there can be one alone.
        drains: Whether it is to give its tasks to others.
        silent_seconds: How long ago it was last heard of, by the store's clock.
        tasks: How many it has; None where that is unknown.
        load: How much work they are, see ``task_owners``; None where that is unknown.
        lag_seconds: The longest lag of these; None if it has none, or one is unknown.
    """

    process: Owner
    node_id: str = ""
    drains: bool = False
    silent_seconds: float = 0.0
    tasks: int | None = None
    load: float | None = None
    lag_seconds: float | None = None


class StoreOwnedError(UnavailableError):
    """Another process has the store. The text says which, as far as that is known.

    ``renewals`` grow while it lives; None where it is sure that it does.
    """

    def __init__(self, owner: Owner | None, renewals: int | None = None) -> None:
        self.owner = owner
        self.renewals = renewals
        super().__init__(f"the store belongs to {owner or 'another process'}")


class Lease(Protocol):
    """The right to write to one store. One thread at a time uses what stands here."""

    @property
    def fence(self) -> Fence | None:
        """What is written to the store under, if the store looks at that."""

    @property
    def term(self) -> OwnedTime:
        """The time of the lease that was last taken, which is over once it is lost."""

    @property
    def others(self) -> Sequence[Owner]:
        """The other services on the store when the lease was last taken, or renewed."""

    def acquire(self, *, alone: bool = False) -> None:
        """Take the lease, if it is free; ``alone`` if nobody else is to have one.

        Raises:
            StoreOwnedError: Another process is in the way.
            UnavailableError: The store does not answer.
        """

    def check(self) -> None:
        """Prove that the lease is still ours.

        Raises:
            UnavailableError: It is lost, or may be: write nothing any more.
        """

    def note_tasks(self, tasks: int, lag_seconds: float | None, /) -> None:
        """Know how many tasks this process has, and the longest lag of them."""

    def nodes(self) -> Sequence[Node]:
        """Return the services on the store, its owner first. Any thread may ask.

        Raises:
            UnavailableError: The store does not answer.
        """

    def drain(self, node_id: str, *, drains: bool) -> bool:
        """Have a service give its tasks to others, or have tasks again.

        False if there is none of that id. Any thread may ask.

        Raises:
            UnavailableError: The store does not answer.
        """

    def release(self) -> None:
        """Give the lease back: nothing is under way any more. Idempotent."""
