"""Who owns a store in SQLite."""

from __future__ import annotations

import fcntl
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from cdc_actors.errors import UnavailableError
from cdc_actors.owned_time import FOREVER
from cdc_actors.store.ownership import Node, Owner, StoreOwnedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class FileLease:
    """A lock on a file beside an SQLite database (``flock``), which names the owner.

    The kernel ends it with the process. The file stays: to remove it would let a second
    owner lock a new one.
    """

    def __init__(self, database: Path, node_url: str = "") -> None:
        self._path = database.with_name(f"{database.name}.lock")
        self._node_url = node_url
        self._file: int | None = None
        self._tasks: dict[str, Any] = {}

    fence = None
    term = FOREVER
    others = ()

    def acquire(self, *, alone: bool = True) -> None:  # noqa: ARG002 - it always is
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

    def note_tasks(self, tasks: int, lag_seconds: float | None, /) -> None:
        """Know them for ``nodes``; see ``Lease``."""
        self._tasks = {"tasks": tasks, "lag_seconds": lag_seconds}

    def nodes(self) -> Sequence[Node]:
        """Return the owner alone: nobody is told of who waits; see ``Lease``."""
        try:
            owner = Owner.parsed(self._path.read_bytes())
        except OSError:
            return []
        if owner is None:
            return []
        node = Node(process=owner)
        return [replace(node, **self._tasks) if self._file is not None else node]

    def drain(self, node_id: str, *, drains: bool) -> bool:  # noqa: ARG002
        """Know of no service that others could work for; see ``Lease``."""
        return False

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
            raise StoreOwnedError(Owner.parsed(os.pread(file, 4096, 0))) from None
        if not _is_at(file, self._path):
            raise UnavailableError(f"the store's lock {self._path} was just replaced")
        os.ftruncate(file, 0)
        os.pwrite(file, msgspec.json.encode(Owner.this_process(self._node_url)), 0)


def _is_at(file: int, path: Path) -> bool:
    """Tell whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False
