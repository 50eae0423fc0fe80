"""A lease in PostgreSQL ends by itself, and who lost it writes nothing; a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from cdc_actors.errors import UnavailableError
from cdc_actors.store.event_log import TaskLog, postgres_database
from cdc_actors.store.ownership import Owner, StoreOwnedError
from cdc_actors.store.postgres_lease import REQUEST_SECONDS, PostgresLease
from tests.support.cdc import wait_until
from tests.support.leases import wait_renewed
from tests.support.postgres import postgres_server, postgres_url  # noqa: F401
from tests.support.tasks import new_task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgres import PostgresServer

HOLD = """
import json, sys
from cdc_actors.errors import UnavailableError
from cdc_actors.store.event_log import postgres_database
from cdc_actors.store.postgres_lease import PostgresLease

def refusal(act):
    try:
        act()
    except UnavailableError as error:
        return str(error)

lease = PostgresLease(sys.argv[1])
lease.acquire()
database = postgres_database(sys.argv[1], lease.fence)
database.write("CREATE TABLE {checkpoints} (id INTEGER)")
print("held", flush=True)
sys.stdin.readline()
left = lease.time_left() > 0
write = refusal(lambda: database.write("INSERT INTO {checkpoints} VALUES (1)"))
while (check := refusal(lease.check)) is None or "belongs" not in check:
    pass
print(json.dumps({"time_left": left, "check": check, "write": write}), flush=True)
"""


@pytest.fixture
def lease(postgres_url: str) -> Iterator[PostgresLease]:  # noqa: F811
    """Yield the lease of an empty store, given back in the end."""
    lease = PostgresLease(postgres_url)
    yield lease
    lease.release()


@pytest.fixture
def other(postgres_url: str) -> Iterator[PostgresLease]:  # noqa: F811
    """Yield another's lease of that store."""
    lease = PostgresLease(postgres_url)
    yield lease
    lease.release()


@contextmanager
def holder(url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that owns a store."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLD, url], **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def acquire_soon(lease: PostgresLease) -> float:
    """Take a lease once it has ended; return what ``acquire`` did."""
    waits: list[float] = []

    def acquired() -> bool:
        try:
            waits.append(lease.acquire())
        except StoreOwnedError:
            return False
        return True

    wait_until(acquired, "the lease has ended")
    return waits[0]


def run(url: str, statement: str) -> None:
    """Run a statement in a store's schema."""
    with psycopg.connect(url.partition("?")[0], autocommit=True) as session:
        session.execute(statement.format(schema=url.rpartition("schema=")[2]).encode())


def test_a_session_that_ended_is_no_lost_lease(
    postgres_server: PostgresServer,  # noqa: F811
    lease: PostgresLease,
    other: PostgresLease,
) -> None:
    """The owner renews its lease by another one, and nobody else gets it meanwhile."""
    lease.acquire()
    with postgres_server.connect() as session:
        session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name LIKE 'cdc-actors%'"
        )
    with pytest.raises(StoreOwnedError):
        other.acquire()
    wait_renewed(lease)
    lease.check()


def test_an_owner_that_stood_still_is_none_when_it_goes_on(
    postgres_url: str,  # noqa: F811
    lease: PostgresLease,
) -> None:
    """Another waits for its lease, and its requests, to end; what it writes is refused."""
    with holder(postgres_url) as process:
        os.kill(process.pid, signal.SIGSTOP)
        assert acquire_soon(lease) == REQUEST_SECONDS
        assert lease.fence is not None
        assert lease.fence.number == 2
        os.kill(process.pid, signal.SIGCONT)
        *_, told = process.communicate(b"\n")[0].splitlines()
    us = Owner.this_process()
    assert json.loads(told)["check"].startswith(
        f"the store belongs to process {us.pid}"
    )
    assert json.loads(told)["time_left"] is False
    assert json.loads(told)["write"] == "the store belongs to another process by now"


def test_a_slow_target_makes_the_lease_longer(lease: PostgresLease) -> None:
    """A request for rows has time to be answered, up to a minute."""
    lease.acquire()
    lease.note_request(4)
    wait_until(lambda: lease.time_left() > 14, "it was renewed for longer")
    lease.note_request(400)
    wait_until(lambda: lease.time_left() > 50, "it was renewed for longer")
    assert lease.time_left() < 60


