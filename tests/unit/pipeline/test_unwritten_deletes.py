"""Deletes that no file has yet are taken from the log, as far as the memory holds them."""

from __future__ import annotations

import pytest

from cdc_actors.changes import Checkpoint, to_hybrid_ts
from cdc_actors.errors import CollectionError
from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.pipeline.source_files import Stored
from cdc_actors.pipeline.unwritten_deletes import NUMBER_BYTES, unwritten_deletes
from tests.fakes.fake_files import FakeFiles
from tests.fakes.fake_source import A, FakeSource


class Deleted:
    """A collection of ten rows, seven of which were deleted, some a while before others.

    The latter so many seconds before the end of files, the others so many before.
    """

    def __init__(self, before: float = 0, others: float = 0) -> None:
        self.source = FakeSource(is_timed=True)
        self.meta = meta = self.source.create("c", A)
        self.source.insert(meta, range(10))
        self.source.delete(meta, (1, 2, 3))
        self.source.now += to_hybrid_ts(others - before)
        self.source.delete(self.source.create("other", A), (9,))
        self.source.delete(meta, (3, 4, 5, 6))
        self.source.now += to_hybrid_ts(before)
        self.files = FakeFiles(self.source, meta)
        self.files.segments = {1: range(10)}
        self.files.flush()
        self.source.tick()
        self.memory = MemoryBudget(1 << 20).quota(1.0).hold(0)

    def found(self, most: int) -> list[int]:
        """Return the keys that were deleted, by the log, in its order."""
        stored = self.files.find(self.source.catalog, self.meta.id)
        assert isinstance(stored, Stored)
        [at] = stored.listing.checkpoints.values()
        stood = {A: Checkpoint(self.source.log_end(A), True, at.timestamp)}
        found = unwritten_deletes(
            stored, stood, 0, self.files.open_log, lambda: None, self.memory, most
        )
        [(keys, times)] = found.values()
        assert len(keys) == len(times)
        return list(keys)


def test_keys_are_counted() -> None:
    """What is held of them is so many bytes of the service's memory."""
    deleted = Deleted()
    assert deleted.found(1 << 20) == [1, 2, 3, 3, 4, 5, 6]
    assert deleted.memory.size == 7 * NUMBER_BYTES


@pytest.mark.parametrize(
    ("before", "others", "keys"),
    [(1199, 1201, [3, 4, 5, 6]), (600, 1199, [1, 2, 3, 3, 4, 5, 6])],
)
def test_those_of_the_last_twenty_minutes(before: float, others: float, keys) -> None:
    """Those before are in files."""
    assert Deleted(before, others).found(1 << 20) == keys


def test_more_than_the_memory_holds() -> None:
    """The answer says what to do; nothing is read without them."""
    with pytest.raises(CollectionError, match="quarter of maxMemoryBytes, 100 bytes"):
        Deleted().found(100)
