"""A lease in PostgreSQL ends by itself, and who lost it writes nothing; a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from cdc_actors.errors import UnavailableError
from cdc_actors.store import postgres_lease
from cdc_actors.store.event_log import TaskLog, postgres_database
from cdc_actors.store.leases import held
from cdc_actors.store.ownership import StoreOwnedError
from cdc_actors.store.postgres import opening
from cdc_actors.store.postgres_lease import MARGIN_SECONDS, PostgresLease
from cdc_actors.store.task_owners import Claimed, TaskOwners
from tests.support.cdc import wait_until
from tests.support.leases import wait_renewed
from tests.support.tasks import new_task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.postgres import PostgresServer

HOLD = """
import json, sys
from cdc_actors.errors import UnavailableError
from cdc_actors.store.checkpoints import Checkpoints
from cdc_actors.store.event_log import TaskLog
from cdc_actors.store.postgres_lease import PostgresLease
from cdc_actors.store.task_owners import TaskOwners
from tests.support.tasks import checkpoint, new_task

def refusal(act):
    try:
        act()
    except UnavailableError as error:
        return str(error)

lease = PostgresLease(sys.argv[1])
lease.acquire()
log = TaskLog.postgres(sys.argv[1], lease.fence)
checkpoints = Checkpoints(log)
task = new_task()
log.save(task)
print(task.task_id, flush=True)
sys.stdin.readline()
said = {
    "left": lease.term.time_left() > 0,
    "create": refusal(lambda: log.save(new_task())),
    "write": refusal(lambda: checkpoints.save(task.task_id, [checkpoint()])),
    "claim": refusal(lambda: TaskOwners(log.database, lease.fence.token).claim(9)),
}
while "has ended the lease" not in (refusal(lease.check) or ""):
    pass
print(json.dumps(said | {"left at last": lease.term.time_left() > 0}), flush=True)
"""
LOST = "this service has lost its lease of the store"


@pytest.fixture
def lease(postgres_url: str) -> Iterator[PostgresLease]:
    """Yield the lease of a service on an empty store, given back in the end."""
    lease = PostgresLease(postgres_url, "http://one:1")
    yield lease
    lease.release()


@pytest.fixture
def other(postgres_url: str) -> Iterator[PostgresLease]:
    """Yield another's lease of that store."""
    lease = PostgresLease(postgres_url, "http://two:2")
    yield lease
    lease.release()


