"""Collections that were set aside are taken up again, and lack nothing afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from cdc_actors.errors import FailureClass, TaskConflictError
from cdc_actors.pipeline import mark_rounds
from cdc_actors.tasks import CollectionState
from tests.fakes.fake_source import A, B
from tests.fakes.fake_target import ROW_TRIES
from tests.fakes.pipeline import Pipeline
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.source.catalog.client import CollectionMeta


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """Yield a task that runs, with two collections on both channels."""
    with Pipeline() as pipeline:
        pipeline.start()
        for name in ("books", "papers"):
            meta = pipeline.source.create(name)
            pipeline.source.insert(meta, [1], A)
            pipeline.source.insert(meta, [2], B)
        pipeline.source.catalog.tell()
        pipeline.source.tick()
        pipeline.settle()
        yield pipeline


def meta_of(pipeline: Pipeline, name: str) -> CollectionMeta:
    """Return what the source has by a name."""
    found = pipeline.source.catalog.snapshot().collections.values()
    return next(each for each in found if each.name == name)


def set_aside(pipeline: Pipeline, name: str, keys: list[int], channel: str = A) -> None:
    """Have an insert into a collection refused."""
    pipeline.target.refuse("Insert", ROW_TRIES)
    meta = meta_of(pipeline, name)
    pipeline.source.insert(meta, keys, channel)
    pipeline.source.tick()
    pipeline.wait_until(lambda: state(pipeline, name) is CollectionState.SET_ASIDE)
    pipeline.settle()


def state(pipeline: Pipeline, name: str) -> CollectionState:
    """Return where a collection stands."""
    return pipeline.task.entries[name].state


def insert(pipeline: Pipeline, name: str, *keys: int) -> None:
    """Insert rows and see them applied, as far as they are to be."""
    pipeline.source.insert(meta_of(pipeline, name), keys, A)
    pipeline.source.tick()
    pipeline.settle()


def equal(pipeline: Pipeline, name: str, *keys: int) -> None:
    """Wait until a collection has these keys, each once."""
    pipeline.settle()
    assert pipeline.target.rows(name) == dict.fromkeys(keys, 1)
    assert state(pipeline, name) is CollectionState.LIVE


def test_a_collection_goes_on_from_where_it_stood(pipeline: Pipeline) -> None:
    """It has every row; to the other nothing is done a second time."""
    set_aside(pipeline, "books", [3])
    insert(pipeline, "books", 4)
    insert(pipeline, "papers", 5)
    pipeline.source.delete(meta_of(pipeline, "papers"), [5])
    pipeline.source.delete(meta_of(pipeline, "books"), [1])
    pipeline.source.tick()
    pipeline.settle()
    assert pipeline.target.rows("books") == {1: 1, 2: 1}
    done = len(pipeline.target.asked)
    pipeline.retry("books")
    equal(pipeline, "books", 2, 3, 4)
    equal(pipeline, "papers", 1, 2)
    assert not [each for each in pipeline.target.asked[done:] if "papers" in each]


@pytest.mark.parametrize("begun", [False, True])
def test_a_kill_loses_nothing_of_a_retry(pipeline: Pipeline, *, begun: bool) -> None:
    """Neither before the channels were set back nor while they are read once more."""
    set_aside(pipeline, "books", [3])
    insert(pipeline, "papers", 5)
    pipeline.source.delete(meta_of(pipeline, "papers"), [5])
    insert(pipeline, "books", 4)
    pipeline.stop()
    pipeline.retry_ended("books")
    done = len(pipeline.target.asked)
    pipeline.target.silence("Insert", "DescribeCollection")
    if begun:
        pipeline.target.silence("Insert")
        pipeline.target.speak()
        pipeline.target.silence("Insert", "Delete")
        pipeline.start()
        pipeline.wait_until(lambda: pipeline.target.waiting)
    else:
        pipeline.begin()
        pipeline.wait_until(lambda: pipeline.target.waiting)
    pipeline.kill()
    pipeline.target.speak()
    pipeline.start()
    equal(pipeline, "books", 1, 2, 3, 4)
    equal(pipeline, "papers", 1, 2)
    assert not [each for each in pipeline.target.asked[done:] if "papers" in each]


def test_a_retry_while_another_replays(pipeline: Pipeline) -> None:
    """Each goes on from where it stood, whatever the channels were set back to."""
    set_aside(pipeline, "books", [3])
    insert(pipeline, "papers", 5)
    set_aside(pipeline, "papers", [6])
    insert(pipeline, "papers", 7)
    insert(pipeline, "books", 4)
    pipeline.target.silence("Insert")
    pipeline.retry("books")
    pipeline.wait_until(lambda: pipeline.target.waiting)
    pipeline.stop()
    done = len(pipeline.target.asked)
    pipeline.retry_ended("papers")
    pipeline.target.speak()
    pipeline.start()
    equal(pipeline, "books", 1, 2, 3, 4)
    equal(pipeline, "papers", 1, 2, 5, 6, 7)
    inserted = [each for each in pipeline.target.asked[done:] if each.startswith("ins")]
    assert sorted(set(inserted)) == ["insert books", "insert papers"]


def test_two_retries_before_a_run_begins(pipeline: Pipeline) -> None:
    """The second one does not take the first one's place from it."""
    set_aside(pipeline, "books", [3])
    set_aside(pipeline, "papers", [6])
    insert(pipeline, "books", 4)
    insert(pipeline, "papers", 7)
    pipeline.stop()
    pipeline.retry_ended("books")
    pipeline.retry_ended("papers")
    pipeline.start()
    equal(pipeline, "books", 1, 2, 3, 4)
    equal(pipeline, "papers", 1, 2, 6, 7)


