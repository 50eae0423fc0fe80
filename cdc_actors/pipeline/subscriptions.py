"""Which channels one run reads, and from where on."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from cdc_actors.changes import Checkpoint
from cdc_actors.errors import OperatorError, RowsLostError
from cdc_actors.pipeline.messages import RecordStarts
from cdc_actors.pipeline.replay import earliest
from cdc_actors.source.wal.beginnings import lost_starts, places

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cdc_actors.changes import Position
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.sources import Sources
    from cdc_actors.source.catalog.client import CatalogSnapshot, CollectionMeta
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
        self._too_late: set[int] = set()

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
        beginnings = [(meta, self.beginnings(meta)) for meta in found]
        wanted = list(chain.from_iterable(starts for _, starts in beginnings))
        if not wanted:
            return {}
        catalog = self._catalog(is_begun=bool(why))
        others = self._others(catalog, {start.channel for start in wanted})
        gone = lost_starts(self._wal, [*wanted, *others])
        lost = {
            meta.id: _rows_lost(meta, missing)
            for meta, starts in beginnings
            if (missing := gone.intersection(starts))
        }
        held = [s for meta, starts in beginnings if meta.id not in lost for s in starts]
        channels = {start.channel for start in held}
        held += [each for each in others - gone if each.channel in channels]
        if (begun := self._begin({}, held, catalog)) and why:
            self._record(begun, why)
        return lost

    def begin(
        self, collection_id: int, starts: Mapping[str, Checkpoint], why: str
    ) -> None:
        """Read those channels that are not read yet, each from its checkpoint on.

        Or from where another collection begins, that may be told of later. ``why`` as in
        ``add``; without it that is done by ``record_all``, for collections that are found
        later may begin earlier on the same channels.
        """
        if not why:
            self._later.append(starts)
        elif begun := self._unread(starts):
            catalog = self._catalog(is_begun=True)
            others = self._others(catalog, set(begun), but=collection_id)
            held = others - lost_starts(self._wal, others)
            self._record(self._begin(begun, held, catalog), why)

    def record_all(self) -> None:
        """Read what was put off, and write down where the run begins."""
        for starts in self._later:
            if begun := self._unread(starts):
                self._begin(begun, (), self._sources.snapshot)
        self._later.clear()
        self._record(self._context.checkpoints(), "the run opens")

    def read(self, channels: Iterable[str]) -> list[str]:
        """Return those of some channels that are read already."""
        return [channel for channel in channels if channel in self._channels]

    def begin_too_late(self, collection_id: int) -> bool:
        """Tell whether a channel of a collection was begun after its beginning.

        That is so of one that was not to be had at the time: only of what had been in the
        catalog by then there can be rows before that.
        """
        return collection_id in self._too_late

    def _unread(self, starts: Mapping[str, Checkpoint]) -> dict[str, Checkpoint]:
        return {c: at for c, at in starts.items() if c not in self._channels}

    def _begin(
        self,
        starts: Mapping[str, Checkpoint],
        others: Iterable[Position],
        catalog: CatalogSnapshot,
    ) -> dict[str, Checkpoint]:
        """Read channels from the earliest places; return these."""
        begun = dict(starts)
        for start in others:
            first = begun.get(start.channel)
            begun[start.channel] = earliest(
                self._wal, first, Checkpoint(start, True, 0)
            )
        self.resume(begun)
        self._too_late |= {
            meta.id
            for meta in catalog.collections.values()
            if any(self._is_before(meta, at) for at in begun.values())
        }
        return begun

    def _is_before(self, meta: CollectionMeta, begun: Checkpoint) -> bool:
        """Tell whether a collection, selected or not, begins before a place."""
        channel = begun.position.channel
        if channel not in meta.start_positions:
            return False
        try:
            start = self._wal.position(channel, meta.start_positions[channel])
        except OperatorError:
            # It was made when the source had another kind of message queue.
            return True
        return not self._wal.reached(start, begun.position)

    def _catalog(self, *, is_begun: bool) -> CatalogSnapshot:
        return self._sources.catalog.snapshot() if is_begun else self._sources.snapshot

    def _record(self, starts: Mapping[str, Checkpoint], why: str) -> None:
        self._context.record(RecordStarts(self._context.run_number, starts, why))

    def _others(
        self, catalog: CatalogSnapshot, channels: set[str], but: int | None = None
    ) -> set[Position]:
        """Return where selected collections, ``but`` one, begin on some channels.

        One of them may be older than that for which a channel is begun, and told of later:
        by the watch, which may lag behind the log, or by the log itself.
        """
        return {
            start
            for meta in catalog.collections.values()
            if not meta.dropping and self._task.selects(meta.database, meta.name)
            if meta.id != but
            for start in self.beginnings(meta)
            if start.channel in channels
        }

    def beginnings(self, meta: CollectionMeta) -> list[Position]:
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
