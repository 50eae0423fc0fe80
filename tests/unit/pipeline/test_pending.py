"""Operations from beside the log wait for their time, their turn, and their name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cdc_actors.pipeline.collection import Collection
from cdc_actors.pipeline.pending import PendingOperations
from cdc_actors.pipeline.reservations import NameReservations
from cdc_actors.pipeline.target_names import TargetNames
from cdc_actors.pipeline.work import CatalogOperation
from cdc_actors.replication.barriers import ShardBarriers
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


class Stage:
    """A router of names only, and how far the log has come; what is given is kept."""

    def __init__(self, **collections: int) -> None:
        """Begin with collections by name, with their ids, which are their times, too."""
        self.tick = 0
        self.gone: set[int] = set()
        self.given: list[tuple[int, CatalogOperation]] = []
        self.collections = {
            number: _known(n, number) for n, number in collections.items()
        }
        reservations = NameReservations()
        self.other_task = reservations.of("other", "target")
        own = reservations.of("task", "target")
        self.names = TargetNames(SPEC, own, self.collections)
        channels = SimpleNamespace(tick=lambda _channel: self.tick)
        context = SimpleNamespace(release=lambda _checkpoints: None)
        self.pending = PendingOperations(context, self, channels)

    def get(self, collection_id: int) -> Collection | None:
        """As the router does."""
        return self.collections.get(collection_id)

    def is_gone(self, collection_id: int) -> bool:
        """As the router does."""
        return collection_id in self.gone

    def give_told(self, collection: Collection, work: CatalogOperation) -> None:
        """As the router does, but for the applier."""
        self.names.take(collection, work)
        self.given.append((collection.entry.collection_id, work))

    def advance(self, tick: int) -> list[tuple[int, str, str]]:
        """Let the log come to a tick; return the owner, kind and name that were given."""
        self.tick = tick
        self.given.clear()
        self.pending.advance()
        return [(owner, work.kind, _name(work)) for owner, work in self.given]

    def rename(self, owner: int, to: str, timestamp: int) -> None:
        """Park a rename."""
        detail = RenameDetail(("default", to))
        self.pending.add(
            CatalogOperation(RENAME_COLLECTION, timestamp, detail), timestamp, owner
        )

    def alias(self, kind: str, owner: int, alias: str, timestamp: int) -> None:
        """Park an operation on an alias."""
        work = CatalogOperation(kind, timestamp, AliasDetail(alias))
        self.pending.add(work, timestamp, owner, alias=("default", alias))

    def is_called(self, owner: int, name: str) -> None:
        """Hear that a rename is done."""
        earlier = self.collections[owner].entry
        self.collections[owner] = _known(name, owner)
        self.names.renamed(earlier, self.collections[owner].entry)


def _known(name: str, number: int) -> Collection:
    entry = CollectionEntry(
        collection_id=number,
        database="default",
        name=name,
        shards=(f"{CHANNEL}_{number}v0",),
        created=number,
    )
    return Collection(entry, ShardBarriers({}), exists=True)


def _name(work: CatalogOperation) -> str:
    detail = work.detail
    return detail.alias if isinstance(detail, AliasDetail) else detail.new_name[1]


def test_operations_wait_for_their_time_in_order() -> None:
    """What was parked later but happened before goes first, and nothing too early."""
    stage = Stage(a=1)
    stage.rename(1, "c", 30)
    stage.rename(1, "b", 20)
    assert stage.advance(19) == []
    assert stage.advance(20) == [(1, RENAME_COLLECTION, "b")]
    stage.is_called(1, "b")
    assert stage.advance(30) == [(1, RENAME_COLLECTION, "c")]


def test_name_is_given_once_it_is_free() -> None:
    """A collection gets a name when the one that has it has given it up."""
    stage = Stage(a=1, b=2)
    stage.rename(1, "old", 10)
    stage.rename(2, "a", 11)
    assert stage.advance(20) == [(1, RENAME_COLLECTION, "old")]
    assert stage.advance(20) == []
    stage.is_called(1, "old")
    assert stage.advance(20) == [(2, RENAME_COLLECTION, "a")]


@pytest.mark.parametrize("size", [2, 3])
def test_ring_of_names_is_untied(size: int) -> None:
    """Collections that are to have each other's names get them, one by way of another."""
    wanted = {number: "abc"[number % size] for number in range(1, size + 1)}
    stage = Stage(**{"abc"[number - 1]: number for number in wanted})
    for number, name in wanted.items():
        stage.rename(number, name, 10)
    for _ in range(2 * size):
        for owner, _kind, name in stage.advance(10):
            stage.is_called(owner, name)
    found = {number: c.entry.name for number, c in stage.collections.items()}
    assert found == wanted


