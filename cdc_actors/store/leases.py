"""The lease of the configured store."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cdc_actors.errors import OperatorError
from cdc_actors.store.file_lease import FileLease
from cdc_actors.store.ownership import Lease, StoreOwnedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.config.model import MetaStoreConfig


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
def held(lease: Lease) -> Iterator[None]:
    """Hold a lease while a command writes.

    Raises:
        OperatorError: Another process has it, most likely a service.
    """
    try:
        lease.acquire()
    except StoreOwnedError as error:
        lease.release()
        raise OperatorError(f"{error}: stop that service first") from error
    try:
        yield
    finally:
        lease.release()
