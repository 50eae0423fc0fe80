"""One step of reading after another: catalog, log, what has come to be due, a report."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cdc_actors.changes import Checkpoint, Request, Tick, are_rows, physical_seconds
from cdc_actors.pipeline.adoption import Adoption
from cdc_actors.pipeline.collection_table import CollectionTable, Status
from cdc_actors.pipeline.early_rows import EarlyRows
from cdc_actors.pipeline.exchanges import Exchanges
from cdc_actors.pipeline.expiry import Expiry
from cdc_actors.pipeline.floors import Floors
from cdc_actors.pipeline.import_watch import ImportWatch
from cdc_actors.pipeline.mark_rounds import MarkRounds
from cdc_actors.pipeline.messages import (
    FlushPostponed,
    FlushWanted,
    PlaceTaken,
    RunProgressed,
    ShadowPostponed,
)
from cdc_actors.pipeline.metadata_sync import MetadataSync
from cdc_actors.pipeline.router import Router
from cdc_actors.pipeline.send_horizon import SendHorizon
from cdc_actors.pipeline.snapshots import Snapshots
from cdc_actors.pipeline.subscriptions import Subscriptions
from cdc_actors.pipeline.target_names import TargetNames
from cdc_actors.pipeline.work import NO_ROWS
from cdc_actors.source.streamed import decode_record
from cdc_actors.tasks import CollectionState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import pykka

    from cdc_actors.changes import Change, Position, Record
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.sources import Sources

POLL_SECONDS = 0.05
"""How long a step waits for records, and for room in the memory, at most."""

HALVES_SECONDS = 0.002
"""How long the second half of an upsert is waited for, which is written with the first."""

REPORT_SECONDS = 0.25
"""How often the task is told how far the run has come."""


QUIET_SECONDS = 1.0
"""How long nothing must have happened before the reader rests. What is put off until a
tick, or for some moments, is done meanwhile; else whenever the reader does not rest."""


class ReadLoop:
    """Reads, decodes, orders and hands on. The reader's thread."""

    def __init__(
        self,
        context: RunContext,
        sources: Sources,
        reader: pykka.ActorRef[Any],
    ) -> None:
        self._context = context
        self._spec = spec = sources.replay.spec
        self._sources = sources
        self._channels = sources.channels
        self._subscriptions = Subscriptions(context, sources, spec.task)
        floors = Floors(spec, sources.channels, sources.wal)
        collections = CollectionTable(context, sources.channels, floors)
        self._collections = collections
        target_names = TargetNames(spec.task, spec.reservations, collections)
        self._snapshots = Snapshots(context, spec, sources)
        known = collections, target_names
        self._adoption = adoption = Adoption(
            context, spec, sources, *known, self._subscriptions, self._snapshots
        )
        target = sources.target
        self.router = Router(context, spec.task, target, adoption, *known, reader)
        self._expiry = Expiry(sources.api)
        self._metadata = MetadataSync(
            context, spec, sources, self.router, adoption, self._expiry
        )
        self._horizon = SendHorizon(
            context, self._channels, spec.send_horizons, spec.owner_start
        )
        limits = self._channels, self._metadata, self._horizon, self._expiry
        self._early = EarlyRows(context, self.router, *limits)
        self._marks = MarkRounds(self.router)
        self._exchanges = Exchanges(context, self.router, self._metadata)
        starts = self._snapshots.starts
        self._imports = ImportWatch(context, spec, sources, collections, starts)
        self._busy_at, self._rested = time.monotonic(), False
        self._reported, self._reported_rows = 0.0, NO_ROWS
        self._tick_lead: float | None = None
        self._head = 0
        self._newest_request = 0

    def begin(self) -> None:
        """Subscribe every channel, and write down where each begins.

        Raises:
            PositionLostError: The log no longer holds a checkpoint.
            RowsLostError: Nor the beginning of a channel that should have been read.
        """
        for record in self._sources.replay.records:
            self._context.record(record)
        if requests := self._spec.checkpoints.get(self._spec.source.replicate_chan):
            self._newest_request = requests.tick
        self._subscriptions.resume(self._spec.checkpoints)
        for entry in self._spec.entries:
            self.router.restore(entry)
        self.router.target_names.restore(self._spec.aliases)
        self._complete_channels()
        self._metadata.begin(self._sources.snapshot)
        self._subscriptions.record_all()

    def step(self) -> None:
        """Take what the catalog and the log have; return soon where they have nothing."""
        if self._metadata.follow():
            self._busy_at = time.monotonic()
        self._read_if_there_is_room()
        self._metadata.advance()
        self._adoption.follow_files()
        self._marks.advance()
        self._exchanges.advance()
        self._imports.advance()
        if time.monotonic() - self._reported > REPORT_SECONDS:
            self._report()

    def rest(self, wake: Callable[[], None]) -> bool:
        """Rest if nothing is to be done; ``wake`` is called when that is over.

        Ticks alone do not end it. Returns whether the reader rests.
        """
        is_quiet = time.monotonic() - self._busy_at > QUIET_SECONDS
        ignored = self._collections.is_ignored
        rests = is_quiet and self._is_settled()
        self._rested = rests and self._sources.wal.rest(wake, ignored)
        if self._rested and (
            self._reported < self._busy_at
            or self._reported_rows is not self._context.applied
        ):
            self._report()
        return self._rested

    def _is_settled(self) -> bool:
        """Tell whether all that was read is done: then ticks that come are confirmed."""
        return (
            self._context.is_settled
            and not self._context.budget.at_work
            and not self._channels.without_tick()
            and not self._channels.behind
            and not self._snapshots.shown()
            and self._metadata.is_settled
            and self._exchanges.is_settled
            and not self._imports.looks
        )

    def hear(self, message: Any) -> None:
        """Notice what an applier has done."""
        self._busy_at = time.monotonic()
        match message:
            case FlushPostponed(request, collection_id):
                self._metadata.postpone_flush(request, collection_id)
            case FlushWanted(request, collection_id):
                self._metadata.want_flush(request, collection_id)
            case ShadowPostponed(collection_id):
                self._exchanges.postpone(collection_id)
            case PlaceTaken(collection_id):
                self._exchanges.taken(collection_id)
                self.router.hear(message)
            case _:
                self.router.hear(message)

    def join(self, seconds: float) -> None:
        """Wait for what is under way, so long at most; for a run that is stopping."""
        self.router.join(seconds)
        self._snapshots.join(seconds)

    def _complete_channels(self) -> None:
        """Read what an earlier version of the service left unread of a collection.

        Not of one that comes from files: its log goes on where they end.
        """
        found = self._sources.snapshot.collections.values()
        follows = {
            each.entry.collection_id
            for each in self.router.collections
            if each.entry.state is not CollectionState.SNAPSHOT
        }
        known = [meta for meta in found if meta.id in follows]
        for collection_id, error in self._subscriptions.add(known).items():
            if self.router.collections.status(collection_id) is Status.LIVE:
                raise error

    def _read_if_there_is_room(self) -> None:
        """What is waited for is read even without; see ``work_queue``."""
        budget = self._context.budget
        if budget.wait(POLL_SECONDS):
            self._read(None)
        elif not budget.at_work:
            awaited = self.router.awaited_channels() | self._channels.without_tick()
            self._read(awaited or None)

    def _read(self, channels: Collection[str] | None) -> None:
        timeout, self._rested = 0.0 if self._rested else POLL_SECONDS, False
        self._take_all(self._sources.wal.poll(timeout, channels))
        if self._early.has_arrived:
            self._take_all(self._sources.wal.poll(HALVES_SECONDS, channels))
        self._early.send()

    def _take_all(self, records: Sequence[Record]) -> None:
        for record in records:
            self._take(record)
        self._channels.note_taken(records)

    def _take(self, record: Record) -> None:
        channel, change = record.channel, decode_record(record)
        if channel == self._spec.source.replicate_chan:
            self._busy_at = time.monotonic()
            self._take_request(record.position, change)
            return
        if isinstance(change, Tick):
            self._note_tick(change)
        elif are_rows(change, self._collections.is_ignored):
            return
        else:
            self._busy_at = time.monotonic()
        window = self._channels.take(record, change)
        if window is None:
            if self._spec.task.consistency == "early":
                self._early.take(channel, change)
            return
        checkpoint = self._context.begin_checkpoint(channel, window.checkpoint)
        if window.changes:
            self._busy_at = time.monotonic()
            first, last = window.changes[0].timestamp, window.changes[-1].timestamp
            may_exist = self._horizon.may_exist(channel, first)
            self._horizon.reach(channel, last)
            living = replace(window, changes=self._expiry.living(window.changes))
            self.router.route(channel, living, checkpoint, may_exist=may_exist)
        self._early.cover(channel, window.checkpoint)
        self._context.release([checkpoint])

    def _note_tick(self, tick: Tick) -> None:
        self._head = max(self._head, tick.timestamp)
        lead = physical_seconds(tick.timestamp) - time.monotonic()
        if self._tick_lead is None or lead > self._tick_lead:
            self._tick_lead = lead

    def _take_request(self, position: Position, change: Change | Tick) -> None:
        behind = self._channels.advance_to(position)
        if isinstance(change, Request):
            self._newest_request = max(self._newest_request, change.timestamp)
        upto = Checkpoint(position, inclusive=False, tick=self._newest_request)
        checkpoint = self._context.begin_checkpoint(position.channel, upto)
        self._metadata.take_request(change, checkpoint, behind=behind)
        self._context.release([checkpoint])

    def _report(self) -> None:
        self._reported = time.monotonic()
        self._reported_rows = self._context.applied
        checkpoints, behind = self._context.checkpoints(), self._channels.behind
        channels = self.router.collections.channels()
        ticks = [checkpoints[c].tick for c in channels]
        self._context.notify_task(
            RunProgressed(
                self._context.run_number,
                checkpoints,
                min(ticks) if ticks and all(ticks) else None,
                self._reported_rows,
                behind,
                self._metadata.waits(),
                self._context.retried.shown(),
                self._snapshots.shown(),
                self._imports.waits(),
                # Ticks of a backlog are old.
                tick_lead=None if behind else self._tick_lead,
                head=self._head,
                applied_by=self._context.applied_by,
                channels=channels,
                passed=self._sources.wal.passed,
            )
        )
        self._tick_lead = None
