"""Which service has which task, and who may write for it; a real PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cdc_actors.errors import UnavailableError
from cdc_actors.store.checkpoints import Checkpoints
from cdc_actors.store.event_log import TaskLog
from cdc_actors.store.postgres_lease import PostgresLease
from cdc_actors.store.task_owners import Census, Claimed, Place, Share, TaskOwners
from tests.support.tasks import CLIENT, checkpoint, new_task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgres import PostgresServer


class Member:
    """A service that has joined, and what it uses of the store."""

    def __init__(self, url: str, name: str) -> None:
        self.url = f"http://{name}:8444"
        self.lease = PostgresLease(url, self.url)
        self.lease.acquire()
        assert self.lease.fence is not None
        self.log = TaskLog.postgres(url, self.lease.fence)
        self.checkpoints = Checkpoints(self.log)
        self.owners = TaskOwners(self.log.database, self.lease.fence.token)

    @property
    def node_id(self) -> str:
        """What people call it."""
        return self.lease.term.token[:8]

    def others(self) -> list[str]:
        """Return where the other services are."""
        return [each.url for each in self.owners.others()]

    def end(self) -> None:
        """End in good order."""
        self.log.close()
        self.lease.release()


@pytest.fixture
def one(postgres_url: str) -> Iterator[Member]:
    """Yield a service on an empty store."""
    member = Member(postgres_url, "one")
    yield member
    member.end()


@pytest.fixture
def two(postgres_url: str, one: Member) -> Iterator[Member]:
    """Yield a second one beside it."""
    member = Member(postgres_url, "two")
    assert member.others() == [one.url]
    yield member
    member.end()


def counted(
    ours: int, others: list[int], free: int, *, we_drain: bool = False
) -> Census:
    """Return what is counted of tasks that run, without any that is paused."""
    nothing = Share(0, [0] * len(others), 0, 0)
    return Census(Share(ours, others, free, free), nothing, we_drain)


def ids(claimed: list[Claimed]) -> list[str]:
    """Return the tasks that were claimed."""
    return [each.task_id for each in claimed]


def test_tasks_of_an_earlier_version_are_enrolled_once(one: Member) -> None:
    """Nobody has them then, and whoever has some of them keeps these."""
    one.owners.enrol(["a", "b"])
    assert ids(one.owners.claim(1)) == ["a"]
    one.owners.enrol(["a", "b", "c"])
    assert one.owners.census() == counted(1, [], 2)
    assert one.owners.claim(9) == [Claimed("b"), Claimed("c")]
    assert one.owners.ours() == ["a", "b", "c"]
    assert one.owners.claim(9) == []


def test_what_is_told_with_a_task_that_is_claimed(one: Member, two: Member) -> None:
    """Whether it moved from a service that lives, and whether that had come to rest."""
    one.owners.enrol(["a", "b", "c", "d"])
    one.owners.claim(4)
    assert two.owners.claim(4) == []
    one.owners.give_back(["a"], at_rest=True)
    one.owners.give_back(["b"], at_rest=False)
    assert two.owners.claim(4) == [
        Claimed("a", was_moved=True),
        Claimed("b", was_left=True, was_moved=True),
    ]
    two.owners.give_back(["c"], at_rest=True)
    assert two.owners.claim(4) == [], "it gave back what another has"
    one.lease.release()
    assert two.owners.claim(4) == [Claimed("c"), Claimed("d")]


def test_tasks_of_one_whose_lease_was_ended_were_left(
    one: Member,
    postgres_url: str,
) -> None:
    """What that one sent for them may be under way, for it is none that has ended."""
    one.owners.enrol(["a"])
    one.owners.claim(1)
    one.log.close()
    one.lease.acquire()
    with closing(TaskLog.postgres(postgres_url, one.lease.fence)) as log:
        owners = TaskOwners(log.database, one.lease.term.token)
        assert owners.census() == counted(0, [], 1)
        assert owners.claim(1) == [Claimed("a", was_left=True)]


def test_two_that_claim_in_one_moment_get_different_tasks(
    one: Member, two: Member
) -> None:
    """No task is claimed twice, and what all skipped is free for the next claim."""
    all_ids = [f"{number:03}" for number in range(200)]
    one.owners.enrol(all_ids)
    with ThreadPoolExecutor(8) as pool:
        claims = [pool.submit(each.owners.claim, 30) for each in (one, two) * 4]
        got = [task_id for each in claims for task_id in ids(each.result())]
    assert len(got) >= 30
    got += ids(two.owners.claim(len(all_ids)))
    assert sorted(got) == all_ids
    assert sorted(one.owners.ours() + two.owners.ours()) == all_ids


def test_rows_that_another_is_just_claiming_are_skipped(
    one: Member, two: Member
) -> None:
    """Nobody waits for a claim that stands still."""
    one.owners.enrol(["a", "b"])
    lock = "SELECT 1 FROM {owners} WHERE task_id = 'a' FOR UPDATE"
    database = one.log.database
    with database.datastore.transaction(commit=True) as cursor:
        cursor.execute(lock.format(**database.names))
        assert two.owners.claim(2) == [Claimed("b")]
    assert two.owners.claim(2) == [Claimed("a")]


def test_who_drains_is_counted_with_nobody(one: Member, two: Member) -> None:
    """Unless all drain: then each counts as if it alone were there."""
    one.owners.enrol(["a", "b", "c", "d"])
    one.owners.claim(1)
    two.owners.claim(2)
    assert one.owners.census() == counted(1, [2], 1)
    assert two.owners.census() == counted(2, [1], 1)
    assert one.lease.drain(two.node_id, drains=True)
    assert one.owners.census() == counted(1, [], 1)
    assert two.owners.census() == counted(2, [1], 1, we_drain=True)
    assert two.lease.drain(one.node_id, drains=True)
    assert one.owners.census() == counted(1, [], 1)
    assert two.owners.census() == counted(2, [], 1)
    assert two.lease.drain(two.node_id, drains=False)
    assert one.owners.census() == counted(1, [2], 1, we_drain=True)


def test_how_much_work_tasks_are_is_counted(one: Member, two: Member) -> None:
    """By their owner's word alone; those that are paused are counted apart."""
    one.owners.enrol(["a", "b", "c", "d"])
    one.owners.claim(3)
    one.owners.note_loads({"a": 7.5, "b": 0.0, "d": 9.0})
    two.owners.note_loads({"c": 9.0})
    running, paused = Share(0, [8.5], 1, 1), Share(0, [1], 0, 0)
    assert two.owners.census() == Census(running, paused, we_drain=False)
    assert [(each.tasks, each.load) for each in one.lease.nodes()][:1] == [(3, 8.5)]
    one.owners.give_back(["a", "b"], at_rest=True)
    running, paused = Share(0, [1], 8.5, 2), Share(0, [0], 1, 1)
    assert two.owners.census() == Census(running, paused, we_drain=False)
    assert two.owners.claim(9, paused=True) == [Claimed("b", was_moved=True, load=0.0)]
    assert two.owners.claim(9) == [
        Claimed("a", was_moved=True, load=7.5),
        Claimed("d"),
    ]


