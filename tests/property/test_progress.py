"""A checkpoint never passes what is not applied."""

from __future__ import annotations

import gc

from hypothesis import given
from hypothesis import strategies as st

from cdc_actors.changes import Checkpoint, Position
from cdc_actors.replication.progress import PendingCheckpoint, Progress


def checkpoint(number: int) -> Checkpoint:
    return Checkpoint(Position("c", b"%d" % number, str(number)), False, number)


@given(st.lists(st.integers(0, 3), max_size=8), st.randoms())
def test_checkpoints_follow_the_oldest_pending_one(holds: list[int], random) -> None:
    """In whatever order parts are done, it is the last one before the first pending."""
    progress = Progress()
    progress.add_channel("c", checkpoint(0))
    begun = []
    for number, count in enumerate(holds, 1):
        begun.append(progress.begin_checkpoint("c", checkpoint(number)))
        for _ in range(count):
            progress.acquire(begun[-1])
    counts = zip(begun, holds, strict=True)
    parts = [pending for pending, count in counts for _ in range(count + 1)]
    random.shuffle(parts)
    for part in parts:
        progress.release([part])
        still_pending = [i for i, each in enumerate(begun, 1) if each.refs]
        expected = min(still_pending, default=len(begun) + 1) - 1
        assert progress.checkpoints()["c"].tick == expected


def test_ticks_behind_a_pending_checkpoint_are_not_kept() -> None:
    """One collection may be hours behind while five ticks a second pass by."""
    progress = Progress()
    progress.add_channel("c", None)
    before = _alive()
    slow = progress.begin_checkpoint("c", checkpoint(1))
    for number in range(2, 1000):
        progress.release([progress.begin_checkpoint("c", checkpoint(number))])
    assert _alive() == before + 1
    assert progress.checkpoints() == {}
    progress.release([slow])
    assert progress.checkpoints()["c"] == checkpoint(999)


def _alive() -> int:
    return sum(isinstance(each, PendingCheckpoint) for each in gc.get_objects())