@contextmanager
def member(url: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a process that has joined, and created a task."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLD, url], **pipes) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().decode().strip()
        process.kill()


@contextmanager
def owners_of(url: str, lease: PostgresLease) -> Iterator[TaskOwners]:
    """Yield what says which tasks a service has."""
    assert lease.fence is not None
    with closing(TaskLog.postgres(url, lease.fence)) as log:
        yield TaskOwners(log.database, lease.fence.token)


def run(url: str, statement: str) -> None:
    """Run a statement in a store's schema."""
    with psycopg.connect(url.partition("?")[0], autocommit=True) as session:
        session.execute(statement.format(schema=url.rpartition("schema=")[2]).encode())


def urls(lease: PostgresLease) -> list[str]:
    """Return where the services are that one is told of."""
    return sorted(each.process.url for each in lease.nodes())


def refusal(lease: PostgresLease) -> str:
    """Return why nothing is to be written under a lease."""
    try:
        lease.check()
    except UnavailableError as error:
        return str(error)
    return ""


def waits_for_lock(server: PostgresServer) -> Callable[[], bool]:
    """Return what tells whether a session waits for another's lock."""

    def waits() -> bool:
        with server.connect() as session:
            query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            (count,) = session.execute(query).fetchone() or (0,)
        return bool(count)

    return waits


def test_two_join_side_by_side(lease: PostgresLease, other: PostgresLease) -> None:
    """Each knows of both, until one gives its lease back; then that may join again."""
    lease.acquire()
    lease.note_tasks(3, 1.5)
    other.acquire()
    wait_renewed(lease)
    wait_renewed(other)
    assert urls(lease) == urls(other) == ["http://one:1", "http://two:2"]
    lags = {each.process.url: each.lag_seconds for each in other.nodes()}
    assert lags == {"http://one:1": 1.5, "http://two:2": None}
    wait_renewed(lease)
    assert [each.url for each in (*lease.others, *other.others)] == [
        "http://two:2",
        "http://one:1",
    ]
    former = other.term
    other.release()
    assert urls(lease) == ["http://one:1"]
    other.acquire()
    assert former.time_left() <= 0 < other.term.time_left()
    assert urls(other) == ["http://one:1", "http://two:2"]
    lease.check()


def test_one_that_stood_still_writes_nothing_when_it_goes_on(
    postgres_url: str,
    lease: PostgresLease,
) -> None:
    """Another has ended its lease, and has its task, of which rows may be under way."""
    lease.acquire()
    with member(postgres_url) as (process, task_id):
        os.kill(process.pid, signal.SIGSTOP)
        wait_until(lambda: urls(lease) == ["http://one:1"], "its lease is ended")
        with owners_of(postgres_url, lease) as owners:
            assert owners.claim(9) == [Claimed(task_id, was_left=True)]
            os.kill(process.pid, signal.SIGCONT)
            told = json.loads(process.communicate(b"\n")[0].splitlines()[-1])
            assert owners.ours() == [task_id]
    assert (told["left"], told["left at last"]) == (False, False)
    assert LOST in told["create"]
    assert LOST in told["write"]
    assert LOST in told["claim"]


def test_one_that_was_killed_on_this_machine_has_no_tasks_at_once(
    postgres_url: str,
    lease: PostgresLease,
) -> None:
    """Nothing of a process that has ended is under way: nobody waits for its lease."""
    with member(postgres_url) as (process, task_id):
        process.kill()
        process.wait()
        lease.acquire()
        assert urls(lease) == ["http://one:1"]
        with owners_of(postgres_url, lease) as owners:
            assert owners.claim(9) == [Claimed(task_id)]


def test_a_session_that_ended_is_no_lost_lease(
    postgres_server: PostgresServer,
    lease: PostgresLease,
    other: PostgresLease,
) -> None:
    """The service renews its lease by another one, and nobody has ended it meanwhile."""
    lease.acquire()
    with postgres_server.connect() as session:
        session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name LIKE 'cdc-actors%'"
        )
    other.acquire()
    wait_renewed(lease)
    wait_renewed(lease)
    lease.check()
    assert urls(other) == ["http://one:1", "http://two:2"]


def test_a_slow_target_makes_the_lease_longer(
    lease: PostgresLease, other: PostgresLease
) -> None:
    """A request for rows has time to be answered, up to a minute, and also later on."""
    lease.acquire()
    lease.term.note_request(7)
    wait_until(lambda: lease.term.time_left() > 14, "it was renewed for longer")
    lease.term.note_request(400)
    wait_until(lambda: lease.term.time_left() > 50, "it was renewed for longer")
    assert lease.term.time_left() < 60
    lease.acquire()
    wait_until(lambda: lease.term.time_left() > 50, "what was slow is known")
    other.acquire()
    wait_until(lambda: other.term.time_left() > 3, "it is renewed")
    assert other.term.time_left() < 5


def test_a_process_that_stood_still_has_no_slow_target(lease: PostgresLease) -> None:
    """What was answered after the end of a lease makes the next one no longer."""
    lease.acquire()
    lease.term.end()
    lease.term.note_request(20)
    lease.acquire()
    wait_renewed(lease)
    assert lease.term.time_left() < 5


@pytest.mark.parametrize("whose", ["task", "lease"])
def test_nobody_has_a_task_between_a_write_and_its_commit(
    postgres_server: PostgresServer,
    postgres_url: str,
    lease: PostgresLease,
    whose: str,
) -> None:
    """Who ends the lease, or gives the task away, waits; later writes are refused."""
    lease.acquire()
    statement = {
        "task": "UPDATE {schema}.task_owners SET token = '', number = number + 1",
        "lease": "DELETE FROM {schema}.node_leases",
    }[whose]
    changing = threading.Thread(target=run, args=[postgres_url, statement])
    task = new_task()
    with closing(TaskLog.postgres(postgres_url, lease.fence)) as log:
        log.save(task)
        database = log.database
        assert database.fence is not None
        with database.datastore.transaction(commit=True) as cursor:
            database.fence.refuse_others(cursor, task.task_id)
            changing.start()
            wait_until(waits_for_lock(postgres_server), "the other waits")
            if whose == "task":
                wait_renewed(lease)
        changing.join()
        with pytest.raises(UnavailableError):
            database.write_rows("SELECT {p}", [(1,)], task.task_id)