def test_a_collection_that_is_set_aside_once_more(pipeline: Pipeline) -> None:
    """What is refused while it is replayed it goes on from later."""
    set_aside(pipeline, "books", [3])
    insert(pipeline, "papers", 5)
    pipeline.target.refuse("Delete", 2)
    pipeline.retry()
    pipeline.wait_until(lambda: state(pipeline, "books") is CollectionState.SET_ASIDE)
    pipeline.settle()
    insert(pipeline, "books", 4)
    pipeline.retry()
    equal(pipeline, "books", 1, 2, 3, 4)
    equal(pipeline, "papers", 1, 2, 5)


def test_what_was_done_to_a_collection_meanwhile(pipeline: Pipeline) -> None:
    """Partitions, aliases and names are as at the source."""
    source = pipeline.source
    books = meta_of(pipeline, "books")
    made = source.create_partition(books, "p")
    source.insert(books, [8], A, "p")
    source.tick()
    pipeline.settle()
    set_aside(pipeline, "books", [3])
    source.drop_partition(books, "p", made)
    source.create_partition(books, "q")
    source.insert(books, [9], B, "q")
    source.point("volumes", books)
    source.rename(books, "tomes")
    source.catalog.tell()
    source.tick()
    pipeline.settle()
    pipeline.wait_until(lambda: pipeline.target.rows("tomes"))
    pipeline.retry("tomes")
    equal(pipeline, "tomes", 1, 2, 3, 9)
    pipeline.wait_until(lambda: pipeline.target.aliases)
    stored = pipeline.target.collections["default", "tomes"]
    assert set(stored.partitions) == {"_default", "q"}
    assert pipeline.target.aliases == {("default", "volumes"): "tomes"}


def wait_asked(pipeline: Pipeline, wanted: dict[str, int]) -> None:
    """Wait until the target was asked so often: collections do not wait for each other."""
    asked = pipeline.target.asked
    pipeline.wait_until(lambda: all(asked.count(k) == n for k, n in wanted.items()))


@pytest.mark.parametrize("lost", [False, True])
def test_what_clients_asked_meanwhile(pipeline: Pipeline, *, lost: bool) -> None:
    """It is asked of the retried collection, and of no other a second time."""
    source, target = pipeline.source, pipeline.target
    for name in ("books", "papers"):
        source.load(name)
    source.tick()
    wait_asked(pipeline, {"load books": 1, "load papers": 1})
    if lost:
        with target.changed:
            del target.collections["default", "books"]
    set_aside(pipeline, "books", [3])
    for name in ("books", "papers"):
        source.load(name)
    source.tick()
    wait_asked(pipeline, {"load books": 1, "load papers": 2})
    pipeline.retry()
    wanted = 3 if lost else 2
    wait_asked(pipeline, {"load books": wanted})
    source.load("papers")
    source.tick()
    wait_asked(pipeline, {"load papers": 3})
    pipeline.stop()
    pipeline.start()
    equal(pipeline, "books", 1, 2, 3)
    assert target.asked.count("load books") == wanted
    assert target.asked.count("load papers") == 3


