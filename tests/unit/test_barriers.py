"""Operations on a whole collection wait for all its channels."""

from __future__ import annotations

from cdc_actors.changes import Checkpoint, DropPartition, Position
from cdc_actors.replication.barriers import Lanes, Piece, Step
from cdc_actors.replication.progress import Progress
from tests.support.changes import insert


def piece(stamp: int) -> Piece:
    return Piece((insert(stamp),), (), again=False)


def step(stamp: int) -> Step:
    return Step(DropPartition(1, stamp, "p"), ())


def test_rows_pass_until_a_barrier() -> None:
    """Rows go through at once; behind a barrier they wait for the other channel."""
    lanes = Lanes({"a": 0, "b": 0})
    first, behind, other = piece(1), piece(9), piece(3)
    assert lanes.add("a", first) == [first]
    assert lanes.add("a", step(5)) == []
    assert lanes.add("a", behind) == []
    assert lanes.add("b", other) == [other]
    assert lanes.add("b", step(5)) == [step(5), behind]


def test_the_channels_that_a_barrier_waits_for_are_known() -> None:
    """Those that have not come to it, and have not passed it in an earlier run."""
    lanes = Lanes({"a": 0, "b": 0, "c": 6, "d": 0})
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
    lanes = Lanes({"a": 0, "b": 0})
    lanes.add("a", step(5))
    lanes.add("a", step(7))
    assert lanes.add("b", step(5)) == [step(5)]
    assert lanes.add("b", step(7)) == [step(7)]


def test_a_channel_past_the_barrier_is_not_waited_for() -> None:
    """After a restart, a channel applied beyond a barrier does not say it again."""
    lanes = Lanes({"a": 0, "b": 6})
    assert lanes.add("a", step(5)) == [step(5)]


def test_a_joined_barrier_holds_the_marks_of_all() -> None:
    """No channel's checkpoint passes a barrier before it has run."""
    progress = Progress()
    at = {c: Checkpoint(Position(c, b"1", "1"), False, 5) for c in "ab"}
    marks = {}
    for channel in "ab":
        progress.begin(channel, None)
        marks[channel] = progress.open(channel, at[channel])
        progress.hold(marks[channel])
    lanes = Lanes({"a": 0, "b": 0})
    lanes.add("a", Step(DropPartition(1, 5, "p"), (marks["a"],)))
    (joined,) = lanes.add("b", Step(DropPartition(1, 5, "p"), (marks["b"],)))
    assert progress.checkpoints() == {}
    progress.release(joined.marks)
    assert progress.checkpoints() == at