def test_name_is_given_to_one_at_a_time() -> None:
    """While a collection is about to get a name, no other may have it, old or new."""
    stage = Stage(a=1, b=2)
    stage.rename(1, "c", 10)
    stage.rename(2, "c", 20)
    new = _known("c", 30)
    assert stage.advance(20) == [(1, RENAME_COLLECTION, "c")]
    assert stage.advance(20) == []
    assert stage.names.holders(new.entry) == {1}
    stage.is_called(1, "c")
    assert stage.advance(20) == []
    assert stage.names.holders(new.entry) == {1}
    stage.is_called(1, "d")
    assert stage.names.holders(new.entry) == set()
    assert stage.advance(20) == [(2, RENAME_COLLECTION, "c")]


def test_rename_that_is_given_up_leaves_the_name_to_others() -> None:
    """A collection that is dropped, or kept at the target, no longer gets its name."""
    stage = Stage(a=1, b=2)
    stage.rename(1, "c", 10)
    stage.rename(2, "c", 20)
    assert stage.advance(20) == [(1, RENAME_COLLECTION, "c")]
    stage.names.kept(1)
    assert stage.advance(20) == [(2, RENAME_COLLECTION, "c")]


def test_refused_rename_leaves_the_name_to_other_tasks() -> None:
    """A collection that the target keeps under its old name no longer holds the new one."""
    stage = Stage(a=1)
    stage.rename(1, "c", 10)
    assert stage.advance(10) == [(1, RENAME_COLLECTION, "c")]
    assert stage.other_task.take(("default", "c")) == "task"
    stage.names.kept(1)
    assert stage.other_task.take(("default", "c")) is None


def test_collection_that_is_dropped_before_its_rename() -> None:
    """Both of its names, the old and the new, are left to other tasks."""
    stage = Stage(a=1)
    stage.rename(1, "c", 10)
    stage.advance(10)
    entry = stage.collections.pop(1).entry
    stage.names.ended(entry)
    names = [("default", "a"), ("default", "c")]
    assert [stage.other_task.take(name) for name in names] == [None, None]


def test_alias_waits_for_its_turn() -> None:
    """Operations on one alias are done one after the other, whoever it stands for."""
    stage = Stage(a=1, b=2)
    stage.alias(CREATE_ALIAS, 1, "al", 10)
    stage.alias(ALTER_ALIAS, 2, "al", 11)
    stage.alias(DROP_ALIAS, 2, "al", 12)
    assert stage.advance(20) == [(1, CREATE_ALIAS, "al")]
    assert stage.advance(20) == []
    stage.names.point(("default", "al"), 1)
    assert stage.advance(20) == [(2, ALTER_ALIAS, "al")]
    stage.names.point(("default", "al"), 2)
    assert stage.advance(20) == [(2, DROP_ALIAS, "al")]


def test_alias_in_place_of_a_collection() -> None:
    """An alias waits for the collection of its name; the next collection waits for it."""
    stage = Stage(a=1, b=2)
    stage.alias(CREATE_ALIAS, 2, "a", 10)
    assert stage.advance(20) == []
    stage.is_called(1, "old")
    assert stage.advance(20) == [(2, CREATE_ALIAS, "a")]
    new = _known("a", 30)
    assert stage.names.holders(new.entry) == {("default", "a")}
    stage.names.point(("default", "a"), 2)
    stage.collections[30] = new
    stage.alias(DROP_ALIAS, 2, "a", 25)
    assert stage.advance(40) == [(2, DROP_ALIAS, "a")]


def test_alias_that_is_moved_to_a_collection_that_is_gone() -> None:
    """It stands for nothing: what it stood for at the target loses it."""
    stage = Stage(a=1, b=2)
    stage.names.point(("default", "al"), 1)
    stage.gone.add(stage.collections.pop(2).entry.collection_id)
    stage.alias(ALTER_ALIAS, 2, "al", 10)
    stage.alias(CREATE_ALIAS, 2, "new", 10)
    assert stage.advance(20) == [(1, DROP_ALIAS, "al")]
    stage.names.point(("default", "al"), None)
    assert stage.advance(20) == []


def test_alias_that_leaves_a_collection_which_is_dropped() -> None:
    """While an alias is on its way to another collection it is not free."""
    stage = Stage(a=1, b=2)
    stage.names.point(("default", "al"), 1)
    stage.names.point(("default", "own"), 1)
    stage.alias(ALTER_ALIAS, 2, "al", 10)
    assert stage.advance(20) == [(2, ALTER_ALIAS, "al")]
    assert stage.names.aliases_of(1) == [("default", "own")]


def test_name_that_a_newer_collection_has() -> None:
    """An operation that gives a name which has gone on to another is not done."""
    stage = Stage(a=1, b=30)
    stage.rename(1, "b", 20)
    stage.rename(1, "c", 40)
    assert stage.advance(40) == [(1, RENAME_COLLECTION, "c")]
