"""The lease of the configured store."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cdc_actors.errors import OperatorError
from cdc_actors.store.file_lease import FileLease
from cdc_actors.store.ownership import Lease, StoreOwnedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.config.model import MetaStoreConfig
    from cdc_actors.store.fence import Fence
    from cdc_actors.store.ownership import Owner

POLL_SECONDS = 0.2


def lease_of(store: MetaStoreConfig, node_url: str = "") -> Lease:
    """Return the lease of the configured store, not taken yet.

    Once it is, others are told that the owner's API is reached at ``node_url``.

    Raises:
        OperatorError: The URL cannot be read, or psycopg is not installed.
    """
    if store.store_type == "postgres":
        try:
            from cdc_actors.store.postgres_lease import PostgresLease  # noqa: PLC0415
        except ImportError as error:
            raise OperatorError(f"PostgreSQL needs psycopg ({error})") from error
        return PostgresLease(store.postgres.url, node_url)
    return FileLease(Path(store.sqlite.path), node_url)


@contextmanager
def opening(store: MetaStoreConfig, fence: Fence | None) -> Iterator[None]:
    """Let nobody else open a store of several services meanwhile; see ``postgres``."""
    if fence is None:
        yield
        return
    from cdc_actors.store import postgres  # noqa: PLC0415

    with postgres.opening(store.postgres.url, fence):
        yield


@contextmanager
def held(lease: Lease) -> Iterator[None]:
    """Hold a lease while a command writes.

    Waits for that of a process which was not heard of yet to end: it may be gone.

    Raises:
        OperatorError: Another process has it, most likely a service.
    """
    seen: dict[Owner | None, int | None] = {}
    try:
        while not _is_taken(lease, seen):
            time.sleep(POLL_SECONDS)
        yield
    finally:
        lease.release()


def _is_taken(lease: Lease, seen: dict[Owner | None, int | None]) -> bool:
    """Try to take a lease; ``seen`` are the renewals of those who are in the way."""
    try:
        lease.acquire(alone=True)
    except StoreOwnedError as error:
        before = seen.setdefault(error.owner, error.renewals)
        if error.renewals is None or error.renewals != before:
            raise OperatorError(f"{error}: stop that service first") from error
        return False
    return True
