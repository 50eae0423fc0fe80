"""A store has one owner at a time, on both databases, if that is to be alone.

In SQLite it always is. In PostgreSQL services share a store; see ``test_postgres_lease``.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from cdc_actors.config.model import MetaStoreConfig, Postgres, Sqlite
from cdc_actors.errors import OperatorError, UnavailableError
from cdc_actors.store.leases import held, lease_of
from cdc_actors.store.ownership import Lease, Owner, StoreOwnedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOLD = """
import sys, msgspec
from cdc_actors.config.model import MetaStoreConfig
from cdc_actors.store.leases import lease_of
lease = lease_of(msgspec.json.decode(sys.argv[1], type=MetaStoreConfig))
lease.acquire(alone=True)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> MetaStoreConfig:
    """Return the configuration of an empty store."""
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
        return MetaStoreConfig(store_type="postgres", postgres=Postgres(url=url))
    return MetaStoreConfig(sqlite=Sqlite(path=str(tmp_path / "cdc.db")))


@pytest.fixture
def lease(store: MetaStoreConfig) -> Iterator[Lease]:
    """Yield the lease of the store, given back in the end."""
    lease = lease_of(store)
    yield lease
    lease.release()


def test_only_one_has_it(store: MetaStoreConfig, lease: Lease) -> None:
    """The second is told who the first is, and gets the lease once that gives it back."""
    other = lease_of(store)
    lease.acquire(alone=True)
    lease.check()
    with pytest.raises(StoreOwnedError) as refused:
        other.acquire(alone=True)
    owner = f"process {os.getpid()} on host {socket.gethostname()[:20]}"
    assert owner in str(refused.value)
    with pytest.raises(UnavailableError):
        other.check()
    lease.release()
    other.acquire(alone=True)
    other.check()
    other.release()


def test_others_are_told_where_the_owner_is_reached(store: MetaStoreConfig) -> None:
    """Whoever waits knows its URL, which it may pass requests on to."""
    url = f"http://{'a' * 250}:8444"
    lease, other = lease_of(store, url), lease_of(store)
    lease.acquire(alone=True)
    with pytest.raises(StoreOwnedError) as refused:
        other.acquire(alone=True)
    assert refused.value.owner is not None
    assert refused.value.owner.url == url
    lease.release()
    other.acquire(alone=True)
    with pytest.raises(StoreOwnedError) as refused:
        lease.acquire(alone=True)
    assert refused.value.owner is not None
    assert refused.value.owner.url == ""
    other.release()
    lease.release()


def test_owners_of_other_versions_are_read() -> None:
    """An older one has written less than this one knows, a newer one may write more."""
    older = {"host": "h", "pid": 1, "since": "s", "place": ""}
    assert Owner.parsed(msgspec.json.encode(older)) == Owner("h", 1, "s")
    newer = older | {"url": "http://h:1", "more": ["x"]}
    known = Owner("h", 1, "s", url="http://h:1")
    assert Owner.parsed(msgspec.json.encode(newer)) == known


def test_a_command_that_writes_refuses(store: MetaStoreConfig, lease: Lease) -> None:
    """While a service owns the store it says which to stop; else it holds the lease."""
    lease.acquire()
    with (
        pytest.raises(OperatorError, match="stop that service first"),
        held(lease_of(store)),
    ):
        pass
    lease.release()
    with held(lease_of(store)), pytest.raises(StoreOwnedError):
        lease.acquire()
    lease.acquire()


def test_a_killed_process_has_it_no_more(store: MetaStoreConfig, lease: Lease) -> None:
    """SIGKILL frees the lease at once, without anybody who tidies up."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, msgspec.json.encode(store)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(StoreOwnedError, match=f"process {process.pid} "):
            lease.acquire(alone=True)
        process.kill()
        process.wait()
        lease.acquire(alone=True)
        lease.check()


def test_a_lock_file_that_was_replaced_is_a_lost_lease(tmp_path: Path) -> None:
    """Somebody else may hold the lock of the new one."""
    store = MetaStoreConfig(sqlite=Sqlite(path=str(tmp_path / "cdc.db")))
    lease, other = lease_of(store), lease_of(store)
    lease.acquire()
    (tmp_path / "cdc.db.lock").unlink()
    with pytest.raises(UnavailableError, match="deleted or replaced"):
        lease.check()
    other.acquire()
    with pytest.raises(StoreOwnedError):
        lease.acquire()
    lease.release()
    other.release()


def test_who_has_a_file_is_the_only_service_on_it(tmp_path: Path) -> None:
    """Others are told who that is, and not of its tasks; nobody could work for it."""
    store = MetaStoreConfig(sqlite=Sqlite(path=str(tmp_path / "cdc.db")))
    lease, other = lease_of(store, "http://a:1"), lease_of(store, "http://b:2")

    def shown(lease: Lease) -> list[tuple[str, str, int | None, float | None]]:
        return [
            (each.node_id, each.process.url, each.tasks, each.lag_seconds)
            for each in lease.nodes()
        ]

    assert shown(other) == []
    lease.acquire()
    lease.note_tasks(3, 0.5)
    assert shown(lease) == [("", "http://a:1", 3, 0.5)]
    assert shown(other) == [("", "http://a:1", None, None)]
    assert not lease.drain("", drains=True)
    lease.release()