@pytest.mark.parametrize("made", [False, True])
def test_a_collection_whose_creation_was_refused(
    pipeline: Pipeline, *, made: bool
) -> None:
    """It is created by the retry; the refusal may hide that it was done."""
    target = pipeline.target
    target.refuse("CreateCollection")
    source = pipeline.source
    maps = source.create("maps")
    source.insert(maps, [1], A)
    source.insert(maps, [2], B)
    source.catalog.tell()
    source.tick()
    pipeline.wait_until(lambda: "maps" in pipeline.task.entries)
    pipeline.settle()
    assert state(pipeline, "maps") is CollectionState.SET_ASIDE
    insert(pipeline, "maps", 3)
    if made:
        pipeline.kill()
        pipeline.start()
    pipeline.retry("maps")
    equal(pipeline, "maps", 1, 2, 3)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("killed", [False, True])
def test_one_set_aside_before_any_request_was_read(
    pipeline: Pipeline, *, again: bool, killed: bool
) -> None:
    """What clients asked of it since is asked of the target once it is taken up."""
    source, target = pipeline.source, pipeline.target
    target.refuse("CreateCollection")
    maps = source.create("maps")
    source.catalog.tell()
    source.tick()
    pipeline.wait_until(lambda: "maps" in pipeline.task.entries)
    pipeline.settle()
    assert state(pipeline, "maps") is CollectionState.SET_ASIDE
    source.load("maps")
    source.load("books")
    source.insert(maps, [1], A)
    source.tick()
    pipeline.wait_until(lambda: "load books" in target.asked)
    pipeline.settle()
    if again:
        target.refuse("CreateCollection")
        pipeline.retry("maps")
        pipeline.settle()
        assert state(pipeline, "maps") is CollectionState.SET_ASIDE
    if killed:
        target.silence("LoadCollection")
    pipeline.retry("maps")
    if killed:
        pipeline.wait_until(lambda: target.waiting)
        pipeline.kill()
        target.speak()
        pipeline.start()
    equal(pipeline, "maps", 1)
    pipeline.wait_until(lambda: "load maps" in target.asked)
    assert target.asked.count("load books") == 1


def test_a_collection_whose_name_was_taken(pipeline: Pipeline) -> None:
    """Once the target has the name free, the collection comes from its beginning."""
    source, target = pipeline.source, pipeline.target
    target.collections["default", "maps"] = target.collections["default", "books"]
    target.aliases["default", "atlas"] = "maps"
    maps = source.create("atlas")
    source.insert(maps, [1], A)
    source.catalog.tell()
    source.tick()
    pipeline.wait_until(lambda: "atlas" in pipeline.task.entries)
    pipeline.settle()
    assert "alias" in pipeline.task.entries["atlas"].reason
    pipeline.retry("atlas")
    pipeline.settle()
    assert state(pipeline, "atlas") is CollectionState.SET_ASIDE
    del target.aliases["default", "atlas"]
    insert(pipeline, "atlas", 2)
    pipeline.stop()
    pipeline.start()
    pipeline.retry("atlas")
    equal(pipeline, "atlas", 1, 2)


@pytest.mark.parametrize("killed", [False, True])
def test_a_collection_that_was_dropped_at_the_target(
    pipeline: Pipeline, *, killed: bool
) -> None:
    """It is created again and comes from its beginning; its aliases come, too."""
    source, target = pipeline.source, pipeline.target
    source.point("volumes", meta_of(pipeline, "books"))
    source.catalog.tell()
    source.tick()
    pipeline.settle()
    pipeline.wait_until(lambda: target.aliases)
    with target.changed:
        del target.collections["default", "books"]
        target.aliases.clear()
    insert(pipeline, "papers", 5)
    pipeline.source.delete(meta_of(pipeline, "papers"), [5])
    insert(pipeline, "books", 3)
    assert state(pipeline, "books") is CollectionState.SET_ASIDE
    insert(pipeline, "books", 4)
    done = len(target.asked)
    if killed:
        target.silence("CreateCollection")
        pipeline.retry()
        pipeline.wait_until(lambda: target.waiting)
        pipeline.kill()
        target.speak()
        pipeline.start()
    else:
        pipeline.retry()
    equal(pipeline, "books", 1, 2, 3, 4)
    equal(pipeline, "papers", 1, 2)
    assert not [each for each in target.asked[done:] if "papers" in each]
    pipeline.wait_until(lambda: target.aliases)
    assert target.aliases == {("default", "volumes"): "books"}


