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

from cdc_actors.changes import Delete, DropCollection, DropPartition, Insert

if TYPE_CHECKING:
    from collections.abc import Mapping

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

    changes: tuple[Insert | Delete, ...]
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
        self._lanes: dict[str, deque[RowChunk | BarrierOperation]] = {
            c: deque() for c in applied
        }
        self._said: dict[str, set[Dropped]] = {c: set() for c in applied}

    def matters(self, channel: str, change: Insert | Delete | Barrier) -> bool:
        """Tell whether ``channel`` has not dropped yet what a change is about.

        What does not matter is not to be added.
        """
        said = self._said[channel]
        if (change.collection, None) in said:
            return False
        return not isinstance(change, Barrier) or _dropped(change) not in said

    def add(
        self, channel: str, item: RowChunk | BarrierOperation
    ) -> list[RowChunk | BarrierOperation]:
        """Take the next item of ``channel``; return what may go on now, in order."""
        if isinstance(item, BarrierOperation):
            self._said[channel].add(_dropped(item.operation))
        self._lanes[channel].append(item)
        ready: list[RowChunk | BarrierOperation] = []
        while self._advance(ready):
            pass
        return ready

    def waiting(self) -> list[RowChunk | BarrierOperation]:
        """Return what has been taken and may not go on yet."""
        return [item for lane in self._lanes.values() for item in lane]

    def awaited(self) -> set[str]:
        """Return the channels that have to come to the barrier others wait at."""
        first = self._first_step()
        if first is None:
            return set()
        return self.open() - {c for c in self._lanes if self._passed(c, first)}

    def open(self) -> set[str]:
        """Return the channels that wait at no barrier."""
        return {channel for channel, lane in self._lanes.items() if not lane}

    def _advance(self, ready: list[RowChunk | BarrierOperation]) -> bool:
        moved = False
        for lane in self._lanes.values():
            while lane and isinstance(lane[0], RowChunk):
                ready.append(lane.popleft())
                moved = True
        return self._join(ready) or moved

    def _join(self, ready: list[RowChunk | BarrierOperation]) -> bool:
        """Let the oldest barrier through if every channel has come to it.

        A partition goes before its collection, whichever way the channels say it.
        """
        first = self._first_step()
        if first is None:
            return False
        here = [c for c, lane in self._lanes.items() if lane and _same(lane[0], first)]
        if any(not self._passed(c, first) for c in self._lanes if c not in here):
            return False
        joined = [self._lanes[channel].popleft() for channel in here]
        checkpoints = tuple(
            checkpoint for step in joined for checkpoint in step.checkpoints
        )
        ready.append(BarrierOperation(first.operation, checkpoints))
        return True

    def _first_step(self) -> BarrierOperation | None:
        waiting = [lane[0] for lane in self._lanes.values() if lane]
        steps = [step for step in waiting if isinstance(step, BarrierOperation)]
        return min(steps, key=_rank, default=None)

    def _passed(self, channel: str, step: BarrierOperation) -> bool:
        collection, partition = _dropped(step.operation)
        ended = partition is not None and (collection, None) in self._said[channel]
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
