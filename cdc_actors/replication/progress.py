"""Up to where each channel is applied.

Every window that leaves the order begins a checkpoint; whoever has a part of the window
keeps a reference to it. A channel's checkpoint is that of its newest window with no part
left up to it.

One that is released while an older one is not takes effect with the older one. So only
checkpoints with references are kept, however many ticks pass meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.changes import Checkpoint


@dataclass(slots=True, eq=False)
class PendingCheckpoint:
    """What a channel's checkpoint comes to be once nobody refers to this any more."""

    channel: str
    checkpoint: Checkpoint
    refs: int = 1


class Progress:
    """The checkpoints of all channels of a task. Pure; the caller guards it by a lock."""

    def __init__(self) -> None:
        self._pending: dict[str, list[PendingCheckpoint]] = {}
        self._done: dict[str, Checkpoint] = {}

    def add_channel(self, channel: str, checkpoint: Checkpoint | None) -> None:
        """Say up to where ``channel`` is applied from before, None for nowhere."""
        self._pending[channel] = []
        if checkpoint is not None:
            self._done[channel] = checkpoint

    def begin_checkpoint(
        self, channel: str, checkpoint: Checkpoint
    ) -> PendingCheckpoint:
        """Add the next checkpoint of ``channel``; the caller has the first reference."""
        pending = PendingCheckpoint(channel, checkpoint)
        self._pending[channel].append(pending)
        return pending

    def acquire(self, pending: PendingCheckpoint) -> None:
        """Add a reference: one part more is not applied yet."""
        pending.refs += 1

    def release(self, parts: Iterable[PendingCheckpoint]) -> None:
        """Give up one reference to each: a part is applied, or need not be."""
        for pending in parts:
            pending.refs -= 1
            if pending.refs == 0:
                self._settle(pending)

    def _settle(self, settled: PendingCheckpoint) -> None:
        waiting = self._pending[settled.channel]
        at = waiting.index(settled)
        del waiting[at]
        if at == 0:
            self._done[settled.channel] = settled.checkpoint
        else:
            waiting[at - 1].checkpoint = settled.checkpoint

    @property
    def is_settled(self) -> bool:
        """Whether every checkpoint that was begun has been reached."""
        return not any(self._pending.values())

    def checkpoints(self) -> dict[str, Checkpoint]:
        """Return up to where each channel is applied."""
        return dict(self._done)
