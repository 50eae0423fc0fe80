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
from operator import itemgetter
from typing import NamedTuple, Protocol

from cdc_actors.changes import (
    Change,
    Checkpoint,
    Delete,
    DropCollection,
    Position,
    Tick,
)
from cdc_actors.replication.memory_cost import memory_cost


@dataclass(frozen=True, slots=True)
class Window:
    """Changes of one channel in the order they happened, up to ``checkpoint.tick``.

    Once all of them are applied, reading may resume at ``checkpoint``.
    """

    changes: tuple[Change, ...]
    checkpoint: Checkpoint


class _Held(NamedTuple):
    """A change that waits; ``rank`` is its place in time, deletes before inserts.

    Reading from ``position`` on comes to it, with nothing before that is missing.
    """

    rank: int
    change: Change
    position: Position
    memory_cost: int


_SHARED_BYTES = 1 << 18
"""The bytes of changes that share a position: to make one costs what ordering one does."""


class Placed(Protocol):
    """Something that knows where it stands in its channel, such as a ``Record``."""

    @property
    def position(self) -> Position:
        """Where it stands."""


class ChannelOrder:
    """Holds one channel's messages until they can be released in order. Pure."""

    def __init__(self, applied: int) -> None:
        """Begin where everything up to the tick ``applied`` is at the target already."""
        self._applied = applied
        self._tick = applied
        self._held: list[_Held] = []
        self._memory_cost = 0
        self._position: Position | None = None
        self._sharing = 0

    @property
    def tick(self) -> int:
        """The newest tick seen: everything up to it has been released."""
        return self._tick

    @property
    def memory_cost(self) -> int:
        """How many bytes the changes take that are held."""
        return self._memory_cost

    def add(self, record: Placed, change: Change | Tick) -> Window | None:
        """Take the next record of the channel; return what it releases, if anything."""
        if isinstance(change, Tick):
            return self._cover(record, change.timestamp)
        timestamp = change.timestamp
        if timestamp <= self._applied:
            return None
        cost = memory_cost(change)
        position, self._sharing = self._position, self._sharing + cost
        if position is None or self._sharing > _SHARED_BYTES:
            self._position = position = record.position
            self._sharing = 0
        rank = 2 * timestamp + (not isinstance(change, Delete))
        self._held.append(_Held(rank, change, position, cost))
        self._memory_cost += cost
        if isinstance(change, DropCollection):
            return self._close(record, change.collection)
        return None

    def _cover(self, record: Placed, tick: int) -> Window:
        self._tick = max(self._tick, tick)
        last = 2 * tick + 1
        ready = [held for held in self._held if held.rank <= last]
        left = len(ready) < len(self._held)
        self._held = [held for held in self._held if held.rank > last] if left else []
        return self._release(record, ready)

    def _close(self, record: Placed, collection: int) -> Window:
        ready = [held for held in self._held if _concerns(held, collection)]
        self._held = [held for held in self._held if not _concerns(held, collection)]
        return self._release(record, ready)

    def _release(self, record: Placed, ready: list[_Held]) -> Window:
        """Resume at the oldest message still held, or behind this one if there is none."""
        ready.sort(key=itemgetter(0))
        changes = tuple([held.change for held in ready])
        self._memory_cost -= sum([held.memory_cost for held in ready])
        self._position = None
        if self._held:
            checkpoint = Checkpoint(self._held[0].position, True, self._tick)
        else:
            checkpoint = Checkpoint(record.position, False, self._tick)
        return Window(changes, checkpoint)


def _concerns(held: _Held, collection: int) -> bool:
    return getattr(held.change, "collection", None) == collection
