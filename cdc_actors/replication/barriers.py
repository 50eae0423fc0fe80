"""Operations that concern every shard of a collection at once.

The log says such an operation on each of the collection's channels. It runs when all of
them have come to it: after everything that is older, before anything that is newer.

Milvus (2.3.5, rootcoord's redo tasks) says a drop to one channel after the other; when it
cannot go on (its queue fails, it is restarted), it says it to all of them again, with a
new timestamp. So what is dropped tells which drops are the same, never when, and the first
one that a channel says counts.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdc_actors.changes import (
    Delete,
    DropCollection,
    DropPartition,
    Insert,
    Unreplicated,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cdc_actors.changes import RowChange
    from cdc_actors.memory_budget import MemoryHold
    from cdc_actors.replication.progress import PendingCheckpoint

Barrier = DropCollection | DropPartition
Dropped = tuple[int, int | None]
"""The ids of a collection and, unless all of it is dropped, of one of its partitions."""


@dataclass(frozen=True, slots=True)
class RowChunk:
    """A collection's part of a window.

    ``may_exist`` tells that the target may have parts of it from an earlier run;
    ``memory`` is released by whoever has the chunk when it is done with.
    """

    changes: tuple[RowChange, ...]
    checkpoints: tuple[PendingCheckpoint, ...]
    may_exist: bool
    memory: MemoryHold


@dataclass(frozen=True, slots=True)
class BarrierOperation:
    """An operation that every channel has come to."""

    operation: Barrier
    checkpoints: tuple[PendingCheckpoint, ...]


class ShardBarriers:
    """One collection's channels, in step at barriers. Pure."""

    def __init__(self, applied: Mapping[str, int]) -> None:
        """Begin with each channel applied up to a tick from before."""
        self._applied = dict(applied)
        self._queues: dict[str, deque[RowChunk | BarrierOperation]] = {
            c: deque() for c in applied
        }
        self._seen_drops: dict[str, set[Dropped]] = {c: set() for c in applied}

    def is_relevant(
        self, channel: str, change: Insert | Delete | Unreplicated | Barrier
    ) -> bool:
        """Tell whether a change is newer than what is applied from before.

        And whether ``channel`` has not dropped yet what it is about. What is not relevant
        is not to be added.
        """
        if change.timestamp <= self._applied[channel]:
            return False
        seen_drops = self._seen_drops[channel]
        if (change.collection, None) in seen_drops:
            return False
        return not isinstance(change, Barrier) or _dropped(change) not in seen_drops

    def relevant_rows(
        self, channel: str, changes: Sequence[Insert | Delete]
    ) -> tuple[Insert | Delete, ...]:
        """Return those that ``is_relevant``, of one collection's in order of time."""
        if self.is_relevant(channel, changes[0]):
            return tuple(changes)
        return tuple([each for each in changes if self.is_relevant(channel, each)])

    def add(
        self, channel: str, item: RowChunk | BarrierOperation
    ) -> list[RowChunk | BarrierOperation]:
        """Take the next item of ``channel``; return what may go on now, in order."""
        if isinstance(item, BarrierOperation):
            self._seen_drops[channel].add(_dropped(item.operation))
        self._queues[channel].append(item)
        ready: list[RowChunk | BarrierOperation] = []
        while self._advance(ready):
            pass
        return ready

    def waiting(self) -> list[RowChunk | BarrierOperation]:
        """Return what has been taken and may not go on yet."""
        return [item for queue in self._queues.values() for item in queue]

    def missing_channels(self) -> set[str]:
        """Return the channels that have to come to the barrier others wait at."""
        first = self._first_barrier()
        if first is None:
            return set()
        return self.unblocked() - {c for c in self._queues if self._is_past(c, first)}

    def unblocked(self) -> set[str]:
        """Return the channels that wait at no barrier."""
        return {channel for channel, queue in self._queues.items() if not queue}

    def _advance(self, ready: list[RowChunk | BarrierOperation]) -> bool:
        moved = False
        for queue in self._queues.values():
            while queue and isinstance(queue[0], RowChunk):
                ready.append(queue.popleft())
                moved = True
        return self._join(ready) or moved

    def _join(self, ready: list[RowChunk | BarrierOperation]) -> bool:
        """Let the oldest barrier through if every channel has come to it.

        A partition goes before its collection, whichever way the channels say it.
        """
        first = self._first_barrier()
        if first is None:
            return False
        here = [
            c for c, queue in self._queues.items() if queue and _same(queue[0], first)
        ]
        if any(not self._is_past(c, first) for c in self._queues if c not in here):
            return False
        joined = [self._queues[channel].popleft() for channel in here]
        checkpoints = tuple(
            checkpoint for step in joined for checkpoint in step.checkpoints
        )
        ready.append(BarrierOperation(first.operation, checkpoints))
        return True

    def _first_barrier(self) -> BarrierOperation | None:
        waiting = [queue[0] for queue in self._queues.values() if queue]
        steps = [step for step in waiting if isinstance(step, BarrierOperation)]
        return min(steps, key=_rank, default=None)

    def _is_past(self, channel: str, step: BarrierOperation) -> bool:
        collection, partition = _dropped(step.operation)
        ended = (
            partition is not None and (collection, None) in self._seen_drops[channel]
        )
        return ended or self._applied[channel] >= step.operation.timestamp


def _rank(step: BarrierOperation) -> tuple[bool, int]:
    return isinstance(step.operation, DropCollection), step.operation.timestamp


def _same(item: RowChunk | BarrierOperation, step: BarrierOperation) -> bool:
    if not isinstance(item, BarrierOperation):
        return False
    return _dropped(item.operation) == _dropped(step.operation)


def _dropped(operation: Barrier) -> Dropped:
    partition = operation.partition_id if isinstance(operation, DropPartition) else None
    return operation.collection, partition
