"""Operations that are not in the log wait for their time, their turn, and their name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cdc_actors.pipeline.collection_table import Collection, CollectionTable
from cdc_actors.pipeline.pending import PendingOperations
from cdc_actors.pipeline.reservations import NameReservations
from cdc_actors.pipeline.target_names import TargetNames
from cdc_actors.pipeline.work import CatalogOperation
from cdc_actors.tasks import (
    ALTER_ALIAS,
    CREATE_ALIAS,
    DROP_ALIAS,
    RENAME_COLLECTION,
    CollectionEntry,
)
from cdc_actors.tasks.details import AliasDetail, RenameDetail
from tests.support.tasks import SPEC

CHANNEL = "dml_0"


class Harness:
    """Real names and states of collections, and how far the log has come.

    It stands for the router: what is given is kept, not delivered.
    """

    def __init__(self, **collections: int) -> None:
        """Begin with collections by name, with their ids, which are their times, too."""
        self.tick = 0
        self.given: list[tuple[int, CatalogOperation]] = []
        channels = FakeChannels(self)
        context = SimpleNamespace(release=lambda _checkpoints: None)
        self.collections = CollectionTable(
            context, channels, SimpleNamespace(applied=lambda _id, _channel: 0)
        )
        for name, number in collections.items():
            self.add(name, number)
        reservations = NameReservations()
        self.other_task = reservations.of("other", "target")
        own = reservations.of("task", "target")
        self.target_names = TargetNames(SPEC, own, self.collections)
        self.pending = PendingOperations(context, self, channels)

    def add(self, name: str, number: int) -> None:
        """Have one collection more."""
        self.collections.add(_entry(name, number), set(), exists=True)

    def deliver_operation(self, collection: Collection, work: CatalogOperation) -> None:
        """As the router does, but for the applier."""
        self.target_names.note_under_way(collection, work)
        self.given.append((collection.entry.collection_id, work))

    def advance(self, tick: int) -> list[tuple[int, str, str]]:
        """Let the log come to a tick; return the owner, kind and name that were given."""
        self.tick = tick
        self.given.clear()
        self.pending.advance()
        return [(owner, work.kind, _name(work)) for owner, work in self.given]

    def rename(self, owner: int, to: str, timestamp: int) -> None:
        """Defer a rename."""
        detail = RenameDetail(("default", to))
        self.pending.defer(
            CatalogOperation(RENAME_COLLECTION, timestamp, detail), timestamp, owner
        )

    def alias(self, kind: str, owner: int, alias: str, timestamp: int) -> None:
        """Defer an operation on an alias."""
        work = CatalogOperation(kind, timestamp, AliasDetail(alias))
        self.pending.defer(work, timestamp, owner, alias=("default", alias))

    def is_called(self, owner: int, name: str) -> None:
        """Hear that a rename is done."""
        collection = self.collections.get(owner)
        earlier, collection.entry = collection.entry, _entry(name, owner)
        self.target_names.renamed(earlier, collection.entry)


class FakeChannels(dict):
    """One channel, as far as the harness's log has come."""

    def __init__(self, harness: Harness) -> None:
        super().__init__({CHANNEL: None})
        self.tick = lambda _channel: harness.tick
        self.applied = lambda _channel: 0


def _entry(name: str, number: int) -> CollectionEntry:
    return CollectionEntry(
        collection_id=number,
        database="default",
        name=name,
        shards=(f"{CHANNEL}_{number}v0",),
        created=number,
    )


def _name(work: CatalogOperation) -> str:
    detail = work.detail
    return detail.alias if isinstance(detail, AliasDetail) else detail.new_name[1]


def test_operations_wait_for_their_time_in_order() -> None:
    """What was deferred later but happened before goes first, and nothing too early."""
    harness = Harness(a=1)
    harness.rename(1, "c", 30)
    harness.rename(1, "b", 20)
    assert harness.advance(19) == []
    assert harness.advance(20) == [(1, RENAME_COLLECTION, "b")]
    harness.is_called(1, "b")
    assert harness.advance(30) == [(1, RENAME_COLLECTION, "c")]


def test_name_is_given_once_it_is_free() -> None:
    """A collection gets a name when the one that has it has given it up."""
    harness = Harness(a=1, b=2)
    harness.rename(1, "old", 10)
    harness.rename(2, "a", 11)
    assert harness.advance(20) == [(1, RENAME_COLLECTION, "old")]
    assert harness.advance(20) == []
    harness.is_called(1, "old")
    assert harness.advance(20) == [(2, RENAME_COLLECTION, "a")]


@pytest.mark.parametrize("size", [2, 3])
def test_ring_of_names_is_broken(size: int) -> None:
    """Collections that are to have each other's names get them, one by way of another."""
    wanted = {number: "abc"[number % size] for number in range(1, size + 1)}
    harness = Harness(**{"abc"[number - 1]: number for number in wanted})
    for number, name in wanted.items():
        harness.rename(number, name, 10)
    for _ in range(2 * size):
        for owner, _kind, name in harness.advance(10):
            harness.is_called(owner, name)
    found = {c.entry.collection_id: c.entry.name for c in harness.collections}
    assert found == wanted


def test_name_in_between_that_another_has_for_good() -> None:
    """One whose renames are done has it: the collection gets its last name at once."""
    harness = Harness(a=1, c=2)
    harness.rename(2, "a", 10)
    harness.alias(ALTER_ALIAS, 2, "d", 11)
    harness.rename(2, "b", 12)
    assert harness.advance(11) == []
    found = [*harness.advance(12), *harness.advance(12)]
    assert found == [(2, ALTER_ALIAS, "d"), (2, RENAME_COLLECTION, "b")]


