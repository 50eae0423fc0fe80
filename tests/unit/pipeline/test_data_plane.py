"""The data plane from log and catalog to the target, by the real actors, in memory."""

from __future__ import annotations

import time
from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from pymilvus.grpc_gen import msg_pb2, schema_pb2

from cdc_actors.changes import physical_seconds
from cdc_actors.errors import TransientError
from cdc_actors.pipeline.channels import Channels
from cdc_actors.pipeline.messages import RunProgressed
from cdc_actors.tasks import CollectionState, OperationApplied
from cdc_actors.tasks.descriptions import describe as describe_event
from tests.fakes.fake_source import A, B
from tests.fakes.fake_target import ROW_TRIES, StoredCollection
from tests.fakes.pipeline import Pipeline
from tests.support.tasks import CLIENT, SPEC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.source.catalog.client import CollectionMeta


@pytest.fixture
def begun() -> Iterator[Pipeline]:
    """Return a task that has begun, with nothing at its source."""
    with Pipeline() as pipeline:
        yield pipeline.start()


@pytest.fixture
def pipeline(begun: Pipeline) -> Pipeline:
    """Return a task that reads both channels, as it has a collection on both."""
    begun.source.create("first")
    begun.source.catalog.tell()
    begun.source.tick()
    begun.settle()
    return begun


@pytest.mark.parametrize("order", list(permutations(["watch", A, B])), ids="-".join)
@pytest.mark.parametrize("restart", [None, Pipeline.stop, Pipeline.kill])
def test_a_collection_begins_whoever_tells_of_it_first(
    begun: Pipeline, order: tuple[str, ...], restart
) -> None:
    """All its channels are read, also those that no other collection uses.

    One channel is read already. Log and watch tell in every order, with time between.
    """
    source = begun.source
    source.create("first", A)
    source.catalog.tell()
    source.tick(A)
    begun.settle()
    books = source.declare("books", A, B)
    for teller in order:
        if teller == "watch":
            source.catalog.tell()
        else:
            source.say_create(books, teller)
            source.insert(books, [1] if teller == A else [2], teller)
            source.tick(teller)
        begun.wait_for_steps()
    if restart:
        restart(begun)
        begun.start()
    source.insert(books, [3], A)
    source.insert(books, [4], B)
    source.tick()
    begun.settle()
    assert begun.target.rows("books") == dict.fromkeys([1, 2, 3, 4], 1)
    assert begun.task.checkpoints.keys() >= {A, B}


@pytest.mark.parametrize("log_first", [False, True])
def test_a_channel_begins_with_the_oldest_of_its_collections(
    begun: Pipeline, *, log_first: bool
) -> None:
    """One that is older than what a channel is begun for may be told of later."""
    source = begun.source
    source.create("first", A)
    source.catalog.tell()
    source.tick(A)
    begun.settle()
    old = source.create("old", B)
    source.insert(old, [1], B)
    source.create("empty", B)
    source.create("books", A, B)
    if log_first:
        source.tick(A)
        begun.wait_for_steps()
    source.catalog.tell()
    begun.wait_for_steps()
    source.tick()
    begun.settle()
    found = [begun.target.rows(name) for name in ("old", "empty", "books")]
    assert found == [{1: 1}, {}, {}]


def test_a_task_that_missed_a_channel_reads_it_after_a_restart(
    begun: Pipeline,
) -> None:
    """Earlier versions subscribed only one channel of a collection, and failed."""
    source = begun.source
    books = source.create("books", A, B)
    source.catalog.tell()
    source.insert(books, [1], A)
    source.insert(books, [2], B)
    source.tick()
    begun.settle()
    begun.stop()
    del begun.task.checkpoints[B]
    begun.target.collections["default", "books"].partitions["_default"].pop(2, None)
    begun.start()
    source.tick()
    begun.settle()
    assert begun.target.rows("books") == {1: 1, 2: 1}


