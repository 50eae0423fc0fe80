"""What of each shard one run has applied before its tick, within the memory ceiling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cdc_actors.replication.early import EarlyChanges
from cdc_actors.target.columns import key_reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdc_actors.changes import Delete, DropPartition, Insert, RowChange
    from cdc_actors.memory_budget import MemoryHold
    from cdc_actors.pipeline.work_queue import RunBudget


@dataclass(slots=True)
class _Shard:
    early: EarlyChanges
    memory: MemoryHold


@dataclass(slots=True)
class EarlyShards:
    """The early changes of every shard. The reader's thread.

    A shard is a collection's part of a channel. One of which nothing is early is unknown.
    """

    budget: RunBudget
    _shards: dict[tuple[str, int], _Shard] = field(default_factory=dict)

    def keys(self, channel: str, collection_id: int) -> int:
        """Return how many keys of a shard are remembered."""
        shard = self._shards.get((channel, collection_id))
        return shard.early.keys if shard else 0

    def add(
        self,
        channel: str,
        collection_id: int,
        schema: bytes,
        changes: Sequence[Insert | Delete],
    ) -> tuple[RowChange, ...]:
        """Apply changes of a shard early; see ``EarlyChanges.add``.

        ``schema`` is the collection's serialized CollectionSchema.
        """
        shard = self._shards.get((channel, collection_id))
        if shard is None:
            shard = _Shard(EarlyChanges(key_reader(schema)), self.budget.hold(0))
            self._shards[channel, collection_id] = shard
        return _add(shard, changes)

    def add_late(
        self, channel: str, collection_id: int, changes: tuple[Insert | Delete, ...]
    ) -> tuple[RowChange, ...]:
        """Return what is to be done for changes of a shard that a tick has covered."""
        shard = self._shards.get((channel, collection_id))
        if shard is None:
            return changes
        return _add(shard, [each for each in changes if not shard.early.has(each)])

    def rows_beyond(self, channel: str, drop: DropPartition) -> tuple[RowChange, ...]:
        """Return early rows of the partition that has a dropped one's name since."""
        shard = self._shards.get((channel, drop.collection))
        if shard is None:
            return ()
        return shard.early.rows_beyond(drop.partition, drop.timestamp)

    def cover(self, channel: str, tick: int) -> None:
        """Forget what a tick of a channel covers, once all of it was added."""
        for key, shard in list(self._shards.items()):
            if key[0] == channel:
                shard.early.cover(tick)
                shard.memory.resize(shard.early.memory_cost)
                if not shard.early.keys:
                    del self._shards[key]

    def forget(self, channel: str, collection_id: int) -> None:
        """Keep nothing of a shard whose collection is dropped."""
        if shard := self._shards.pop((channel, collection_id), None):
            shard.memory.release()


def _add(shard: _Shard, changes: Sequence[Insert | Delete]) -> tuple[RowChange, ...]:
    found = shard.early.add(changes)
    shard.memory.resize(shard.early.memory_cost)
    return found
