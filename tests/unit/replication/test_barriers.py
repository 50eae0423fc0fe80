"""Operations on a whole collection wait for all its channels."""

from __future__ import annotations

from cdc_actors.changes import Checkpoint, DropCollection, DropPartition, Position
from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.replication.barriers import BarrierOperation, RowChunk, ShardBarriers
from cdc_actors.replication.progress import Progress
from tests.support.changes import insert


def piece(stamp: int) -> RowChunk:
    memory = MemoryBudget(1).quota(1.0).hold(0)
    return RowChunk((insert(stamp),), (), may_exist=False, memory=memory)


def step(stamp: int, partition: int = 1) -> BarrierOperation:
    return BarrierOperation(DropPartition(1, stamp, "p", partition), ())


def drop(stamp: int) -> BarrierOperation:
    return BarrierOperation(DropCollection(1, stamp, "c"), ())


def test_rows_pass_until_a_barrier() -> None:
    """Rows go through at once; behind a barrier they wait for the other channel."""
    lanes = ShardBarriers({"a": 0, "b": 0})
    first, behind, other = piece(1), piece(9), piece(3)
    assert lanes.add("a", first) == [first]
    assert lanes.add("a", step(5)) == []
    assert lanes.add("a", behind) == []
    assert lanes.waiting() == [step(5), behind]
    assert lanes.add("b", other) == [other]
    assert lanes.add("b", step(5)) == [step(5), behind]


def test_the_channels_that_a_barrier_waits_for_are_known() -> None:
    """Those that have not come to it, and have not passed it in an earlier run."""
    lanes = ShardBarriers({"a": 0, "b": 0, "c": 6, "d": 0})
    assert lanes.awaited() == set()
    lanes.add("a", step(5))
    assert lanes.awaited() == {"b", "d"}
    lanes.add("b", step(5))
    assert lanes.awaited() == {"d"}
    assert lanes.open() == {"c", "d"}
    lanes.add("d", step(5))
    assert lanes.awaited() == set()


def test_barriers_run_in_their_order() -> None:
    """Two barriers in a row are each joined, one after the other."""
    lanes = ShardBarriers({"a": 0, "b": 0})
    lanes.add("a", step(5, 1))
    lanes.add("a", step(7, 2))
    assert lanes.add("b", step(5, 1)) == [step(5, 1)]
    assert lanes.add("b", step(7, 2)) == [step(7, 2)]


def test_a_channel_past_the_barrier_is_not_waited_for() -> None:
    """After a restart, a channel applied beyond a barrier does not say it again."""
    lanes = ShardBarriers({"a": 0, "b": 6})
    assert lanes.add("a", step(5)) == [step(5)]


def test_a_joined_barrier_holds_back_the_checkpoints_of_all() -> None:
    """No channel's checkpoint passes a barrier before it has run."""
    progress = Progress()
    at = {c: Checkpoint(Position(c, b"1", "1"), False, 5) for c in "ab"}
    checkpoints = {}
    for channel in "ab":
        progress.add_channel(channel, None)
        checkpoints[channel] = progress.begin_checkpoint(channel, at[channel])
    lanes = ShardBarriers({"a": 0, "b": 0})
    lanes.add("a", BarrierOperation(DropPartition(1, 5, "p", 1), (checkpoints["a"],)))
    (joined,) = lanes.add(
        "b", BarrierOperation(DropPartition(1, 5, "p", 1), (checkpoints["b"],))
    )
    assert progress.checkpoints() == {}
    progress.release(joined.checkpoints)
    assert progress.checkpoints() == at


def test_a_drop_that_was_begun_twice_runs_once() -> None:
    """Milvus said it to one channel, then again to both: nothing waits for ever."""
    lanes = ShardBarriers({"a": 0, "b": 0})
    assert lanes.add("a", drop(5)) == []
    assert not lanes.matters("a", drop(9).operation)
    assert lanes.matters("b", drop(9).operation)
    assert lanes.add("b", drop(9)) == [drop(5)]


def test_nothing_matters_behind_the_collections_drop() -> None:
    """Rows and drops that a channel says of a collection it has dropped are left out."""
    lanes = ShardBarriers({"a": 0, "b": 0})
    lanes.add("a", drop(5))
    assert not lanes.matters("a", insert(4))
    assert not lanes.matters("a", step(6).operation)
    assert lanes.matters("b", insert(4))


def test_a_partition_of_the_same_name_is_another_one() -> None:
    """A partition that was dropped, created and dropped again is dropped twice."""
    lanes = ShardBarriers({"a": 0})
    assert lanes.add("a", step(5, 1)) == [step(5, 1)]
    assert not lanes.matters("a", step(6, 1).operation)
    assert lanes.matters("a", step(7, 2).operation)
    assert lanes.add("a", step(7, 2)) == [step(7, 2)]


def test_a_partition_does_not_wait_for_a_channel_that_dropped_the_collection() -> None:
    """The channel that says only the collection's drop says no other one any more."""
    lanes = ShardBarriers({"a": 0, "b": 0})
    assert lanes.add("b", drop(7)) == []
    assert lanes.add("a", step(9)) == [step(9)]
    assert lanes.add("a", drop(10)) == [drop(7)]