def test_renewals_wait_for_no_write(
    postgres_url: str,
    lease: PostgresLease,
) -> None:
    """A transaction that takes long keeps nobody's lease from being renewed."""
    lease.acquire()
    with (
        closing(postgres_database(postgres_url, lease.fence)) as database,
        database.datastore.transaction(commit=True),
    ):
        wait_renewed(lease)
        wait_renewed(lease)


def test_a_server_that_is_away_ends_the_lease_in_time(
    postgres_server: PostgresServer,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    lease: PostgresLease,
    other: PostgresLease,
) -> None:
    """It is renewed once the server is back, unless it is known already that it ended."""
    monkeypatch.setattr(postgres_lease, "LEASE_SECONDS", MARGIN_SECONDS + 1)
    for each in (lease, other):
        each.acquire()
        each.check()
    task = new_task()
    with closing(TaskLog.postgres(postgres_url, lease.fence)) as log:
        log.save(task)
    postgres_server.stop()
    try:
        wait_until(lambda: lease.term.time_left() <= 0, "the lease has ended")
        wait_until(lambda: "cannot answer" in refusal(other), "it is told why")
        with pytest.raises(UnavailableError, match="the event log cannot answer"):
            other.nodes()
    finally:
        postgres_server.start()
    wait_until(lambda: lease.term.time_left() > 0, "it is renewed")
    lease.check()
    assert "could not be renewed" in refusal(other)
    assert other.term.time_left() <= 0
    other.acquire()
    other.check()
    with owners_of(postgres_url, lease) as owners:
        assert owners.ours() == [task.task_id]


def test_who_would_be_alone_is_refused_and_refuses(
    lease: PostgresLease, other: PostgresLease
) -> None:
    """A command that writes waits for no service, and no service comes meanwhile."""
    lease.acquire()
    with pytest.raises(StoreOwnedError, match=f"process {os.getpid()}") as refused:
        other.acquire(alone=True)
    assert refused.value.owner is not None
    assert refused.value.owner.url == "http://one:1"
    lease.release()
    other.acquire(alone=True)
    for alone in (False, True):
        with pytest.raises(StoreOwnedError):
            lease.acquire(alone=alone)
    other.release()
    lease.acquire()


def test_a_command_waits_for_the_end_of_a_lease_that_nobody_renews(
    lease: PostgresLease, other: PostgresLease, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is after the machine of the last service has gone, or in a restored dump."""
    monkeypatch.setattr(postgres_lease, "LEASE_SECONDS", 1.5)
    lease.acquire()
    # Its way to the server is all that it loses: the process lives, and says nothing.
    monkeypatch.setattr(lease, "_renew", lambda: None)
    assert urls(other) == ["http://one:1"]
    with held(other):
        assert urls(other) == []


def test_who_is_alone_writes_for_any_task(
    postgres_url: str,
    lease: PostgresLease,
    other: PostgresLease,
) -> None:
    """And has none of those that it creates: the services share them later."""
    lease.acquire()
    task = new_task()
    with closing(TaskLog.postgres(postgres_url, lease.fence)) as log:
        log.save(task)
    lease.release()
    other.acquire(alone=True)
    assert other.fence is not None
    with closing(TaskLog.postgres(postgres_url, other.fence)) as log:
        log.database.write_rows("SELECT {p}", [(1,)], task.task_id)
        log.save(new_task())
        assert len(log.alive_ids()) == 2
        assert TaskOwners(log.database, other.fence.token).ours() == []


def test_eight_that_begin_in_one_moment_all_join(postgres_url: str) -> None:
    """They find no table at all, and each opens the event log."""
    leases = [PostgresLease(postgres_url, f"http://{n}:1") for n in range(8)]
    begin = threading.Barrier(len(leases))

    def join(lease: PostgresLease) -> int:
        begin.wait()
        lease.acquire()
        assert lease.fence is not None
        with opening(postgres_url, lease.fence):
            log = TaskLog.postgres(postgres_url, lease.fence)
        with closing(log):
            log.save(new_task())
            return len(log.alive_ids())

    with ThreadPoolExecutor(len(leases)) as pool:
        counts = list(pool.map(join, leases))
    assert max(counts) == 8
    assert len(urls(leases[0])) == 8
    for each in leases:
        each.release()
    assert urls(leases[0]) == []
