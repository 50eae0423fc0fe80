"""Which channels one run reads, and from where on."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from cdc_actors.changes import Checkpoint
from cdc_actors.errors import RowsLostError
from cdc_actors.pipeline.messages import RecordStarts
from cdc_actors.source.wal.beginnings import lost_starts, places

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cdc_actors.changes import Position
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.sources import Sources
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.tasks import TaskSpec


class Subscriptions:
    """Has every channel of the task's collections read. The reader's thread.

    A channel that a collection of the task uses is never without a checkpoint: where it
    begins is written down before anything of it is applied.
    """

    def __init__(self, context: RunContext, sources: Sources, task: TaskSpec) -> None:
        self._context = context
        self._sources = sources
        self._wal = sources.wal
        self._channels = sources.channels
        self._task = task
        self._later: list[Mapping[str, Checkpoint]] = []

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
        wanted = list(chain.from_iterable(starts for _, starts in beginnings))
        others = self._others({start.channel for start in wanted}, is_begun=bool(why))
        gone = lost_starts(self._wal, [*wanted, *others])
        lost = {
            meta.id: _rows_lost(meta, missing)
            for meta, starts in beginnings
            if (missing := gone.intersection(starts))
        }
        held = [s for meta, starts in beginnings if meta.id not in lost for s in starts]
        channels = {start.channel for start in held}
        held += [each for each in others - gone if each.channel in channels]
        if (begun := self._subscribe(held)) and why:
            self._record(begun, why)
        return lost

    def begin(self, starts: Mapping[str, Checkpoint], why: str) -> None:
        """Read those channels that are not read yet, each from its checkpoint on.

        ``why`` as in ``add``; without it that is done by ``record_all``, for collections
        that are found later may begin earlier on the same channels.
        """
        if not why:
            self._later.append(starts)
            return
        begun = {c: at for c, at in starts.items() if c not in self._channels}
        self.resume(begun)
        if begun:
            self._record(begun, why)

    def record_all(self) -> None:
        """Read what was put off, and write down where the run begins."""
        for starts in self._later:
            self.resume(starts)
        self._later.clear()
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

    def _others(self, channels: set[str], *, is_begun: bool) -> set[Position]:
        """Return where selected collections begin on some channels.

        One of them may be older than that for which a channel is begun, and told of later:
        by the watch, which may lag behind the log, or by the log itself.
        """
        if not channels:
            return set()
        catalog = (
            self._sources.catalog.snapshot() if is_begun else self._sources.snapshot
        )
        return {
            start
            for meta in catalog.collections.values()
            if not meta.dropping and self._task.selects(meta.database, meta.name)
            for start in self._beginnings(meta)
            if start.channel in channels
        }

    def _beginnings(self, meta: CollectionMeta) -> list[Position]:
        """Return where the collection begins on its channels that are not read yet."""
        return [
            self._wal.position(channel, start)
            for channel, start in meta.start_positions.items()
            if channel not in self._channels
        ]


def _rows_lost(meta: CollectionMeta, missing: Iterable[Position]) -> RowsLostError:
    return RowsLostError(
        f"the log no longer holds the beginning of {meta.database}.{meta.name} "
        f"({places(missing)}): rows written before are not replicated"
    )