def test_events_of_a_former_owner_are_refused(
    postgres_url: str,  # noqa: F811
    lease: PostgresLease,
) -> None:
    """The log has none of them, and it has those of the owner."""
    lease.acquire()
    with closing(TaskLog.postgres(postgres_url, lease.fence)) as log:
        log.save(new_task())
        lease.release()
        lease.acquire()
        with pytest.raises(UnavailableError, match="another process by now"):
            log.save(new_task())
        assert len(log.alive_ids()) == 1
    with closing(TaskLog.postgres(postgres_url, lease.fence)) as log:
        log.save(new_task())
        assert len(log.alive_ids()) == 2


def test_nobody_becomes_the_owner_between_a_write_and_its_commit(
    postgres_server: PostgresServer,  # noqa: F811
    postgres_url: str,  # noqa: F811
    lease: PostgresLease,
    other: PostgresLease,
) -> None:
    """Who wants to waits for the transaction; the owner's renewals do not."""
    lease.acquire()
    taking = threading.Thread(target=other.acquire)

    def waits() -> bool:
        with postgres_server.connect() as session:
            query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            (count,) = session.execute(query).fetchone() or (0,)
        return bool(count)

    with closing(postgres_database(postgres_url, lease.fence)) as database:
        with database.datastore.transaction(commit=True):
            wait_renewed(lease)
            run(postgres_url, "UPDATE {schema}.store_owner SET given_back = TRUE")
            taking.start()
            wait_until(waits, "the other waits")
            assert other.fence is None
        taking.join()
    assert other.fence is not None


def test_a_number_that_came_twice_is_told_apart(
    postgres_url: str,  # noqa: F811
    lease: PostgresLease,
) -> None:
    """A server that failed over may have lost what made one the owner."""
    lease.acquire()
    with closing(postgres_database(postgres_url, lease.fence)) as database:
        run(postgres_url, "UPDATE {schema}.store_owner SET token = 'of another'")
        with pytest.raises(UnavailableError, match="another process by now"):
            database.write("CREATE TABLE {checkpoints} (id INTEGER)")
    wait_until(lambda: lease.time_left() <= 0, "it is known to be lost")
    with pytest.raises(StoreOwnedError):
        lease.check()


def test_a_server_that_is_away_ends_the_lease_in_time(
    postgres_server: PostgresServer,  # noqa: F811
    lease: PostgresLease,
) -> None:
    """Until then it is held; once the server is back it is renewed, if nobody came."""
    lease.acquire()
    postgres_server.stop()
    lease.check()
    wait_until(lambda: lease.time_left() <= 0, "the lease has ended")
    with pytest.raises(UnavailableError, match=r"could not be renewed.*cannot answer"):
        lease.check()
    postgres_server.start()
    wait_until(lambda: lease.time_left() > 0, "it is renewed")
    lease.check()


def test_services_of_an_older_version_are_seen_and_kept_out(
    postgres_server: PostgresServer,  # noqa: F811
    postgres_url: str,  # noqa: F811
    lease: PostgresLease,
) -> None:
    """They know of an advisory lock alone, and are known by the name of its session."""
    class_id = int.from_bytes(b"CDCA", "big")
    lock = [class_id, postgres_url.rpartition("schema=")[2]]
    with postgres_server.connect() as older:
        older.execute(
            "SET application_name = 'cdc-actors 12 2026-01-01T00:00:00+00:00 a'"
        )
        older.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", lock)
        with pytest.raises(StoreOwnedError, match="process 12 on host a since 2026"):
            lease.acquire()
        older.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", lock)
        lease.acquire()
        tried = "SELECT pg_try_advisory_lock(%s, hashtext(%s))"
        assert older.execute(tried, lock).fetchone() == (False,)


def test_two_that_begin_in_one_moment_are_one_owner(postgres_url: str) -> None:  # noqa: F811
    """Of eight that find no table at all one becomes the owner, and the rest are told."""
    leases = [PostgresLease(postgres_url) for _ in range(8)]
    outcomes: list[str] = []

    def acquire(lease: PostgresLease) -> None:
        try:
            lease.acquire()
        except StoreOwnedError as error:
            outcomes.append(str(error))
        else:
            outcomes.append("owner")

    threads = [threading.Thread(target=acquire, args=[each]) for each in leases]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for each in leases:
        each.release()
    assert outcomes.count("owner") == 1
    assert len(outcomes) == 8
