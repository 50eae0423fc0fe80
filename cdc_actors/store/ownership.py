"""Who owns a store: the one process that may write to it, and to its tasks' targets.

A lease is taken before anything is read of a store, and held until the process ends,
however it ends: what holds it is the operating system (SQLite) or the database server
(PostgreSQL), never a time that somebody must renew. Whoever only reads needs none.
"""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from cdc_actors.errors import OperatorError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.config.model import MetaStoreConfig


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


def lease_of(store: MetaStoreConfig) -> Lease:
    """Return the lease of the configured store, not taken yet.

    Raises:
        OperatorError: The URL cannot be read, or psycopg is not installed.
    """
    if store.store_type == "postgres":
        try:
            from cdc_actors.store.postgres_lease import PostgresLease  # noqa: PLC0415
        except ImportError as error:
            raise OperatorError(f"PostgreSQL needs psycopg ({error})") from error
        return PostgresLease(store.postgres.url)
    return FileLease(Path(store.sqlite.path))


@contextmanager
def held(lease: Lease) -> Iterator[None]:
    """Hold a lease while a command writes.

    Raises:
        OperatorError: Another process has it, most likely a service.
    """
    try:
        lease.acquire()
    except StoreOwnedError as error:
        raise OperatorError(f"{error}: stop that service first") from error
    try:
        yield
    finally:
        lease.release()


class FileLease:
    """A lock on a file beside an SQLite database (``flock``), which names the owner.

    The kernel ends it with the process. The file stays: to remove it would let a second
    owner lock a new one.
    """

    grace = 0.0

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}.lock")
        self._file: int | None = None

    def acquire(self) -> None:
        """Lock the file; see ``Lease``."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise UnavailableError(
                f"the store's lock {self._path} cannot be used: {error.strerror}"
            ) from error
        try:
            self._lock(file)
        except BaseException:
            os.close(file)
            raise
        self._file = file

    def check(self) -> None:
        """Look whether the locked file is still the one at the path; see ``Lease``."""
        if self._file is None or not _is_at(self._file, self._path):
            raise UnavailableError(
                f"the store's lock {self._path} was deleted or replaced"
            )

    def release(self) -> None:
        """Close the file; see ``Lease``."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _lock(self, file: int) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreOwnedError(_owner_in(file)) from None
        if not _is_at(file, self._path):
            raise UnavailableError(f"the store's lock {self._path} was just replaced")
        os.ftruncate(file, 0)
        os.pwrite(file, msgspec.json.encode(Owner.this_process()), 0)


def _is_at(file: int, path: Path) -> bool:
    """Tell whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False


def _owner_in(file: int) -> Owner | None:
    try:
        return msgspec.json.decode(os.pread(file, 4096, 0), type=Owner)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
