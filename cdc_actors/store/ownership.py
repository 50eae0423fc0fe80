"""Who owns a store: the one process that may write to it, and to its tasks' targets.

A lease is taken before anything is read of a store, and held until the process ends,
however it ends: what holds it is the operating system (SQLite) or the database server
(PostgreSQL), never a time that somebody must renew. Whoever only reads needs none.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from cdc_actors.errors import UnavailableError


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that has a store; ``since`` is a time in ISO 8601."""

    host: str
    pid: int
    since: str

    @classmethod
    def this_process(cls) -> Owner:
        """Return us, from now on."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(socket.gethostname(), os.getpid(), now)

    def __str__(self) -> str:
        return f"process {self.pid} on host {self.host} since {self.since}"


class StoreOwnedError(UnavailableError):
    """Another process has the store. The text says which, as far as that is known."""

    def __init__(self, owner: Owner | None) -> None:
        super().__init__(f"the store belongs to {owner or 'another process'}")


class Lease(Protocol):
    """The right to write to one store. One thread at a time uses it."""

    grace: float
    """Seconds in which a former owner that lives may still find out that it is none."""

    def acquire(self) -> None:
        """Take the lease, if it is free.

        Raises:
            StoreOwnedError: Another process has it.
            UnavailableError: The store does not answer.
        """

    def check(self) -> None:
        """Prove that the lease is still ours.

        Raises:
            UnavailableError: It is lost, or may be: write nothing any more.
        """

    def release(self) -> None:
        """Give the lease back. Idempotent."""
