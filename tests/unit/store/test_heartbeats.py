"""Which services there are on a store, as each of them is told; a real PostgreSQL."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from cdc_actors.errors import UnavailableError
from cdc_actors.store import heartbeats
from cdc_actors.store.file_lease import FileLease
from cdc_actors.store.ownership import StoreOwnedError
from cdc_actors.store.postgres_lease import PostgresLease
from tests.support.cdc import wait_until
from tests.support.leases import wait_renewed
from tests.support.postgres import postgres_server, postgres_url  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cdc_actors.store.ownership import Lease
    from tests.support.postgres import PostgresServer

OWNER, WAITING = "http://a:1", "http://b:2"


@pytest.fixture
def leases(
    postgres_url: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[PostgresLease, PostgresLease]]:
    """Yield the lease of an owner and that of one who waits, heard of often."""
    monkeypatch.setattr(heartbeats, "HEARTBEAT_SECONDS", 0.1)
    owner, waiting = (PostgresLease(postgres_url, each) for each in (OWNER, WAITING))
    owner.acquire()
    try_to_have(waiting)
    yield owner, waiting
    for each in (owner, waiting):
        each.release()


def try_to_have(lease: Lease) -> None:
    """Ask for a lease once more, as who waits does twice a second."""
    with suppress(StoreOwnedError):
        lease.acquire()


def shown(lease: Lease) -> list[tuple[str, bool, int | None, float | None]]:
    """Return what one is told of all."""
    return [
        (each.process.url, each.is_owner, each.tasks, each.lag_seconds)
        for each in lease.nodes()
    ]


def test_all_are_known_to_each(leases: tuple[PostgresLease, PostgresLease]) -> None:
    """The owner comes first; of who waits there are no tasks, whatever it had before."""
    owner, waiting = leases
    expected = [(OWNER, True, None, None), (WAITING, False, None, None)]
    assert shown(owner) == shown(waiting) == expected
    waiting.note_tasks(7, 1.0)
    owner.note_tasks(3, 0.5)
    expected = [(OWNER, True, 3, 0.5), (WAITING, False, None, None)]

    def is_told() -> bool:
        try_to_have(waiting)
        return shown(waiting) == expected

    wait_until(is_told, "the owner has told of its tasks")
    assert {each.process.pid for each in waiting.nodes()} == {os.getpid()}


def test_who_ends_is_there_no_more(
    leases: tuple[PostgresLease, PostgresLease],
) -> None:
    """Be it the owner or not; who takes over is the owner then."""
    owner, waiting = leases
    owner.release()
    assert shown(waiting) == [(WAITING, False, None, None)]
    waiting.acquire()
    assert shown(waiting) == [(WAITING, True, None, None)]
    waiting.release()
    assert shown(waiting) == []


def test_how_long_one_is_silent(
    leases: tuple[PostgresLease, PostgresLease],
    postgres_server: PostgresServer,  # noqa: F811
    postgres_url: str,  # noqa: F811
) -> None:
    """By the clock of the server; after a day it is forgotten by the next that comes."""
    owner, _ = leases
    schema = postgres_url.rpartition("schema=")[2]
    made_older = (
        f"UPDATE {schema}.store_nodes SET heard = heard - INTERVAL '23 hours' "  # noqa: S608
        f"WHERE node LIKE '%{WAITING}%'"
    )
    with postgres_server.connect() as session:
        for seconds, number in ((82_800, 3), (165_600, 2)):
            session.execute(made_older.encode())
            [silent] = [each for each in owner.nodes() if each.process.url == WAITING]
            assert seconds <= silent.silent_seconds < seconds + 60
            another = PostgresLease(postgres_url)
            try_to_have(another)
            assert len(owner.nodes()) == number
            another.release()


def test_a_table_that_cannot_be_used_keeps_nobody_from_the_lease(
    leases: tuple[PostgresLease, PostgresLease],
    postgres_server: PostgresServer,  # noqa: F811
    postgres_url: str,  # noqa: F811
) -> None:
    """The owner stays the owner while nothing can be said, be the table there or not."""
    owner, waiting = leases
    table = f"{postgres_url.rpartition('schema=')[2]}.store_nodes"
    with postgres_server.connect() as session:
        with session.transaction():
            session.execute(f"LOCK TABLE {table}".encode())
            for _ in range(3):
                wait_renewed(owner)
            with pytest.raises(StoreOwnedError):
                waiting.acquire()
        session.execute(f"DROP TABLE {table}".encode())
    wait_renewed(owner)
    owner.check()
    assert shown(owner) == []


def test_a_server_that_is_gone_is_said(
    leases: tuple[PostgresLease, PostgresLease],
    postgres_server: PostgresServer,  # noqa: F811
) -> None:
    """In its words; nothing is told then."""
    postgres_server.kill()
    with pytest.raises(UnavailableError, match="the event log cannot answer"):
        leases[0].nodes()
    postgres_server.start()


def test_in_sqlite_there_is_the_owner(tmp_path: Path) -> None:
    """Who waits is told who it is, and nothing of its tasks."""
    owner, waiting = (FileLease(tmp_path / "cdc.db", each) for each in (OWNER, WAITING))
    assert shown(waiting) == []
    owner.acquire()
    owner.note_tasks(3, None)
    assert shown(owner) == [(OWNER, True, 3, None)]
    assert shown(waiting) == [(OWNER, True, None, None)]
    owner.release()
