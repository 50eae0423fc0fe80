"""A checkpoint never passes what is not applied."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cdc_actors.changes import Checkpoint, Position
from cdc_actors.replication.progress import Progress


def checkpoint(number: int) -> Checkpoint:
    return Checkpoint(Position("c", bytes([number]), str(number)), False, number)


@given(st.lists(st.integers(0, 3), max_size=8), st.randoms())
def test_checkpoints_follow_the_oldest_open_mark(holds: list[int], random) -> None:
    """In whatever order parts are done, it is the last one before the first open."""
    progress = Progress()
    progress.begin("c", checkpoint(0))
    marks = []
    for number, count in enumerate(holds, 1):
        mark = progress.open("c", checkpoint(number))
        for _ in range(count + 1):
            progress.hold(mark)
        marks.append(mark)
    counts = zip(marks, holds, strict=True)
    parts = [mark for mark, count in counts for _ in range(count + 1)]
    random.shuffle(parts)
    for part in parts:
        progress.release([part])
        still_open = [i for i, mark in enumerate(marks, 1) if mark.busy]
        expected = min(still_open, default=len(marks) + 1) - 1
        assert progress.checkpoints()["c"].tick == expected
