"""Collections that are brought anew into a shadow, on doubles: readers, and every crash."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from cdc_actors.errors import CollectionError, PositionLostError, TaskConflictError
from cdc_actors.pipeline import exchanges
from cdc_actors.pipeline.claims import Claimant
from cdc_actors.pipeline.messages import (
    RecordCollectionSetAside,
    RecordOperationApplied,
    RecordOperationStarted,
    RecordSegmentsDone,
    RecordSegmentsForgotten,
    RecordSnapshotStarted,
    RecordStarts,
)
from cdc_actors.pipeline.shadows import Shadow
from cdc_actors.tasks import CREATE_COLLECTION, EXCHANGE_COLLECTION, CollectionState
from tests.fakes.distrusted import RIGHT
from tests.fakes.fake_source import A, B
from tests.fakes.pipeline import STORE, Pipeline
from tests.fakes.shadowed import Shadowed

if TYPE_CHECKING:
    from collections.abc import Iterator

WRONG = {1: 1, 3: 2, 4: 1, 5: 1, 7: 1, 50: 1, 60: 3}


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """Yield a task, its source and its target."""
    with Pipeline() as pipeline:
        yield pipeline


@pytest.fixture
def shadowed(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Shadowed:
    """Return a running task whose target has wrong rows, and readers of them."""
    found = Shadowed.running(pipeline, monkeypatch)
    found.watch()
    hurry(monkeypatch)
    return found


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look all the time whether a shadow is ready, and end it at once."""
    monkeypatch.setattr(exchanges, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(exchanges, "READ_SECONDS", 0.0)


def assert_well(shadowed: Shadowed) -> None:
    """One collection is left, with the right rows, and no reader saw anything between."""
    assert_well_but(shadowed, {"c"})


def assert_well_but(shadowed: Shadowed, names: set[str]) -> None:
    """The target has collections of these names, and all else is as above."""
    assert shadowed.names == names
    assert shadowed.there == RIGHT
    assert shadowed.seen in ([WRONG, None, RIGHT], [WRONG, RIGHT])
    assert shadowed.by_alias == [WRONG, RIGHT]


def test_equal_in_the_end(shadowed):
    """The old rows are served until the right ones are, and nothing else is left."""
    shadowed.begin()
    shadowed.finish()
    assert_well(shadowed)


def test_nobody_has_the_name_between_two_renames(shadowed):
    """A reader by the name sees the old rows, for a moment nothing, then the right ones."""
    shadowed.begin()
    shadowed.finish()
    assert shadowed.seen == [WRONG, None, RIGHT]
    asked = shadowed.pipeline.target.asked
    number = shadowed.files.meta.id
    shadow, parting = f"cdc_actors_shadow_{number}", f"cdc_actors_parting_{number}"
    end = asked[asked.index(f"alias reader {shadow}") :]
    renames = [f"rename c {parting}", f"rename {shadow} c"]
    ends = [f"alter {parting}", f"drop {parting}"]
    assert end == [f"alias reader {shadow}", *renames, *ends]


MOST_CHANGES = 15
"""How many requests of one exchange change something at the target, or are such as may:
a rename is tried twice of which nothing can come."""


def test_number_of_requests(shadowed):
    """Every request that changes something is one at which a test below kills the run."""
    shadowed.begin()
    shadowed.changes = 0
    shadowed.finish()
    assert shadowed.changes == MOST_CHANGES


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("number", range(1, MOST_CHANGES + 1))
def test_killed_at_a_request(shadowed, number, is_done):
    """Whatever the target was asked last, the next run goes on, and all is well."""
    shadowed.kill_at_change(number, is_done=is_done)
    shadowed.begin()
    shadowed.finish()
    assert shadowed.end_at is None
    assert_well(shadowed)


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize(
    ("kind", "what"),
    [
        *[(RecordSegmentsForgotten, ""), (RecordSnapshotStarted, "")],
        *[(RecordSegmentsDone, ""), (RecordStarts, "")],
        (RecordOperationApplied, CREATE_COLLECTION),
        (RecordOperationStarted, EXCHANGE_COLLECTION),
        (RecordOperationApplied, EXCHANGE_COLLECTION),
    ],
)
def test_killed_as_something_is_written_down(shadowed, kind, what, written):
    """Whatever was written down last, the next run goes on, and all is well."""
    shadowed.kill_at_record(kind, written=written, what=what)
    shadowed.begin()
    shadowed.finish()
    assert not shadowed.is_armed
    assert_well(shadowed)


STAGES = {
    "filling": lambda shadowed: shadowed.fill_up_to(2),
    "following": Shadowed.fill,
    "exchanging": Shadowed.end_between_renames,
    "ending": Shadowed.take_place,
}


@pytest.fixture(params=STAGES)
def stage(
    request: pytest.FixtureRequest, shadowed: Shadowed, monkeypatch: pytest.MonkeyPatch
) -> Shadowed:
    """Return the task as it stands in each stage, its run ended."""
    monkeypatch.setattr(exchanges, "READ_SECONDS", 3600.0)
    STAGES[request.param](shadowed)
    if shadowed.pipeline.run is not None:
        shadowed.pipeline.stop()
    monkeypatch.setattr(exchanges, "READ_SECONDS", 0.0)
    return shadowed


def test_paused(stage):
    """The next run goes on, and all is well."""
    stage.pipeline.begin()
    stage.finish()
    assert_well(stage)


def test_dropped_at_the_source(stage):
    """Neither the collection nor its shadow stays at the target."""
    stage.pipeline.source.drop(stage.files.meta)
    stage.pipeline.source.tick()
    stage.pipeline.begin()
    stage.wait_for(CollectionState.DROPPED)
    assert stage.names == set()
    assert stage.seen in ([WRONG, None], [WRONG, None, RIGHT, None])


def test_dropped_at_the_source_before_it_began(shadowed):
    """The collection goes, and no shadow is made."""
    shadowed.pipeline.stop()
    shadowed.pipeline.source.drop(shadowed.files.meta)
    shadowed.pipeline.source.tick()
    shadowed.begin()
    shadowed.wait_for(CollectionState.DROPPED)
    assert shadowed.names == set()
    assert shadowed.seen == [WRONG, None]


def test_renamed_at_the_source(stage):
    """What is served has the new name, and has the right rows in the end."""
    stage.pipeline.source.rename(stage.files.meta, "d")
    stage.pipeline.source.catalog.tell()
    stage.pipeline.begin()
    stage.finish()
    stage.pipeline.wait_until(lambda: stage.tick() or stage.entry.name == "d")
    assert stage.names == {"d"}
    assert stage.pipeline.target.rows("d") == RIGHT
    assert stage.by_alias == [WRONG, RIGHT]


def test_renamed_at_the_source_before_what_was_replaced_is_dropped(
    shadowed, monkeypatch
):
    """That goes first, so that nothing is left."""
    monkeypatch.setattr(exchanges, "READ_SECONDS", 3600.0)
    shadowed.take_place()
    shadowed.pipeline.source.rename(shadowed.files.meta, "d")
    shadowed.pipeline.source.catalog.tell()
    shadowed.pipeline.wait_until(lambda: shadowed.tick() or shadowed.names == {"d"})
    assert shadowed.pipeline.target.rows("d") == RIGHT


def test_dropped_at_the_source_before_what_was_replaced_is(shadowed, monkeypatch):
    """All of it goes."""
    monkeypatch.setattr(exchanges, "READ_SECONDS", 3600.0)
    shadowed.take_place()
    shadowed.pipeline.source.drop(shadowed.files.meta)
    shadowed.pipeline.source.tick()
    shadowed.wait_for(CollectionState.DROPPED)
    assert shadowed.names == set()


@pytest.mark.parametrize("method", ["in_place", "drop_target", "shadow"])
def test_asked_for_twice(stage, method):
    """The second is refused until the shadow has taken the place."""
    asked = {} if method == "in_place" else {method: True}
    with pytest.raises(TaskConflictError, match="is being brought already"):
        stage.pipeline.resync("c", **asked)
    stage.pipeline.begin()
    stage.finish()
    assert_well(stage)
    stage.pipeline.resync("c", **asked)
    stage.finish()
    assert stage.names == {"c"}
    assert stage.there == RIGHT


@pytest.mark.parametrize("method", ["in_place", "drop_target", "shadow"])
def test_set_aside_meanwhile(stage, method):
    """A resync by any way begins with what readers had, and leaves no shadow."""
    task = stage.pipeline.task
    aside = RecordCollectionSetAside(1, stage.entry, CollectionError("no"), {})
    task.ask(aside, block=False)
    stage.pipeline.resync("c", **({} if method == "in_place" else {method: True}))
    stage.finish()
    assert stage.names == {"c"}
    assert stage.there == RIGHT
    if method == "shadow":
        assert all(each in (WRONG, None, RIGHT) for each in stage.seen)


def test_written_meanwhile(shadowed):
    """What is served stands still; what the source writes comes with the shadow."""
    shadowed.fill()
    source, meta = shadowed.pipeline.source, shadowed.files.meta
    source.insert(meta, (8,))
    source.delete(meta, (7,))
    source.tick()
    shadowed.pipeline.settle()
    assert shadowed.there == WRONG
    shadowed.finish()
    assert shadowed.names == {"c"}
    assert shadowed.seen == [WRONG, None, dict.fromkeys((1, 2, 3, 4, 5, 8), 1)]


def test_lost_position(shadowed):
    """What the log lost comes from files, and readers see none of it before all."""
    pipeline, files = shadowed.pipeline, shadowed.files
    pipeline.stop()
    pipeline.source.insert(files.meta, (8, 9))
    files.segments |= {3: (5,), 4: (7, 8, 9)}
    files.forget_log()
    pipeline.begin()
    assert isinstance(pipeline.wait_for_failure(), PositionLostError)
    shadowed.begin()
    shadowed.finish()
    assert shadowed.names == {"c"}
    assert shadowed.seen == [WRONG, None, RIGHT | {8: 1, 9: 1}]


def test_shadow_that_was_dropped_by_hand(shadowed):
    """Nothing takes the place of what is served; another resync brings it."""
    shadowed.fill()
    shadowed.pipeline.target.drop(shadowed.shadow_name)
    shadowed.pipeline.source.insert(shadowed.files.meta, (8,))
    shadowed.pipeline.wait_until(
        lambda: shadowed.tick() or shadowed.state is CollectionState.SET_ASIDE
    )
    assert "does not have default.cdc_actors_shadow" in shadowed.entry.reason
    assert shadowed.seen == [WRONG]
    shadowed.begin()
    shadowed.finish()
    assert shadowed.names == {"c"}
    assert shadowed.there == RIGHT | {8: 1}


def test_shadow_that_was_dropped_by_hand_is_not_made_empty(shadowed):
    """Nor where it is gone before the log follows it: it would lack the files' rows."""
    shadowed.begin()
    shadowed.pipeline.wait_until(shadowed.taken)
    shadowed.complete_taken()
    shadowed.pipeline.target.drop(shadowed.shadow_name)
    shadowed.pipeline.begin()
    shadowed.wait_for(CollectionState.SET_ASIDE)
    assert shadowed.seen == [WRONG]


def test_served_collection_that_was_dropped_by_hand(shadowed):
    """The shadow has its place in the end."""
    shadowed.fill()
    shadowed.pipeline.target.drop("c")
    shadowed.finish()
    assert shadowed.names == {"c"}
    assert shadowed.there == RIGHT


def test_served_collection_that_somebody_replaced(shadowed):
    """It stays until it is dropped by hand; then the collection takes its place."""
    shadowed.fill()
    shadowed.pipeline.target.make_anew("c")
    shadowed.pipeline.wait_until(
        lambda: shadowed.tick() or shadowed.state is CollectionState.SET_ASIDE
    )
    assert "has no mark of this task" in shadowed.entry.reason
    assert shadowed.there == {}
    shadowed.pipeline.target.drop("c")
    shadowed.pipeline.retry("c")
    shadowed.finish()
    assert shadowed.names == {"c"}
    assert shadowed.there == RIGHT


def test_collection_of_somebody_else_gets_no_shadow(shadowed):
    """It is set aside before anything is made."""
    shadowed.pipeline.target.make_anew("c")
    shadowed.begin()
    shadowed.wait_for(CollectionState.SET_ASIDE)
    assert "has no mark of this task" in shadowed.entry.reason
    assert shadowed.names == {"c"}


def test_nothing_to_be_replaced(shadowed):
    """What the target does not have is brought without a shadow."""
    shadowed.pipeline.target.collections.clear()
    shadowed.begin()
    shadowed.complete()
    assert shadowed.names == {"c"}
    assert shadowed.there == RIGHT
    assert not [each for each in shadowed.pipeline.target.asked if "rename" in each]


def test_target_has_a_collection_called_like_the_shadow(shadowed):
    """It is not touched: the collection is set aside, and what is served stays."""
    shadowed.pipeline.target.copy("c", shadowed.shadow_name)
    shadowed.begin()
    shadowed.wait_for(CollectionState.SET_ASIDE)
    assert f"{shadowed.shadow_name} at the target is another" in shadowed.entry.reason
    assert shadowed.pipeline.target.rows(shadowed.shadow_name) == WRONG
    assert shadowed.seen == [WRONG]


def test_source_has_a_collection_called_like_the_shadow(shadowed):
    """It goes on to get its rows, and what is to be brought anew is set aside."""
    source, name = shadowed.pipeline.source, shadowed.shadow_name
    other = source.create(name, B)
    source.insert(other, (100,), B)
    source.catalog.tell()
    rows = shadowed.pipeline.target.rows
    shadowed.pipeline.wait_until(lambda: shadowed.tick() or rows(name) == {100: 1})
    shadowed.begin()
    shadowed.wait_for(CollectionState.SET_ASIDE)
    assert f"{name} at the target is another collection" in shadowed.entry.reason
    source.insert(other, (101,), B)
    shadowed.pipeline.wait_until(
        lambda: shadowed.tick() or rows(name) == {100: 1, 101: 1}
    )
    source.rename(other, "other")
    source.catalog.tell()
    shadowed.pipeline.wait_until(
        lambda: shadowed.tick() or shadowed.names == {"c", "other"}
    )
    shadowed.pipeline.retry("c")
    shadowed.finish()
    assert_well_but(shadowed, {"c", "other"})


def test_user_that_may_not_rename(shadowed):
    """It is said before anything is made; without a shadow it can be had."""
    shadowed.pipeline.target.refuse_login("RenameCollection")
    shadowed.begin()
    shadowed.wait_for(CollectionState.SET_ASIDE)
    assert "refuses the login (RenameCollection). Grant it" in shadowed.entry.reason
    assert (shadowed.names, shadowed.seen) == ({"c"}, [WRONG])
    shadowed.pipeline.retry("c")
    shadowed.finish()
    assert_well(shadowed)


def test_user_that_may_rename_no_longer(shadowed):
    """Aliases and the name go on to show the same until it is granted again."""
    shadowed.fill()
    shadowed.pipeline.target.refuse_login("RenameCollection")
    shadowed.pipeline.wait_until_failed_or(shadowed.tick)
    assert (shadowed.seen, shadowed.by_alias) == ([WRONG], [WRONG])
    shadowed.pipeline.kill()
    shadowed.pipeline.begin()
    shadowed.finish()
    assert_well(shadowed)


def test_source_makes_a_collection_called_like_the_shadow(shadowed):
    """It comes once the shadow has another name, and each has its own rows."""
    shadowed.fill()
    source, name = shadowed.pipeline.source, shadowed.shadow_name
    other = source.create(name, B)
    source.insert(other, (100,), B)
    source.catalog.tell()
    shadowed.finish()
    rows = shadowed.pipeline.target.rows
    shadowed.pipeline.wait_until(lambda: shadowed.tick() or rows(name) == {100: 1})
    assert_well_but(shadowed, {"c", name})


def test_aliases_meanwhile(shadowed):
    """What the source does to aliases is done to what is served, and moves along."""
    shadowed.fill()
    shadowed.pipeline.source.point("own", shadowed.files.meta)
    shadowed.pipeline.source.catalog.tell()
    shadowed.finish()
    aliases = shadowed.pipeline.target.aliases
    shadowed.pipeline.wait_until(
        lambda: shadowed.tick() or aliases.get(("default", "own")) == "c"
    )
    assert_well(shadowed)


def test_restored_from_a_backup(stage):
    """Where the store knows less than was done, nothing is lost or left over."""
    backup = stage.pipeline.task.backup()
    stage.pipeline.begin()
    stage.finish()
    stage.pipeline.restore(backup)
    stage.finish()
    assert stage.names == {"c"}
    assert stage.there == RIGHT


def test_without_files_from_the_log(pipeline, monkeypatch):
    """Where the log still holds the beginning it fills the shadow."""
    meta = pipeline.source.create("c", A)
    pipeline.source.insert(meta, range(1, 7))
    pipeline.source.tick()
    pipeline.start()
    pipeline.settle()
    hurry(monkeypatch)
    shadowed = Shadowed(pipeline, SimpleNamespace(meta=meta))
    shadowed.watch()
    pipeline.target.collections["default", "c"].partitions["_default"][50] = 1
    shadowed.begin()
    shadowed.finish()
    assert shadowed.names == {"c"}
    assert shadowed.there == dict.fromkeys(range(1, 7), 1)


def test_loaded_as_what_is_served(shadowed):
    """The shadow is loaded before readers get it, where the collection is."""
    target = shadowed.pipeline.target
    target.is_loaded, target.loaded = False, {"c"}
    shadowed.begin()
    shadowed.finish()
    assert_well(shadowed)
    loads, renames = (
        [n for n, each in enumerate(target.asked) if each.startswith(word)]
        for word in ("load cdc_actors_shadow", "rename")
    )
    assert len(loads) == 1
    assert loads < renames


def test_abandoned(stage):
    """A task that ends leaves what readers had, with their aliases."""
    entry, pipeline = stage.entry, stage.pipeline
    mark = Claimant(STORE, pipeline.task.task.task_id, lambda _mark: True).mark(entry)
    connection = pipeline.target.connect(lambda: False)
    Shadow(connection, pipeline.task.task.spec, entry, mark).abandon()
    assert stage.names == {"c"}
    assert stage.there == stage.by_alias[-1]
    assert stage.there == next(each for each in reversed(stage.seen) if each)