def test_rows_wait_for_their_tick(pipeline: Pipeline) -> None:
    """Nothing is sent that a tick has not covered, and of each channel by its own."""
    source = pipeline.source
    books = source.create("books")
    source.insert(books, [1], A)
    source.insert(books, [2], B)
    pipeline.wait_for_steps()
    assert pipeline.target.rows("books") is None
    source.tick(A)
    pipeline.settle()
    assert pipeline.target.rows("books") == {1: 1}
    source.tick(B)
    pipeline.settle()
    assert pipeline.target.rows("books") == {1: 1, 2: 1}


@pytest.mark.parametrize("told", ["between", "after", "never"])
@pytest.mark.parametrize("killed", [False, True])
def test_a_name_is_used_again_while_rows_wait(
    pipeline: Pipeline, told: str, *, killed: bool
) -> None:
    """The new collection comes when the old one is gone, and none of the old's rows."""
    source, target = pipeline.source, pipeline.target
    old = source.create("books")
    source.insert(old, [1])
    source.tick()
    pipeline.settle()
    target.silence("Insert")
    source.insert(old, [2])
    source.tick()
    pipeline.wait_until(lambda: target.waiting)
    source.drop(old)
    if told == "between":
        source.catalog.tell()
    new = source.create("books")
    source.insert(new, [3])
    if told == "after":
        source.catalog.tell()
    source.tick()
    pipeline.wait_for_steps()
    assert target.rows("books") == {1: 1}
    if killed:
        pipeline.kill()
        pipeline.begin()
    target.speak()
    pipeline.wait_until(lambda: target.rows("books") == {3: 1})
    pipeline.settle()
    assert target.asked.count("drop books") == 1
    assert target.rows("books") == {3: 1}


@pytest.mark.parametrize("killed", [False, True])
def test_a_rename_stands_behind_the_rows_before_it(
    pipeline: Pipeline, *, killed: bool
) -> None:
    """Rows that wait go by the old name, what follows by the new one."""
    source, target = pipeline.source, pipeline.target
    books = source.create("books")
    source.tick()
    pipeline.settle()
    target.silence("Insert")
    source.insert(books, [1])
    source.tick()
    pipeline.wait_until(lambda: target.waiting)
    source.rename(books, "novels")
    source.catalog.tell()
    source.tick()
    pipeline.wait_for_steps()
    if killed:
        pipeline.kill()
        pipeline.begin()
    target.speak()
    pipeline.wait_until(lambda: target.rows("novels"))
    source.insert(books, [2])
    source.tick()
    pipeline.settle()
    assert target.rows("novels") == {1: 1, 2: 1}
    assert target.rows("books") is None
    assert target.asked.count("rename books novels") == 1


@pytest.mark.parametrize("ahead", [A, B])
def test_a_partition_is_dropped_once_both_channels_say_so(
    pipeline: Pipeline, ahead: str
) -> None:
    """What the channel that is ahead says behind it waits; memory is all given back."""
    source, target = pipeline.source, pipeline.target
    behind = B if ahead == A else A
    books = source.create("books")
    parted = source.create_partition(books, "p")
    source.catalog.tell()
    source.insert(books, [1], A, "p")
    source.insert(books, [2], B, "p")
    source.tick(ahead)
    pipeline.settle()
    source.drop_partition(books, "p", parted)
    source.insert(books, [3], ahead)
    source.tick(ahead)
    pipeline.wait_for_steps()
    assert "drop partition p" not in target.asked
    assert 3 not in target.rows("books")
    source.tick(behind)
    pipeline.settle()
    assert target.rows("books") == {3: 1}
    assert target.asked.count("drop partition p") == 1
    assert pipeline.memory.used == 0


def test_drop_of_a_partition_that_is_said_again(pipeline: Pipeline) -> None:
    """A restarted source says it once more: what has its name by then is not meant."""
    source, target = pipeline.source, pipeline.target
    books = source.create("books")
    parted = source.create_partition(books, "p")
    source.insert(books, [1], A, "p")
    source.tick()
    pipeline.settle()
    source.drop_partition(books, "p", parted)
    source.create_partition(books, "p")
    source.insert(books, [2], A, "p")
    source.tick()
    pipeline.settle()
    assert target.rows("books") == {2: 1}
    pipeline.stop()
    again = msg_pb2.DropPartitionRequest(
        collectionID=books.id, partition_name="p", partitionID=parted
    )
    for channel in (A, B):
        source.write(channel, "DropPartition", again, source.next())
    source.insert(books, [3], B, "p")
    source.tick()
    pipeline.start()
    pipeline.settle()
    assert target.rows("books") == {2: 1, 3: 1}
    assert pipeline.memory.used == 0