def test_ring_through_the_line_of_an_alias_is_broken() -> None:
    """One waits for a name, whose owner waits behind it with what an alias stands for."""
    harness = Harness(a=1, c=2)
    harness.rename(2, "a", 10)
    harness.alias(ALTER_ALIAS, 2, "d", 11)
    harness.alias(ALTER_ALIAS, 1, "d", 12)
    harness.rename(1, "b", 13)
    for _ in range(8):
        for owner, kind, name in harness.advance(20):
            if kind == ALTER_ALIAS:
                harness.target_names.point(("default", name), owner)
            else:
                harness.is_called(owner, name)
    found = {c.entry.collection_id: c.entry.name for c in harness.collections}
    assert found == {1: "b", 2: "a"}
    assert harness.target_names.aliases_of(1) == [("default", "d")]


def test_name_is_given_to_one_at_a_time() -> None:
    """While a collection is about to get a name, no other may have it, old or new."""
    harness = Harness(a=1, b=2)
    harness.rename(1, "c", 10)
    harness.rename(2, "c", 20)
    new = _entry("c", 30)
    assert harness.advance(20) == [(1, RENAME_COLLECTION, "c")]
    assert harness.advance(20) == []
    assert harness.target_names.holders(new) == {1}
    harness.is_called(1, "c")
    assert harness.advance(20) == []
    assert harness.target_names.holders(new) == {1}
    harness.is_called(1, "d")
    assert harness.target_names.holders(new) == set()
    assert harness.advance(20) == [(2, RENAME_COLLECTION, "c")]


def test_rename_that_is_given_up_leaves_the_name_to_others() -> None:
    """A collection that is dropped, or kept at the target, no longer gets its name."""
    harness = Harness(a=1, b=2)
    harness.rename(1, "c", 10)
    harness.rename(2, "c", 20)
    assert harness.advance(20) == [(1, RENAME_COLLECTION, "c")]
    harness.target_names.withdraw_names(1)
    assert harness.advance(20) == [(2, RENAME_COLLECTION, "c")]


def test_refused_rename_leaves_the_name_to_other_tasks() -> None:
    """A collection that the target keeps under its old name no longer holds the new one."""
    harness = Harness(a=1)
    harness.rename(1, "c", 10)
    assert harness.advance(10) == [(1, RENAME_COLLECTION, "c")]
    assert harness.other_task.reserve(("default", "c")) == "task"
    harness.target_names.withdraw_names(1)
    assert harness.other_task.reserve(("default", "c")) is None


def test_collection_that_is_dropped_before_its_rename() -> None:
    """Both of its names, the old and the new, are left to other tasks."""
    harness = Harness(a=1)
    harness.rename(1, "c", 10)
    harness.advance(10)
    entry = harness.collections.get(1).entry
    harness.collections.end(1)
    harness.target_names.dropped(entry)
    names = [("default", "a"), ("default", "c")]
    assert [harness.other_task.reserve(name) for name in names] == [None, None]


def test_alias_waits_for_its_turn() -> None:
    """Operations on one alias are done one after the other, whoever it stands for."""
    harness = Harness(a=1, b=2)
    harness.alias(CREATE_ALIAS, 1, "al", 10)
    harness.alias(ALTER_ALIAS, 2, "al", 11)
    harness.alias(DROP_ALIAS, 2, "al", 12)
    assert harness.advance(20) == [(1, CREATE_ALIAS, "al")]
    assert harness.advance(20) == []
    harness.target_names.point(("default", "al"), 1)
    assert harness.advance(20) == [(2, ALTER_ALIAS, "al")]
    harness.target_names.point(("default", "al"), 2)
    assert harness.advance(20) == [(2, DROP_ALIAS, "al")]


def test_alias_in_place_of_a_collection() -> None:
    """An alias waits for the collection of its name; the next collection waits for it."""
    harness = Harness(a=1, b=2)
    harness.alias(CREATE_ALIAS, 2, "a", 10)
    assert harness.advance(20) == []
    harness.is_called(1, "old")
    assert harness.advance(20) == [(2, CREATE_ALIAS, "a")]
    new = _entry("a", 30)
    assert harness.target_names.holders(new) == {("default", "a")}
    harness.target_names.point(("default", "a"), 2)
    harness.add("a", 30)
    harness.alias(DROP_ALIAS, 2, "a", 25)
    assert harness.advance(40) == [(2, DROP_ALIAS, "a")]


def test_alias_that_is_moved_to_a_collection_that_is_gone() -> None:
    """It stands for nothing: what it stood for at the target loses it."""
    harness = Harness(a=1, b=2)
    harness.target_names.point(("default", "al"), 1)
    harness.collections.end(2)
    harness.alias(ALTER_ALIAS, 2, "al", 10)
    harness.alias(CREATE_ALIAS, 2, "new", 10)
    assert harness.advance(20) == [(1, DROP_ALIAS, "al")]
    harness.target_names.point(("default", "al"), None)
    assert harness.advance(20) == []


def test_alias_that_leaves_a_collection_which_is_dropped() -> None:
    """While an alias is on its way to another collection it is not free."""
    harness = Harness(a=1, b=2)
    harness.target_names.point(("default", "al"), 1)
    harness.target_names.point(("default", "own"), 1)
    harness.alias(ALTER_ALIAS, 2, "al", 10)
    assert harness.advance(20) == [(2, ALTER_ALIAS, "al")]
    assert harness.target_names.aliases_of(1) == [("default", "own")]


def test_name_that_a_newer_collection_has() -> None:
    """An operation that gives a name which has gone on to another is not done."""
    harness = Harness(a=1, b=30)
    harness.rename(1, "b", 20)
    harness.rename(1, "c", 40)
    assert harness.advance(40) == [(1, RENAME_COLLECTION, "c")]
