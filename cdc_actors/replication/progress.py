"""Up to where each channel is applied.

Every window that leaves the order opens a mark; whoever holds a part of it keeps the mark
busy. A channel's checkpoint is that of its newest mark with nothing busy up to it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.changes import Checkpoint


@dataclass(slots=True, eq=False)
class PendingCheckpoint:
    """One checkpoint of a channel, and how many parts up to it are not applied yet."""

    channel: str
    checkpoint: Checkpoint
    busy: int = 0


class Progress:
    """The marks of all channels of a task. Pure; the caller guards it between threads."""

    def __init__(self) -> None:
        self._open: dict[str, deque[PendingCheckpoint]] = {}
        self._done: dict[str, Checkpoint] = {}

    def begin(self, channel: str, checkpoint: Checkpoint | None) -> None:
        """Say up to where ``channel`` is applied from before, None for nowhere."""
        self._open[channel] = deque()
        if checkpoint is not None:
            self._done[channel] = checkpoint

    def open(self, channel: str, checkpoint: Checkpoint) -> PendingCheckpoint:
        """Add the next mark of ``channel``; hold it before settling."""
        mark = PendingCheckpoint(channel, checkpoint)
        self._open[channel].append(mark)
        return mark

    def hold(self, mark: PendingCheckpoint) -> None:
        """Keep ``mark`` busy once more."""
        mark.busy += 1

    def release(self, marks: Iterable[PendingCheckpoint]) -> None:
        """Say that one part of each mark is applied (or need not be)."""
        for mark in marks:
            mark.busy -= 1
            self._settle(mark.channel)

    def _settle(self, channel: str) -> None:
        waiting = self._open[channel]
        while waiting and waiting[0].busy == 0:
            self._done[channel] = waiting.popleft().checkpoint

    def checkpoints(self) -> dict[str, Checkpoint]:
        """Return up to where each channel is applied."""
        return dict(self._done)