def test_a_partition_is_dropped_before_its_creation_is_due(pipeline: Pipeline) -> None:
    """The catalog told of it, and the tick that covers both comes with the drop."""
    source, target = pipeline.source, pipeline.target
    books = source.create("books")
    source.catalog.tell()
    source.tick()
    pipeline.settle()
    parted = source.create_partition(books, "p")
    source.catalog.tell()
    pipeline.wait_for_steps()
    source.drop_partition(books, "p", parted)
    source.tick()
    pipeline.settle()
    pipeline.wait_for_steps()
    assert set(target.collections["default", "books"].partitions) == {"_default"}
    source.create_partition(books, "p")
    source.catalog.tell()
    source.tick()
    stored = target.collections["default", "books"]
    pipeline.wait_until(lambda: "p" in stored.partitions)


def test_a_run_tells_how_new_the_ticks_are_that_it_reads(begun: Pipeline) -> None:
    """By how much the newest was ahead of the monotonic clock when it was read."""
    before = time.monotonic()
    begun.source.create("books")
    begun.source.catalog.tell()
    begun.source.tick()

    def leads() -> list[float]:
        reports = [each for each in begun.task.told if isinstance(each, RunProgressed)]
        return [each.tick_lead for each in reports if each.tick_lead is not None]

    begun.wait_until(leads)
    newest = physical_seconds(begun.source.next())
    assert before - newest <= -leads()[-1] <= time.monotonic()


