"""The order in which a channel's changes happened at the source.

A channel's messages stand in the log in the order of writing, not of their timestamps. A
time tick T promises that every message with a timestamp up to T stands before it; so
messages are held until a tick covers them, then released by timestamp, deletes before
inserts where equal (an upsert's two halves share a timestamp and come insert first).
Source of the rule: Milvus's own consumer, ``pkg/mq/msgstream`` (MqTtMsgStream).

One exception: a DropCollection releases its collection at once. Nothing of a dropped
collection matters behind it, and ticks end with a channel's last collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdc_actors.changes import (
    Change,
    Checkpoint,
    Delete,
    DropCollection,
    Position,
    Tick,
)
from cdc_actors.replication.memory_cost import memory_cost, total_cost

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Window:
    """Changes of one channel in the order they happened, up to ``checkpoint.tick``.

    Once all of them are applied, reading may resume at ``checkpoint``.
    """

    changes: tuple[Change, ...]
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class _Held:
    position: Position
    change: Change

    @property
    def rank(self) -> tuple[int, bool]:
        return (self.change.timestamp, not isinstance(self.change, Delete))


class ChannelOrder:
    """Holds one channel's messages until they can be released in order. Pure."""

    def __init__(self, applied: int) -> None:
        """Begin where everything up to the tick ``applied`` is at the target already."""
        self._applied = applied
        self._tick = applied
        self._held: list[_Held] = []
        self._memory_cost = 0

    @property
    def tick(self) -> int:
        """The newest tick seen: everything up to it has been released."""
        return self._tick

    @property
    def memory_cost(self) -> int:
        """How many bytes the changes take that are held."""
        return self._memory_cost

    def add(self, position: Position, change: Change | Tick) -> Window | None:
        """Take the next record of the channel; return what it releases, if anything."""
        if isinstance(change, Tick):
            return self._cover(position, change.timestamp)
        if change.timestamp <= self._applied:
            return None
        self._held.append(_Held(position, change))
        self._memory_cost += memory_cost(change)
        if isinstance(change, DropCollection):
            return self._close(position, change.collection)
        return None

    def _cover(self, position: Position, tick: int) -> Window:
        self._tick = max(self._tick, tick)
        ready = [held for held in self._held if held.change.timestamp <= tick]
        self._held = [held for held in self._held if held.change.timestamp > tick]
        return self._release(position, ready)

    def _close(self, position: Position, collection: int) -> Window:
        ready = [held for held in self._held if _concerns(held, collection)]
        self._held = [held for held in self._held if not _concerns(held, collection)]
        return self._release(position, ready)

    def _release(self, position: Position, ready: Iterable[_Held]) -> Window:
        """Resume at the oldest message still held, or behind this one if there is none."""
        changes = tuple(
            held.change for held in sorted(ready, key=lambda held: held.rank)
        )
        self._memory_cost -= total_cost(changes)
        if self._held:
            checkpoint = Checkpoint(self._held[0].position, True, self._tick)
        else:
            checkpoint = Checkpoint(position, False, self._tick)
        return Window(changes, checkpoint)


def _concerns(held: _Held, collection: int) -> bool:
    return getattr(held.change, "collection", None) == collection
