"""The physical channels that a run reads, each once, and how far the log has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdc_actors.replication.order import ChannelOrder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cdc_actors.changes import Change, Checkpoint, Position, Record, Tick
    from cdc_actors.memory_budget import MemoryHold
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.replication.order import Window
    from cdc_actors.source.wal.base import WalReader


@dataclass(slots=True)
class _Channel:
    order: ChannelOrder
    newest: Position | None
    applied: int
    behind: bool
    memory: MemoryHold


class Channels:
    """Subscribes channels and puts each one's records in order. The reader's thread."""

    def __init__(self, wal: WalReader, context: RunContext) -> None:
        self._wal = wal
        self._context = context
        self._channels: dict[str, _Channel] = {}
        self._newest: dict[str, Position | None] = {}

    def __contains__(self, channel: str) -> bool:
        return channel in self._channels

    def __iter__(self) -> Iterator[str]:
        return iter(self._channels)

    def note_newest(self, channels: Iterable[str]) -> None:
        """Note where channels that will be subscribed end, asked all together."""
        self._newest |= self._wal.newest_of(sorted(channels))

    def subscribe(
        self, channel: str, start: Checkpoint | None, *, has_ticks: bool = True
    ) -> None:
        """Read a channel from a checkpoint on, or from its oldest record.

        That of clients' requests has no ticks: the one of its checkpoint only tells which
        of two checkpoints is the further one.

        Raises:
            PositionLostError: The log no longer holds the checkpoint.
        """
        self._context.add_channel(channel, start)
        if channel not in self._newest:
            self.note_newest([channel])
        newest = self._newest.pop(channel)
        behind = newest is not None and self._is_before(start, newest)
        applied = start.tick if start and has_ticks else 0
        self._channels[channel] = _Channel(
            ChannelOrder(applied), newest, applied, behind, self._context.budget.hold(0)
        )
        if start is None:
            self._wal.subscribe(channel, None)
        else:
            self._wal.subscribe(channel, start.position, inclusive=start.inclusive)

    def advance_to(self, position: Position) -> bool:
        """Notice that a channel has come to a position; tell if it was there before us."""
        channel = self._channels[position.channel]
        was_behind = channel.behind
        if channel.behind and channel.newest:
            channel.behind = not self._wal.reached(position, channel.newest)
        return was_behind

    def take(self, record: Record, change: Change | Tick) -> Window | None:
        """Put one record in order; return the window that it releases, if any.

        How far the channel has come, and what is held, is noticed at a window, and for all
        records of a poll by ``note_taken``.
        """
        channel = self._channels[record.channel]
        window = channel.order.add(record, change)
        if window is not None:
            self._note(channel, record)
        return window

    def note_taken(self, records: Iterable[Record]) -> None:
        """Notice how far channels have come, once all of these are taken."""
        for record in {each.channel: each for each in records}.values():
            self._note(self._channels[record.channel], record)

    def _note(self, channel: _Channel, record: Record) -> None:
        channel.memory.resize(channel.order.memory_cost)
        if channel.behind:
            self.advance_to(record.position)

    def without_tick(self) -> set[str]:
        """Return the channels that hold changes which wait for a tick."""
        return {name for name, each in self._channels.items() if each.order.memory_cost}

    @property
    def behind(self) -> bool:
        """Whether any channel has not come to where its log ended at the start."""
        return any(channel.behind for channel in self._channels.values())

    def is_behind(self, channel: str) -> bool:
        """Tell whether a channel is read, and not where its log ended at the start."""
        return channel in self._channels and self._channels[channel].behind

    def tick(self, channel: str) -> int:
        """Return up to which timestamp a channel is released; 0 if it is not read."""
        return self._channels[channel].order.tick if channel in self._channels else 0

    def applied(self, channel: str) -> int:
        """Return up to which timestamp a channel was applied when it was subscribed."""
        return self._channels[channel].applied if channel in self._channels else 0

    def _is_before(self, start: Checkpoint | None, newest: Position) -> bool:
        if start is None or not self._wal.reached(start.position, newest):
            return True
        return start.inclusive and self._wal.reached(newest, start.position)
