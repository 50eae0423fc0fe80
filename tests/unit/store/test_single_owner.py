"""Services of earlier versions, of which one had a whole store, are kept out for good."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cdc_actors.store.ownership import Owner, StoreOwnedError
from cdc_actors.store.postgres_lease import PostgresLease
from tests.support.cdc import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgres import PostgresServer

CLASS_ID = int.from_bytes(b"CDCA", "big")
CREATE = (
    "CREATE TABLE {0}.store_owner ("
    "id INTEGER PRIMARY KEY, fence BIGINT UNIQUE NOT NULL, token TEXT NOT NULL, "
    "owner TEXT NOT NULL, renewals BIGINT NOT NULL, seconds DOUBLE PRECISION NOT NULL, "
    "given_back BOOLEAN NOT NULL)"
)
INSERT = "INSERT INTO {0}.store_owner VALUES (1, 7, 'theirs', %s, 100, %s, FALSE)"
RENEW = (
    "UPDATE {0}.store_owner SET renewals = renewals + 1 "
    "WHERE fence = 7 AND token = 'theirs'"
)
GIVE_BACK = RENEW.replace("SET", "SET given_back = TRUE,")
READ = "SELECT fence, token, owner, renewals, seconds, given_back FROM {0}.store_owner"
THERE = json.dumps({"host": "there", "pid": 12, "since": "then", "url": "http://old:1"})


class Earlier:
    """A service that owns the store, as the version before this one did."""

    def __init__(self, server: PostgresServer, url: str) -> None:
        self.schema = url.rpartition("schema=")[2]
        self.session = server.connect()

    def run(self, statement: str, *values: object) -> Any:
        """Run a statement on the tables of the store."""
        return self.session.execute(statement.format(self.schema).encode(), values)

    def own(self, owner: str = THERE, seconds: float = 0.3) -> None:
        """Own the store from now on."""
        self.run(CREATE)
        self.run("CREATE TABLE {0}.store_nodes (token TEXT PRIMARY KEY)")
        self.run(INSERT, owner, seconds)

    def renew(self) -> bool:
        """Renew the lease; tell whether it still was one."""
        return bool(self.run(RENEW).rowcount > 0)

    def sees(self) -> tuple[str, float, bool]:
        """Return whose the store is, for how long, and whether that gave it back."""
        _, _, owner, _, seconds, given_back = self.run(READ).fetchone()
        known = Owner.parsed(owner)
        assert known is not None
        assert not known.has_ended
        return known.host, seconds, given_back


@pytest.fixture
def earlier(
    postgres_server: PostgresServer,
    postgres_url: str,
) -> Iterator[Earlier]:
    """Yield an earlier service, which has not begun yet."""
    earlier = Earlier(postgres_server, postgres_url)
    yield earlier
    earlier.session.close()


@pytest.fixture
def lease(postgres_url: str) -> Iterator[PostgresLease]:
    """Yield the lease of a service of this version, given back in the end."""
    lease = PostgresLease(postgres_url)
    yield lease
    lease.release()


def is_shut_out(earlier: Earlier) -> bool:
    """Tell whether an earlier service waits for an owner that never ends."""
    host, seconds, given_back = earlier.sees()
    years = seconds / (365 * 24 * 3600)
    return "newer version" in host and years > 1000 and not given_back


def test_the_oldest_are_seen_and_kept_out(
    postgres_server: PostgresServer,
    lease: PostgresLease,
    earlier: Earlier,
) -> None:
    """They know of an advisory lock alone, and are known by the name of its session."""
    lock = [CLASS_ID, earlier.schema]
    older = earlier.session
    older.execute("SET application_name = 'cdc-actors 12 2026-01-01T00:00:00+00:00 a'")
    older.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", lock)
    with pytest.raises(StoreOwnedError, match="process 12 on host a since 2026"):
        lease.acquire()
    older.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", lock)
    lease.acquire()
    tried = "SELECT pg_try_advisory_lock(%s, hashtext(%s))"
    assert older.execute(tried, lock).fetchone() == (False,)
    with postgres_server.connect() as session:
        session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name LIKE 'cdc-actors-%'"
        )

    def is_held() -> bool:
        """Tell whether the new session holds it."""
        held = older.execute(tried, lock).fetchone() == (False,)
        if not held:
            older.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", lock)
        return held

    wait_until(is_held, "it is held by a new session")


def test_one_that_renews_its_lease_is_waited_for(
    lease: PostgresLease, earlier: Earlier
) -> None:
    """For as long as it does; who that is, and where, is told."""
    earlier.own()
    told: list[Owner | None] = []
    for _ in range(5):
        assert earlier.renew()
        with pytest.raises(
            StoreOwnedError, match="process 12 on host there"
        ) as refused:
            lease.acquire()
        told.append(refused.value.owner)
    assert {each.url for each in told if each} == {"http://old:1"}
    assert earlier.sees() == ("there", 0.3, False)


def test_one_that_has_given_it_back_is_shut_out(
    lease: PostgresLease, earlier: Earlier
) -> None:
    """At once and for good; its own table of services is no more."""
    earlier.own(seconds=3600)
    with pytest.raises(StoreOwnedError):
        lease.acquire()
    earlier.run(GIVE_BACK)
    lease.acquire()
    assert is_shut_out(earlier)
    assert not earlier.renew()
    (left,) = earlier.run("SELECT to_regclass('{0}.store_nodes')").fetchone()
    assert left is None
    lease.release()
    assert is_shut_out(earlier)
    lease.acquire()
    assert is_shut_out(earlier)


def test_one_that_stands_still_is_shut_out_in_time(
    lease: PostgresLease, earlier: Earlier
) -> None:
    """Once its lease has ended, by the clock of who looks; it cannot renew it then."""
    earlier.own(seconds=0.5)

    def is_taken() -> bool:
        try:
            lease.acquire()
        except StoreOwnedError:
            return False
        return True

    assert not is_taken()
    wait_until(is_taken, "its lease has ended")
    assert not earlier.renew()
    assert is_shut_out(earlier)


def test_a_process_that_has_ended_here_is_not_waited_for(
    lease: PostgresLease, earlier: Earlier
) -> None:
    """Nor is an owner of whom nothing can be read."""
    earlier.own("not readable", seconds=3600)
    lease.acquire()
    assert is_shut_out(earlier)


def test_on_a_new_store_there_never_was_one(
    lease: PostgresLease, earlier: Earlier
) -> None:
    """Yet one that comes later, for it was forgotten, finds the store owned."""
    lease.acquire()
    assert is_shut_out(earlier)