def test_ticks_of_a_backlog_tell_nothing_of_the_source_s_clock(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are old: by them the target would seem to have what still stands in the log."""
    monkeypatch.setattr(Channels, "behind", True)
    pipeline.source.create("books", A)
    pipeline.source.tick()
    pipeline.start()
    pipeline.settle()

    def reports() -> list[RunProgressed]:
        return [e for e in pipeline.task.told if isinstance(e, RunProgressed)]

    pipeline.wait_until(lambda: any(each.head for each in reports()))
    assert {each.tick_lead for each in reports()} == {None}


def test_a_target_that_takes_fewer_shards(pipeline: Pipeline) -> None:
    """What it was made with instead stands in the task's history."""
    pipeline.target.most_shards = 1
    pipeline.source.create("books", A, B)
    pipeline.source.create("papers", A)
    pipeline.source.catalog.tell()
    pipeline.source.tick()
    pipeline.settle()
    told = [
        describe_event(each)
        for each in pipeline.task.task.pending_events
        if isinstance(each, OperationApplied) and each.name != "first"
    ]
    assert sorted(told) == [
        "CreateCollection of default.books applied at the target, 1 instead of 2 shards",
        "CreateCollection of default.papers applied at the target",
    ]


def test_an_alias_is_moved_and_dropped(pipeline: Pipeline) -> None:
    """It stands for what it stood for at the time that the log has come to."""
    source, target = pipeline.source, pipeline.target
    alias = ("default", "current")
    books, papers = source.create("books"), source.create("papers")
    for owner, expected in ((books, "books"), (papers, "papers"), (None, None)):
        source.point("current", owner)
        source.catalog.tell()
        pipeline.wait_for_steps()
        source.tick()
        pipeline.wait_until(lambda: target.aliases.get(alias) == expected)  # noqa: B023
    source.point("current", books)
    source.catalog.tell()
    source.tick()
    pipeline.wait_until(lambda: alias in target.aliases)
    source.drop(books)
    source.tick()
    pipeline.wait_until(lambda: target.rows("books") is None)
    assert alias not in target.aliases


@pytest.mark.parametrize("moved", [False, True])
def test_a_refused_alias_that_is_undone_while_nobody_looks_is_settled(
    pipeline: Pipeline, *, moved: bool
) -> None:
    """It matters over restarts while the source has it, and no longer."""
    source, target, task = pipeline.source, pipeline.target, pipeline.task.task
    books, papers = source.create("books"), source.create("papers")
    source.tick()
    pipeline.wait_until(lambda: target.rows("papers") is not None)
    target.collections["default", "taken"] = target.collections["default", "papers"]
    source.point("taken", books)
    source.catalog.tell()
    pipeline.wait_for_steps()
    source.tick()
    pipeline.wait_until(lambda: task.unresolved)
    pipeline.stop()
    pipeline.start()
    pipeline.wait_for_steps()
    assert len(task.unresolved) == 1
    pipeline.stop()
    del target.collections["default", "taken"]
    source.point("taken", papers if moved else None)
    pipeline.start()
    source.tick()
    pipeline.wait_until(lambda: not task.unresolved)
    expected = "papers" if moved else None
    pipeline.wait_until(lambda: target.aliases.get(("default", "taken")) == expected)


@pytest.mark.parametrize("is_done", [False, True])
def test_an_insert_without_an_answer_holds_the_checkpoint_back(
    pipeline: Pipeline, *, is_done: bool
) -> None:
    """The run fails; the next one brings the rows once, be they there already or not."""
    source, target = pipeline.source, pipeline.target
    books = source.create("books")
    before = source.tick()
    pipeline.settle()
    target.fail("Insert", is_done=is_done)
    source.insert(books, [1, 2])
    source.insert(books, [3], B)
    source.tick()
    assert isinstance(pipeline.wait_for_failure(), TransientError)
    assert pipeline.task.checkpoints[A].tick == before
    pipeline.start()
    pipeline.settle()
    assert target.rows("books") == {1: 1, 2: 1, 3: 1}


def test_a_pause_does_not_wait_for_a_silent_target(pipeline: Pipeline) -> None:
    """What is under way is cancelled, and comes once when the task is resumed."""
    source, target = pipeline.source, pipeline.target
    books = source.create("books")
    before = source.tick()
    pipeline.settle()
    target.silence("Insert")
    source.insert(books, [1])
    source.tick()
    pipeline.wait_until(lambda: target.waiting)
    pipeline.stop()
    assert pipeline.task.failures == []
    assert pipeline.task.checkpoints[A].tick == before
    assert pipeline.memory.used == 0
    target.speak()
    pipeline.start()
    pipeline.settle()
    assert target.rows("books") == {1: 1}


def test_a_refused_collection_is_set_aside_alone(pipeline: Pipeline) -> None:
    """Its rows are let go, so that checkpoint and memory are the others' again."""
    source, target = pipeline.source, pipeline.target
    books, papers = source.create("books"), source.create("papers")
    source.tick()
    pipeline.settle()
    target.refuse("Insert", ROW_TRIES)
    source.insert(books, [1])
    source.tick()
    pipeline.settle()
    source.insert(books, [2])
    source.insert(papers, [3])
    source.tick()
    pipeline.settle()
    assert target.rows("papers") == {3: 1}
    assert target.rows("books") == {}
    entries = pipeline.task.entries
    assert entries["books"].state is CollectionState.SET_ASIDE
    assert entries["papers"].state is CollectionState.LIVE
    assert pipeline.memory.used == 0


def assert_missed_visibly(pipeline: Pipeline, hidden: CollectionMeta) -> None:
    """Rename a collection into the selection during a restart: it is set aside."""
    pipeline.stop()
    pipeline.source.rename(hidden, "books")
    pipeline.start()
    entry = pipeline.task.task.collections[hidden.id]
    assert entry.state is CollectionState.SET_ASIDE
    assert "not selected" in entry.reason


@pytest.mark.parametrize("both_read", [False, True])
def test_rows_under_a_name_that_is_not_selected_are_missed_visibly(
    *, both_read: bool
) -> None:
    """A collection renamed into the selection is set aside if rows of it went by.

    After a restart that is known by the channels that are read, be they all or not.
    """
    with Pipeline(replace(SPEC, collection_infos=("books", "other"))) as pipeline:
        source = pipeline.start().source
        source.create("other", *((A, B) if both_read else (A,)))
        source.catalog.tell()
        hidden = source.create("hidden", A, B)
        source.insert(hidden, [1], A)
        source.tick()
        pipeline.settle()
        assert_missed_visibly(pipeline, hidden)


def test_rows_are_missed_visibly_though_one_channel_is_not_as_far() -> None:
    """One channel has passed the creation under the other name, the other one has not."""
    with Pipeline(replace(SPEC, collection_infos=("books", "other"))) as pipeline:
        source = pipeline.start().source
        source.create("other", A, B)
        source.catalog.tell()
        source.tick()
        pipeline.settle()
        hidden = source.create("hidden", A, B)
        source.insert(hidden, [1], A)
        source.tick(A)
        pipeline.wait_for_steps()
        assert_missed_visibly(pipeline, hidden)


def update(pipeline: Pipeline, *names: str, stop: bool = True) -> None:
    """Give the task another selection, as its actor does between two runs."""
    if stop:
        pipeline.stop()
    task, checkpoints = pipeline.task.task, pipeline.task.checkpoints.values()
    spec = replace(task.spec, collection_infos=names)
    task.update(spec, checkpoints, secret=None, who=CLIENT, why="test")
    pipeline.start()


def test_an_update_of_the_selection() -> None:
    """What leaves stays as it is at the target, what stays goes on, what is new comes.

    All of it comes of a collection on a channel that was not read yet, and of one that is
    made after the update.
    """
    with Pipeline(replace(SPEC, collection_infos=("books", "maps"))) as pipeline:
        source = pipeline.start().source
        books, maps = source.create("books", A), source.create("maps", A)
        charts = source.create("charts", B)
        source.catalog.tell()
        source.insert(books, [1], A)
        source.insert(maps, [1], A)
        source.insert(charts, [1], B)
        source.tick()
        pipeline.settle()
        update(pipeline, "books", "charts", "novels")
        novels = source.create("novels", A, B)
        source.catalog.tell()
        for each in (books, maps, novels):
            source.insert(each, [2], A)
        source.insert(charts, [2], B)
        source.drop(maps)
        source.tick()
        pipeline.settle()
        rows = {name: pipeline.target.rows(name) for name in ("books", "maps")}
        assert rows == {"books": {1: 1, 2: 1}, "maps": {1: 1}}
        assert pipeline.target.rows("charts") == {1: 1, 2: 1}
        assert pipeline.target.rows("novels") == {2: 1}
        entries = pipeline.task.entries
        assert entries.keys() == {"books", "charts", "novels"}
        assert {each.state for each in entries.values()} == {CollectionState.LIVE}


@pytest.mark.parametrize("reads", [(A,), (A, B)], ids=["one of two", "both"])
@pytest.mark.parametrize("restart", [None, Pipeline.stop, Pipeline.kill])
def test_rows_that_were_read_before_an_update_selected_them(
    reads: tuple[str, ...], restart
) -> None:
    """Such a collection is set aside with the reason, also after a restart."""
    with Pipeline(replace(SPEC, collection_infos=("other",))) as pipeline:
        source = pipeline.start().source
        other = source.create("other", *reads)
        source.catalog.tell()
        late = source.create("late", A, B)
        source.insert(late, [1], A)
        source.tick(*reads)
        pipeline.settle()
        update(pipeline, "other", "late")
        if restart:
            restart(pipeline)
            pipeline.start()
        source.insert(late, [2], A)
        source.insert(other, [2], A)
        source.tick()
        pipeline.settle()
        entry = pipeline.task.task.collections[late.id]
        assert entry.state is CollectionState.SET_ASIDE
        assert "before an update selected it" in entry.reason
        assert pipeline.target.rows("late") is None
        assert pipeline.target.rows("other") == {2: 1}


def test_what_is_to_be_read_again_was_renamed_out_of_the_selection() -> None:
    """It is set aside again and says why, and comes once its name is selected."""
    with Pipeline(replace(SPEC, collection_infos=("other",))) as pipeline:
        source = pipeline.start().source
        source.create("other", A)
        late = source.create("late", A)
        source.insert(late, [1], A)
        source.catalog.tell()
        source.tick()
        pipeline.settle()
        update(pipeline, "other", "late")
        source.rename(late, "elsewhere")
        pipeline.retry("late")
        source.tick()
        pipeline.settle()
        entry = pipeline.task.task.collections[late.id]
        assert entry.state is CollectionState.SET_ASIDE
        assert "default.elsewhere by now, which is not selected" in entry.reason
        update(pipeline, "other", "late", "elsewhere")
        pipeline.retry()
        source.tick()
        pipeline.wait_until(lambda: pipeline.target.rows("elsewhere") == {1: 1})


@pytest.mark.parametrize("restart", [None, Pipeline.stop, Pipeline.kill])
def test_rows_that_were_read_before_are_read_again_for_what_an_update_selected(
    restart,
) -> None:
    """All of it comes, with its partition; the others have every row once."""
    with Pipeline(replace(SPEC, collection_infos=("other",))) as pipeline:
        source = pipeline.start().source
        other = source.create("other", A, B)
        source.catalog.tell()
        late = source.create("late", A, B)
        for each in (other, late):
            source.insert(each, [1], A)
            source.insert(each, [2], B)
        source.delete(late, [1], A)
        source.tick()
        pipeline.settle()
        update(pipeline, "other", "late")
        source.insert(late, [3], A)
        source.tick()
        pipeline.settle()
        pipeline.retry("late")
        if restart:
            restart(pipeline)
            pipeline.start()
        source.insert(late, [4], B)
        source.insert(other, [4], B)
        source.tick()
        pipeline.settle()
        assert pipeline.target.rows("late") == {2: 1, 3: 1, 4: 1}
        assert pipeline.target.rows("other") == {1: 1, 2: 1, 4: 1}
        states = {each.state for each in pipeline.task.entries.values()}
        assert states == {CollectionState.LIVE}


def test_a_second_update_while_channels_are_set_back() -> None:
    """What the first replays is no reason to take the second for complete."""
    with Pipeline(replace(SPEC, collection_infos=("other",))) as pipeline:
        source = pipeline.start().source
        source.create("other", A)
        source.catalog.tell()
        late, later = source.create("late", A), source.create("later", A)
        for each in (late, later):
            source.insert(each, [1], A)
        source.tick()
        pipeline.settle()
        update(pipeline, "other", "late")
        pipeline.target.silence("Insert")
        pipeline.retry("late")
        pipeline.wait_until(lambda: pipeline.target.waiting)
        pipeline.stop()
        pipeline.target.speak()
        update(pipeline, "other", "late", "later", stop=False)
        source.insert(later, [2], A)
        source.tick()
        pipeline.settle()
        entry = pipeline.task.entries["later"]
        assert entry.state is CollectionState.SET_ASIDE
        pipeline.retry("later")
        pipeline.settle()
        assert pipeline.target.rows("later") == {1: 1, 2: 1}
        assert pipeline.target.rows("late") == {1: 1}


def test_a_collection_that_one_of_two_channels_has_passed_by() -> None:
    """It does not come in part: the other channel's rows are not taken either."""
    with Pipeline(replace(SPEC, collection_infos=("other",))) as pipeline:
        source = pipeline.start().source
        source.create("other", A, B)
        source.catalog.tell()
        source.tick()
        pipeline.settle()
        late = source.create("late", A, B)
        source.insert(late, [1], A)
        source.insert(late, [2], B)
        source.tick(A)
        pipeline.settle()
        update(pipeline, "other", "late")
        source.tick()
        pipeline.settle()
        entry = pipeline.task.task.collections[late.id]
        assert entry.state is CollectionState.SET_ASIDE
        assert pipeline.target.rows("late") is None


def test_a_collection_that_leaves_and_comes_back() -> None:
    """Rows passed by meanwhile: it is set aside, and its rows are not touched."""
    with Pipeline(replace(SPEC, collection_infos=("books", "maps"))) as pipeline:
        source = pipeline.start().source
        source.create("maps", A)
        books = source.create("books", A)
        source.catalog.tell()
        source.insert(books, [1], A)
        source.tick()
        pipeline.settle()
        update(pipeline, "maps")
        source.insert(books, [2], A)
        source.tick()
        pipeline.settle()
        update(pipeline, "maps", "books")
        source.insert(books, [3], A)
        source.tick()
        pipeline.settle()
        assert pipeline.task.entries["books"].state is CollectionState.SET_ASIDE
        assert pipeline.target.rows("books") == {1: 1}


@pytest.mark.parametrize("blocker", ["target", "barrier"])
def test_a_full_memory_stops_the_log_and_not_what_is_waited_for(blocker: str) -> None:
    """What is held stays within the limit and one read more; then all of it comes."""
    with Pipeline(memory=40_000) as pipeline:
        source, target = pipeline.start().source, pipeline.target
        books = source.create("books")
        parted = source.create_partition(books, "p")
        source.catalog.tell()
        source.tick()
        pipeline.settle()
        if blocker == "target":
            target.silence("Insert")
        else:
            source.drop_partition(books, "p", parted)
        for key in range(100):
            polls = source.log.polls
            source.insert(books, [key])
            source.tick(A)
            pipeline.wait_until(
                lambda polls=polls: source.log.polls > polls + 1 or pipeline.is_full
            )
        pipeline.wait_for_steps()
        assert pipeline.is_full
        assert pipeline.memory.used < pipeline.memory.limit
        assert not target.rows("books")
        target.speak()
        source.tick()
        pipeline.settle()
        assert target.rows("books") == dict.fromkeys(range(100), 1)
        assert pipeline.memory.used == 0


def test_a_beginning_that_the_log_has_lost(begun: Pipeline) -> None:
    """The collection is shown as set aside, whoever tells of it; others begin."""
    source = begun.source
    source.create("first", A)
    source.catalog.tell()
    source.tick(A)
    begun.settle()
    lost = source.declare("lost", A, B)
    source.tick(B)
    source.log.truncate(B, source.log_end(B))
    kept = source.create("kept", A, B)
    source.say_create(lost, A)
    source.insert(kept, [1], B)
    source.tick()
    begun.settle()
    assert begun.task.task.collections[lost.id].state is CollectionState.SET_ASIDE
    assert begun.target.rows("kept") == {1: 1}


def test_rows_that_a_target_was_seeded_with_are_known_by_the_sources_time(
    begun: Pipeline,
) -> None:
    """What the source wrote before the collection was adopted replaces what is there.

    What it writes afterwards is new, and takes no delete: our clock, decades ahead of this
    source's, has no say.
    """
    source, target = begun.source, begun.target
    books = source.create("books")
    schema = schema_pb2.CollectionSchema.FromString(books.schema)
    schema.name = "books"
    target.collections["default", "books"] = seeded = StoredCollection(schema)
    seeded.partitions["_default"].update([1])
    source.insert(books, [1, 2])
    source.catalog.tell()
    source.tick()
    begun.settle()
    source.insert(books, [3])
    source.tick()
    begun.settle()
    assert target.rows("books") == {1: 1, 2: 1, 3: 1}
    assert target.asked.count("delete books") == 1


def test_what_another_replication_writes_is_set_aside(pipeline: Pipeline) -> None:
    """Its rows have another Milvus's timestamps; the end of that needs nothing done.

    Whether log or watch tells first, and after a restart.
    """
    source = pipeline.source
    first = source.declare("first_told", properties={"replicate.id": "a"})
    source.catalog.tell()
    pipeline.wait_for_steps()
    source.say_create(first, A)
    second = source.create("second_told", properties={"replicate.id": "a"})
    source.insert(second, [1], A)
    source.write(A, "Replicate", msg_pb2.ReplicateMsg(), source.next())
    source.create("ordinary", properties={"replicate.id": ""})
    source.tick()
    pipeline.settle()
    for _ in range(2):
        entries = {e.name: e for e in pipeline.task.task.collections.values()}
        for name in ("first_told", "second_told"):
            assert entries[name].state is CollectionState.SET_ASIDE
            assert "written by a replication itself" in entries[name].reason
            assert pipeline.target.rows(name) is None
        assert entries["ordinary"].state is CollectionState.LIVE
        assert pipeline.task.task.refused == 0
        pipeline.stop()
        pipeline.start()
