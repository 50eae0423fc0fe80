"""Which channels one run reads, and from where on."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from cdc_actors.changes import Checkpoint
from cdc_actors.errors import RowsLostError
from cdc_actors.pipeline.messages import RecordStarts
from cdc_actors.source.wal.beginnings import lost_starts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cdc_actors.changes import Position
    from cdc_actors.pipeline.channels import Channels
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.source.wal.base import WalReader


class Subscriptions:
    """Has every channel of the task's collections read. The reader's thread.

    A channel that a collection of the task uses is never without a checkpoint: where it
    begins is written down before anything of it is applied.
    """

    def __init__(self, context: RunContext, wal: WalReader, channels: Channels) -> None:
        self._context = context
        self._wal = wal
        self._channels = channels

    def resume(self, checkpoints: Mapping[str, Checkpoint]) -> None:
        """Read on where earlier runs came to.

        Raises:
            PositionLostError: The log no longer holds a checkpoint.
        """
        for channel, checkpoint in checkpoints.items():
            if channel not in self._channels:
                self._channels.subscribe(channel, checkpoint)

    def add(
        self, found: Iterable[CollectionMeta], why: str = ""
    ) -> dict[int, RowsLostError]:
        """Read the channels of collections, each from the earliest beginning on.

        ``why`` is what is written down of it; without it ``record_all`` must follow.
        Returns by id which cannot be had, as the log no longer holds their beginnings.
        """
        beginnings = [(meta, self._beginnings(meta)) for meta in found]
        gone = lost_starts(self._wal, chain.from_iterable(s for _, s in beginnings))
        lost: dict[int, RowsLostError] = {}
        kept: list[Position] = []
        for meta, starts in beginnings:
            if missing := [start for start in starts if start in gone]:
                lost[meta.id] = _rows_lost(meta, missing)
            else:
                kept += starts
        if (begun := self._subscribe(kept)) and why:
            self._record(begun, why)
        return lost

    def record_all(self) -> None:
        """Write down where the run begins."""
        self._record(self._context.checkpoints(), "the run opens")

    def _subscribe(self, starts: Iterable[Position]) -> dict[str, Checkpoint]:
        earliest: dict[str, Position] = {}
        for start in starts:
            known = earliest.setdefault(start.channel, start)
            if self._wal.reached(known, start):
                earliest[start.channel] = start
        begun = {c: Checkpoint(start, True, 0) for c, start in earliest.items()}
        for channel, checkpoint in begun.items():
            self._channels.subscribe(channel, checkpoint)
        return begun

    def _record(self, starts: Mapping[str, Checkpoint], why: str) -> None:
        self._context.record(RecordStarts(self._context.run_number, starts, why))

    def _beginnings(self, meta: CollectionMeta) -> list[Position]:
        """Return where the collection begins on its channels that are not read yet."""
        return [
            self._wal.position(channel, start)
            for channel, start in meta.start_positions.items()
            if channel not in self._channels
        ]


def _rows_lost(meta: CollectionMeta, missing: Iterable[Position]) -> RowsLostError:
    where = ", ".join(f"{start.channel} at {start.text}" for start in missing)
    return RowsLostError(
        f"the log no longer holds the beginning of {meta.database}.{meta.name} "
        f"({where}): rows written before are not replicated"
    )