def test_a_collection_that_was_made_anew_with_another_schema(
    pipeline: Pipeline,
) -> None:
    """It is set aside again, with the true reason; dropped at the target, it comes."""
    set_aside(pipeline, "books", [3])
    with pipeline.target.changed:
        fields = pipeline.target.collections["default", "books"].schema.fields
        fields.add(fieldID=200, name="other")
    pipeline.retry("books")
    pipeline.settle()
    assert "another schema" in pipeline.task.entries["books"].reason
    with pipeline.target.changed:
        del pipeline.target.collections["default", "books"]
    pipeline.retry("books")
    equal(pipeline, "books", 1, 2, 3)
    equal(pipeline, "papers", 1, 2)


@pytest.mark.parametrize("written", [False, True])
def test_a_collection_that_was_dropped_at_the_target_is_shown(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, *, written: bool
) -> None:
    """Whether or not anything is written to it, with words that say what to do."""
    monkeypatch.setattr(mark_rounds, "ROUND_SECONDS", 0)
    pipeline.stop()
    pipeline.start()
    with pipeline.target.changed:
        del pipeline.target.collections["default", "books"]
    if written:
        pipeline.source.insert(meta_of(pipeline, "books"), [3], A)
        pipeline.source.tick()
    pipeline.wait_until(lambda: state(pipeline, "books") is CollectionState.SET_ASIDE)
    assert (
        "does not have default.books any more" in pipeline.task.entries["books"].reason
    )
    pipeline.retry("books")
    equal(pipeline, "books", 1, 2, *([3] if written else []))
    equal(pipeline, "papers", 1, 2)


def test_another_schema_hidden_by_an_unclear_answer(pipeline: Pipeline) -> None:
    """The collection is set aside at once, with what differs."""
    target = pipeline.target
    with target.changed:
        target.collections["default", "books"].schema.fields.add(fieldID=200, name="z")
    target.answer_unclearly("Insert", "books")
    pipeline.source.insert(meta_of(pipeline, "books"), [3], A)
    pipeline.source.tick()
    pipeline.wait_until(lambda: state(pipeline, "books") is CollectionState.SET_ASIDE)
    assert "field z: source has none" in pipeline.task.entries["books"].reason
    insert(pipeline, "papers", 5)
    equal(pipeline, "papers", 1, 2, 5)


@pytest.mark.parametrize("written", [False, True])
def test_what_was_made_by_hand_in_its_place_stays(
    pipeline: Pipeline, *, written: bool
) -> None:
    """Neither a rename nor the drop at the source touches what is not the task's."""
    source, target = pipeline.source, pipeline.target
    books = meta_of(pipeline, "books")
    with target.changed:
        target.collections["default", "books"].schema.fields.add(fieldID=200, name="z")
    if written:
        target.answer_unclearly("Insert", "books")
        source.insert(books, [3], A)
        source.tick()
        pipeline.wait_until(
            lambda: state(pipeline, "books") is CollectionState.SET_ASIDE
        )
    source.rename(books, "tomes")
    source.catalog.tell()
    source.tick()
    pipeline.wait_until(lambda: "tomes" in pipeline.task.entries)
    source.drop(meta_of(pipeline, "tomes"))
    source.catalog.tell()
    source.tick()
    pipeline.wait_until(lambda: state(pipeline, "tomes") is CollectionState.DROPPED)
    assert target.rows("books") == {1: 1, 2: 1}


def test_a_collection_that_the_target_says_nothing_clear_of(pipeline: Pipeline) -> None:
    """It is set aside again, and can be retried again; the others go on."""
    set_aside(pipeline, "books", [3])
    pipeline.target.answer_once_unclearly("DescribeCollection", is_done=False)
    pipeline.retry("books")
    insert(pipeline, "papers", 5)
    assert state(pipeline, "books") is CollectionState.SET_ASIDE
    pipeline.retry("books")
    equal(pipeline, "books", 1, 2, 3)
    equal(pipeline, "papers", 1, 2, 5)


@pytest.mark.parametrize("dropped", [False, True])
def test_what_the_log_no_longer_holds(pipeline: Pipeline, *, dropped: bool) -> None:
    """The collection is set aside with that reason, and the next request is refused."""
    source = pipeline.source
    source.point("volumes", None)
    end = source.log_end(A)
    set_aside(pipeline, "books", [3])
    insert(pipeline, "papers", 5)
    pipeline.stop()
    if dropped:
        with pipeline.target.changed:
            del pipeline.target.collections["default", "books"]
        source.log.truncate(A, end)
    else:
        source.log.truncate(A, source.log_end(A))
    pipeline.retry_ended()
    pipeline.start()
    equal(pipeline, "papers", 1, 2, 5)
    entry = pipeline.task.entries["books"]
    assert entry.state is CollectionState.SET_ASIDE
    assert entry.failure_class is FailureClass.POSITION_LOST
    assert "the log no longer holds" in entry.reason
    with pytest.raises(TaskConflictError, match=r"default\.books cannot be taken up"):
        pipeline.retry_ended("books")