@pytest.mark.parametrize("node_id", ["", "%", "_" * 8, "0" * 9, "nobody"])
def test_only_whole_ids_name_a_service_to_be_drained(one: Member, node_id: str) -> None:
    """Nothing that is none drains one, or all of them."""
    assert not one.lease.drain(node_id, drains=True)
    assert not one.lease.drain(one.node_id[:7], drains=True)
    assert [each.drains for each in one.lease.nodes()] == [False]


def test_who_is_alone_is_no_neighbour(
    one: Member,
    postgres_server: PostgresServer,
    postgres_url: str,
) -> None:
    """A command that works on the store for a while is to have no tasks."""
    schema = postgres_url.rpartition("schema=")[2]
    with postgres_server.connect() as session:
        session.execute(
            f"INSERT INTO {schema}.node_leases SELECT 'command', said, 1, 6, TRUE, "  # noqa: S608
            f"FALSE, heard FROM {schema}.node_leases".encode()
        )
    assert one.owners.census() == counted(0, [], 0)
    assert one.others() == []
    assert [each.node_id for each in one.lease.nodes()] == [one.node_id]


def test_who_has_a_task(one: Member, two: Member) -> None:
    """Each knows of it whether it is another's, free or none at all."""
    one.owners.enrol(["a", "b"])
    one.owners.claim(1)

    place = one.owners.place("a")
    assert place == Place(None, is_free=False)
    place = two.owners.place("a")
    assert place
    assert place.other
    assert (place.other.url, place.is_free) == (one.url, False)
    free = Place(None, is_free=True)
    assert one.owners.place("b") == two.owners.place("b") == free
    assert one.owners.place("c") is two.owners.place("c") is None
    one.owners.give_back(["a"], at_rest=False)
    assert one.owners.place("a") == two.owners.place("a") == free


def test_a_task_that_is_no_more_is_forgotten_by_its_owner(
    one: Member, two: Member
) -> None:
    """And by nobody else."""
    one.owners.enrol(["a"])
    one.owners.claim(1)
    two.owners.forget("a")
    assert two.owners.place("a")
    one.owners.forget("a")
    assert two.owners.place("a") is None


def test_who_creates_a_task_has_it(one: Member, two: Member) -> None:
    """From its first event on, or if that is not saved, not at all."""

    def refuse(_cursor: object) -> None:
        raise UnavailableError("for the test")

    task = new_task()
    with pytest.raises(UnavailableError, match="for the test"):
        one.log.save(task, refuse)
    assert two.owners.place(task.task_id) is None
    task = new_task()
    one.log.save(task)
    assert one.owners.ours() == [task.task_id]
    assert two.owners.claim(1) == []


def test_who_has_not_a_task_writes_nothing_for_it(one: Member, two: Member) -> None:
    """Neither events nor checkpoints, though its own lease lasts."""
    task = new_task()
    one.log.save(task)
    one.checkpoints.save(task.task_id, [checkpoint(tick=7)])
    one.owners.give_back([task.task_id], at_rest=True)
    assert len(two.owners.claim(1)) == 1
    with pytest.raises(UnavailableError, match="another service has the task"):
        one.checkpoints.save(task.task_id, [checkpoint(tick=8)])
    with pytest.raises(UnavailableError, match="another service has the task"):
        one.checkpoints.delete(task.task_id)
    task.pause("for the test", [], who=CLIENT, why="test")
    with pytest.raises(UnavailableError, match="another service has the task"):
        one.log.save(task)
    loaded = two.log.load(task.task_id)
    assert loaded.version == 1
    assert [each.tick for each in two.checkpoints.load(task.task_id).values()] == [7]
    loaded.pause("for the test", [], who=CLIENT, why="test")
    two.log.save(loaded)
    two.checkpoints.save(task.task_id, [checkpoint(tick=9)])
    one.lease.check()
