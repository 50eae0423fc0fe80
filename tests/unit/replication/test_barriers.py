"""Operations on a whole collection wait for all its channels."""

from __future__ import annotations

from cdc_actors.changes import Checkpoint, DropCollection, DropPartition, Position
from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.replication.barriers import BarrierOperation, RowChunk, ShardBarriers
from cdc_actors.replication.progress import Progress
from tests.support.changes import insert


def chunk(stamp: int) -> RowChunk:
    memory = MemoryBudget(1).quota(1.0).hold(0)
    return RowChunk((insert(stamp),), (), may_exist=False, memory=memory)


def step(stamp: int, partition: int = 1) -> BarrierOperation:
    return BarrierOperation(DropPartition(1, stamp, "p", partition), ())


def drop(stamp: int) -> BarrierOperation:
    return BarrierOperation(DropCollection(1, stamp, "c"), ())


def test_rows_pass_until_a_barrier() -> None:
    """Rows go through at once; behind a barrier they wait for the other channel."""
    barriers = ShardBarriers({"a": 0, "b": 0})
    first, behind, other = chunk(1), chunk(9), chunk(3)
    assert barriers.add("a", first) == [first]
    assert barriers.add("a", step(5)) == []
    assert barriers.add("a", behind) == []
    assert barriers.waiting() == [step(5), behind]
    assert barriers.add("b", other) == [other]
    assert barriers.add("b", step(5)) == [step(5), behind]


def test_the_channels_that_a_barrier_waits_for_are_known() -> None:
    """Those that have not come to it, and have not passed it in an earlier run."""
    barriers = ShardBarriers({"a": 0, "b": 0, "c": 6, "d": 0})
    assert barriers.missing_channels() == set()
    barriers.add("a", step(5))
    assert barriers.missing_channels() == {"b", "d"}
    barriers.add("b", step(5))
    assert barriers.missing_channels() == {"d"}
    assert barriers.unblocked() == {"c", "d"}
    barriers.add("d", step(5))
    assert barriers.missing_channels() == set()


def test_barriers_run_in_their_order() -> None:
    """Two barriers in a row are each joined, one after the other."""
    barriers = ShardBarriers({"a": 0, "b": 0})
    barriers.add("a", step(5, 1))
    barriers.add("a", step(7, 2))
    assert barriers.add("b", step(5, 1)) == [step(5, 1)]
    assert barriers.add("b", step(7, 2)) == [step(7, 2)]


def test_a_channel_past_the_barrier_is_not_waited_for() -> None:
    """After a restart, a channel applied beyond a barrier does not say it again."""
    barriers = ShardBarriers({"a": 0, "b": 6})
    assert barriers.add("a", step(5)) == [step(5)]


def test_a_joined_barrier_holds_back_the_checkpoints_of_all() -> None:
    """No channel's checkpoint passes a barrier before it has run."""
    progress = Progress()
    at = {c: Checkpoint(Position(c, b"1", "1"), False, 5) for c in "ab"}
    checkpoints = {}
    for channel in "ab":
        progress.add_channel(channel, None)
        checkpoints[channel] = progress.begin_checkpoint(channel, at[channel])
    barriers = ShardBarriers({"a": 0, "b": 0})
    barriers.add(
        "a", BarrierOperation(DropPartition(1, 5, "p", 1), (checkpoints["a"],))
    )
    (joined,) = barriers.add(
        "b", BarrierOperation(DropPartition(1, 5, "p", 1), (checkpoints["b"],))
    )
    assert progress.checkpoints() == {}
    progress.release(joined.checkpoints)
    assert progress.checkpoints() == at


def test_a_drop_that_was_begun_twice_runs_once() -> None:
    """Milvus said it to one channel, then again to both: nothing waits for ever."""
    barriers = ShardBarriers({"a": 0, "b": 0})
    assert barriers.add("a", drop(5)) == []
    assert not barriers.is_relevant("a", drop(9).operation)
    assert barriers.is_relevant("b", drop(9).operation)
    assert barriers.add("b", drop(9)) == [drop(5)]


def test_nothing_matters_behind_the_collections_drop() -> None:
    """Rows and drops that a channel says of a collection it has dropped are left out."""
    barriers = ShardBarriers({"a": 0, "b": 0})
    barriers.add("a", drop(5))
    assert not barriers.is_relevant("a", insert(4))
    assert not barriers.is_relevant("a", step(6).operation)
    assert barriers.is_relevant("b", insert(4))


def test_a_partition_of_the_same_name_is_another_one() -> None:
    """A partition that was dropped, created and dropped again is dropped twice."""
    barriers = ShardBarriers({"a": 0})
    assert barriers.add("a", step(5, 1)) == [step(5, 1)]
    assert not barriers.is_relevant("a", step(6, 1).operation)
    assert barriers.is_relevant("a", step(7, 2).operation)
    assert barriers.add("a", step(7, 2)) == [step(7, 2)]


def test_a_partition_does_not_wait_for_a_channel_that_dropped_the_collection() -> None:
    """The channel that says only the collection's drop says no other one any more."""
    barriers = ShardBarriers({"a": 0, "b": 0})
    assert barriers.add("b", drop(7)) == []
    assert barriers.add("a", step(9)) == [step(9)]
    assert barriers.add("a", drop(10)) == [drop(7)]