@pytest.mark.parametrize("seen", [False, True])
def test_a_collection_that_the_source_has_dropped(
    pipeline: Pipeline, *, seen: bool
) -> None:
    """It is dropped at the target, and nothing of it comes back."""
    set_aside(pipeline, "books", [3])
    if not seen:
        pipeline.stop()
        pipeline.retry_ended("books")
    pipeline.source.drop(meta_of(pipeline, "books"))
    pipeline.source.tick()
    if not seen:
        pipeline.start()
    pipeline.settle()
    pipeline.wait_until(lambda: pipeline.target.rows("books") is None)
    pipeline.settle()
    assert state(pipeline, "books") is CollectionState.DROPPED
    with pytest.raises(TaskConflictError, match=r"no collection default\.books"):
        pipeline.retry_ended("books")


def test_a_collection_that_was_passed_over_is_not_half_replicated() -> None:
    """One of its channels is set back before its rows, for another; the other is not."""
    spec = replace(SPEC, collection_infos=("books", "maps"))
    with Pipeline(spec) as pipeline:
        source = pipeline.start().source
        books = source.create("books", A)
        source.create("maps", A, B)
        source.catalog.tell()
        source.tick()
        pipeline.settle()
        set_aside(pipeline, "books", [1])
        drafts = source.create("drafts", A, B)
        source.insert(drafts, [1], A)
        source.insert(drafts, [2], B)
        source.tick()
        pipeline.settle()
        pipeline.stop()
        source.drop(meta_of(pipeline, "maps"))
        source.rename(drafts, "maps")
        pipeline.retry_ended("books")
        pipeline.start()
        source.insert(books, [2], A)
        source.insert(drafts, [3], B)
        source.tick()
        pipeline.settle()
        assert pipeline.target.rows("books") == {1: 1, 2: 1}
        pipeline.wait_until(lambda: pipeline.target.rows("maps") is None)
        entry = pipeline.task.task.collections[drafts.id]
        assert entry.state is CollectionState.SET_ASIDE
        assert entry.failure_class is FailureClass.POSITION_LOST


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("created", [False, True])
def test_properties_that_were_altered_meanwhile(
    pipeline: Pipeline, *, created: bool, running: bool
) -> None:
    """They arrive with the retry, whether or not the collection was at the target."""
    source, target = pipeline.source, pipeline.target
    name = "books" if created else "maps"
    if created:
        set_aside(pipeline, "books", [3])
    else:
        target.refuse("CreateCollection")
        source.insert(source.create("maps"), [3], A)
        source.catalog.tell()
        source.tick()
        pipeline.settle()
        assert state(pipeline, "maps") is CollectionState.SET_ASIDE
    if not running:
        pipeline.stop()
    source.alter(meta_of(pipeline, name), {"mmap.enabled": "true"})
    source.catalog.tell()
    source.tick()
    if running:
        pipeline.settle()
        pipeline.retry()
    else:
        pipeline.retry_ended()
        pipeline.start()
    insert(pipeline, name, 4)
    equal(pipeline, name, *((1, 2, 3, 4) if created else (3, 4)))
    pipeline.wait_until(lambda: target.properties(name).get("mmap.enabled") == "true")
    pipeline.stop()
    pipeline.start()
    pipeline.settle()
    assert target.asked.count(f"alter {name}") <= 2


@pytest.mark.parametrize("written", [False, True])
def test_a_collection_that_was_renamed_at_the_target(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, *, written: bool
) -> None:
    """It is shown with the reason; a retry brings it anew, and the operator's stays."""
    monkeypatch.setattr(mark_rounds, "ROUND_SECONDS", 0)
    pipeline.stop()
    pipeline.start()
    target = pipeline.target
    with target.changed:
        moved = target.collections.pop(("default", "books"))
        moved.schema.name = "moved"
        target.collections["default", "moved"] = moved
    if written:
        pipeline.source.insert(meta_of(pipeline, "books"), [3], A)
        pipeline.source.tick()
    pipeline.wait_until(lambda: state(pipeline, "books") is CollectionState.SET_ASIDE)
    assert "it was dropped or renamed there" in pipeline.task.entries["books"].reason
    pipeline.retry("books")
    equal(pipeline, "books", 1, 2, *([3] if written else []))
    equal(pipeline, "papers", 1, 2)
    assert target.rows("moved") == {1: 1, 2: 1}
