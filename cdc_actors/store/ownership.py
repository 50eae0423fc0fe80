"""Who owns a store: the one process that may write to it, and to its tasks' targets.

A lease is taken before anything is read of a store. In SQLite what holds it is the
operating system, until the process ends, however it ends. In PostgreSQL it ends by itself
unless it is renewed, so that an owner which was stopped, or cut off from the server, is
one no more. Whoever only reads needs none.
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
from cdc_actors.owned_time import OwnedTime

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        is_owner: Whether it has the store, and with it all tasks.
        silent_seconds: How long ago it was last heard of, by the store's clock.
        tasks: How many it had then; None before it knew, and of others than the owner.
        lag_seconds: The longest lag of these; None if it has none, or one is unknown.
    """

    process: Owner
    is_owner: bool
    silent_seconds: float = 0.0
    tasks: int | None = None
    lag_seconds: float | None = None


class StoreOwnedError(UnavailableError):
    """Another process has the store. The text says which, as far as that is known."""

    def __init__(self, owner: Owner | None) -> None:
        self.owner = owner
        super().__init__(f"the store belongs to {owner or 'another process'}")


class Lease(OwnedTime, Protocol):
    """The right to write to one store. One thread at a time uses what stands here."""

    @property
    def fence(self) -> Fence | None:
        """What the owner writes to the store under, if the store looks at that."""

    def acquire(self) -> float:
        """Take the lease, if it is free.

        Returns how many seconds are to be waited before anything is sent to a target:
        what a former owner sent, which may live, is to have come to its end.

        Raises:
            StoreOwnedError: Another process has it.
            UnavailableError: The store does not answer.
        """

    def check(self) -> None:
        """Prove that the lease is still ours.

        Raises:
            UnavailableError: It is lost, or may be: write nothing any more.
        """

    def note_tasks(self, tasks: int, lag_seconds: float | None) -> None:
        """Know how many tasks this process has, and the longest lag of them."""

    def nodes(self) -> Sequence[Node]:
        """Return the services on the store, its owner first. Any thread may ask.

        Raises:
            UnavailableError: The store does not answer.
        """

    def release(self) -> None:
        """Give the lease back: nothing is under way any more. Idempotent."""
