"""The actor that reads the source's log for one task."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pykka

from cdc_actors.changes import Checkpoint, Request, Unknown
from cdc_actors.errors import RowsLostError
from cdc_actors.pipeline.channels import Channels
from cdc_actors.pipeline.messages import (
    AliasMoved,
    CollectionDropped,
    CollectionRenamed,
    CollectionSuspended,
    RecordStarts,
    RenameRefused,
    RunProgressed,
    TakeStep,
)
from cdc_actors.pipeline.metadata.client_requests import ClientRequests
from cdc_actors.pipeline.metadata.collection_changes import CollectionChanges
from cdc_actors.pipeline.metadata.databases import Databases
from cdc_actors.pipeline.metadata.indexes_and_loads import IndexesAndLoads
from cdc_actors.pipeline.metadata.name_history import NameHistory
from cdc_actors.pipeline.metadata.properties import Properties
from cdc_actors.pipeline.metadata.rbac import RbacSync
from cdc_actors.pipeline.pending import PendingOperations
from cdc_actors.pipeline.router import Router
from cdc_actors.pipeline.send_horizon import SendHorizon
from cdc_actors.source.catalog.client import Catalog
from cdc_actors.source.decode import decode
from cdc_actors.source.wal import open_reader
from cdc_actors.target.connection import connect
from cdc_actors.target.identity import refuse_source
from cdc_actors.tasks import CollectionEntry

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from cdc_actors.changes import Position, Record
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.source.catalog.client import (
        CatalogSnapshot,
        CatalogWatch,
        CollectionMeta,
    )
    from cdc_actors.source.wal.base import WalReader

_OPENINGS = threading.BoundedSemaphore(16)
"""How many streams open at a time: each opening connects to three servers, and after a
start all tasks want to."""

POLL_SECONDS = 0.05
REPORT_SECONDS = 0.25


class Reader(pykka.ThreadingActor):
    """Reads, decodes, orders and hands on, one step a message.

    Everything is opened by the first step, not in ``on_start``: Pykka tells nobody of an
    actor that fails there. A failure of any step ends the stream and goes to the task.
    """

    use_daemon_thread = True

    def __init__(self, context: RunContext, assignment: RunSpec) -> None:
        super().__init__()
        self._context = context
        self._job = assignment
        self._open = ExitStack()
        self._opened = False
        self._reported = 0.0

    def on_receive(self, message: Any) -> None:
        """Take one step. Runs in the actor's own thread."""
        match message:
            case TakeStep():
                if not self._context.stopping and self._context.guard(self._step):
                    self.actor_ref.tell(message)
            case CollectionDropped():
                self._context.guard(lambda: self._router.ended(message.collection_id))
            case CollectionRenamed():
                name = message.database, message.name
                renamed = message.collection_id
                self._context.guard(lambda: self._router.renamed(renamed, name))
            case RenameRefused():
                kept = message.collection_id
                self._context.guard(lambda: self._router.kept(kept))
            case AliasMoved():
                alias, owner = message.alias, message.collection_id
                self._context.guard(lambda: self._router.point(alias, owner))
            case CollectionSuspended():
                self._context.guard(lambda: self._router.stopped(message.collection_id))

    def on_stop(self) -> None:
        """Let the appliers finish what is under way, then close every connection."""
        self._context.stop()
        appliers = self._router.appliers() if self._opened else []
        ends = [applier.stop(block=False) for applier in appliers]
        for end in ends:
            with suppress(pykka.Timeout, pykka.ActorDeadError):
                end.get(timeout=1)
        with suppress(Exception):
            self._open.close()

    def _step(self) -> None:
        if not self._opened and not self._open_in_turn():
            return
        self._follow_catalog()
        if self._context.budget.wait(POLL_SECONDS):
            self._read(None)
        elif not self._context.budget.at_work:
            awaited = self._router.awaited() | self._channels.without_tick()
            self._read(awaited or None)
        self._databases.advance()
        self._pending.advance()
        self._collection_changes.advance()
        self._properties.advance()
        if time.monotonic() - self._reported > REPORT_SECONDS:
            self._report()

    def _open_in_turn(self) -> bool:
        """Open the stream unless too many do just now; tell whether it is open."""
        if not _OPENINGS.acquire(timeout=POLL_SECONDS):
            return False
        try:
            self._open_stream()
        finally:
            _OPENINGS.release()
        return True

    def _read(self, channels: Collection[str] | None) -> None:
        """Take what has arrived of some channels, or of all."""
        for record in self._wal.poll(POLL_SECONDS, channels):
            self._take(record)

    def _open_stream(self) -> None:
        """Open target, log and catalog; watch from the revision that was listed.

        The clients' requests are read from the oldest on, for what they asked of a
        collection came after its beginning; the catalog is listed when it is known how
        many of them there are.
        """
        job = self._job
        self._target = connect(job.spec.target, job.token, self._context.cancelled)
        self._open.callback(self._target.close)
        self._wal: WalReader = open_reader(job.source, self._context.prefetch)
        self._open.callback(self._wal.close)
        self._catalog = Catalog(job.source.etcd)
        self._open.callback(self._catalog.close)
        self._channels = Channels(self._wal, self._context.budget)
        self._send_horizon = SendHorizon(
            self._context, self._channels, job.send_horizons
        )
        self._subscribe(job.source.replicate_chan)
        snapshot = self._catalog.snapshot()
        refuse_source(self._target, job.source, snapshot.collections)
        self._watch: CatalogWatch = self._catalog.watch(snapshot.revision + 1)
        self._open.callback(self._watch.close)
        self._router = Router(
            self._context,
            self._target,
            self._catalog,
            self._channels,
            job.spec,
            job.names,
            self.actor_ref,
        )
        self._open_beside()
        self._opened = True
        self._begin(snapshot)

    def _open_beside(self) -> None:
        """Make ready what brings operations from beside the log."""
        job = self._job
        context, router, spec = self._context, self._router, job.spec
        known = job.databases
        self._databases = Databases(context, router, self._target, spec, known)
        self._pending = PendingOperations(context, router, self._channels)
        catalog, requests = self._catalog, job.source.replicate_chan
        serving = IndexesAndLoads(
            router, self._pending, self._channels, catalog, requests
        )
        self._name_history = NameHistory()
        self._client_requests = ClientRequests(
            context,
            router,
            serving,
            catalog,
            self._name_history,
            spec,
        )
        self._properties = Properties(context, job.source, router, self._pending)
        self._open.callback(self._properties.close)
        self._collection_changes = CollectionChanges(
            context, router, self._pending, catalog, serving, spec
        )
        self._rbac = RbacSync(context, self._target, spec, job.access, job.passwords)

    def _begin(self, snapshot: CatalogSnapshot) -> None:
        """Subscribe every channel and tell the task where each begins."""
        for channel in self._job.checkpoints:
            if channel not in self._channels:
                self._subscribe(channel)
        for entry in self._job.entries:
            self._router.restore(entry)
            self._name_history.know(entry)
        self._router.names.restore(self._job.aliases)
        self._collection_changes.restore(self._job.entries, self._job.aliases)
        self._databases.see(snapshot.databases.values())
        self._adopt(snapshot.collections.values())
        for meta in snapshot.collections.values():
            self._see(meta)
        self._router.left_out.see_all(snapshot.collections)
        self._collection_changes.see_aliases(snapshot.aliases)
        self._collection_changes.see_imports(snapshot.imports)
        self._see_access()
        self._record_starts(self._context.checkpoints(), "the stream opens")

    def _record_starts(self, starts: Mapping[str, Checkpoint], why: str) -> None:
        """A channel that a collection of the task uses is never without a checkpoint."""
        self._context.record(RecordStarts(self._context.run_number, starts, why))

    def _subscribe(self, channel: str, start: Checkpoint | None = None) -> None:
        """Read a channel from ``start``, its last checkpoint, or its oldest record on."""
        checkpoint = start or self._job.checkpoints.get(channel)
        self._context.add_channel(channel, checkpoint)
        self._channels.subscribe(channel, checkpoint)

    def _follow_catalog(self) -> None:
        """Notice what came into being or was changed since."""
        changes = self._watch.changed()
        if changes.databases:
            self._databases.see(self._catalog.databases())
        for collection_id in changes.collections:
            if self._router.is_over(collection_id):
                continue
            meta = self._catalog.collection(collection_id)
            if collection_id in self._router.left_out:
                self._router.left_out.see(collection_id, meta)
            elif meta is not None:
                self._notice(meta)
        if changes.aliases:
            self._collection_changes.see_aliases(self._catalog.aliases())
        if changes.imports:
            self._collection_changes.see_imports(self._catalog.imports())
        if changes.access:
            self._see_access()

    def _notice(self, meta: CollectionMeta) -> None:
        if starts := self._adopt([meta]):
            self._record_starts(starts, f"collection {meta.name} is new")
        self._see(meta)

    def _see_access(self) -> None:
        if self._job.spec.enable_user_role:
            self._rbac.see(self._catalog.access())

    def _see(self, meta: CollectionMeta) -> None:
        """A collection that was selected once stays so, whatever it is called later."""
        selected = self._job.spec.selects(meta.database, meta.name)
        if meta.available and (selected or self._router.get(meta.id)):
            self._name_history.see(meta)
            self._collection_changes.see(meta)
            self._properties.see(meta)

    def _adopt(self, found: Iterable[CollectionMeta]) -> dict[str, Checkpoint]:
        """Read the selected collections' channels from their beginnings on.

        Returns where each channel that was not read before begins.
        """
        starts: dict[str, Position] = {}
        for meta in found:
            if self._is_renamed_in(meta):
                name = f"{meta.database}.{meta.name}"
                self._leave_out(
                    meta, f"rows of {name} under names that are not selected"
                )
            elif self._is_new(meta):
                for start in self._beginnings(meta):
                    earliest = starts.setdefault(start.channel, start)
                    if self._wal.reached(earliest, start):
                        starts[start.channel] = start
        checkpoints = {c: Checkpoint(start, True, 0) for c, start in starts.items()}
        for channel, checkpoint in checkpoints.items():
            self._subscribe(channel, checkpoint)
        return checkpoints

    def _is_new(self, meta: CollectionMeta) -> bool:
        selected = self._job.spec.selects(meta.database, meta.name)
        return meta.available and selected and not self._router.knows(meta.id)

    def _is_renamed_in(self, meta: CollectionMeta) -> bool:
        selected = self._job.spec.selects(meta.database, meta.name)
        return meta.available and selected and self._router.has_missed(meta)

    def _beginnings(self, meta: CollectionMeta) -> list[Position]:
        """Return where to begin with a collection's channels that are not read yet."""
        starts = [
            self._wal.position(channel, start)
            for channel, start in meta.start_positions.items()
            if channel not in self._channels
        ]
        lost = [start for start in starts if not self._wal.holds(start)]
        if lost:
            where = ", ".join(f"{start.channel} at {start.text}" for start in lost)
            self._leave_out(
                meta,
                "the log no longer holds the beginning of "
                f"{meta.database}.{meta.name} ({where}): rows written before",
            )
            return []
        return starts

    def _leave_out(self, meta: CollectionMeta, why: str) -> None:
        """Say why rows of a collection cannot be had."""
        error = RowsLostError(f"{why} are not replicated")
        entry = CollectionEntry(
            collection_id=meta.id, database=meta.database, name=meta.name
        )
        self._router.leave_out(entry, error)

    def _take(self, record: Record) -> None:
        position, change = record.position, decode(record.payload)
        if record.channel == self._job.source.replicate_chan:
            self._take_request(position, change)
            return
        window = self._channels.take(position, change)
        if window is None:
            return
        channel = record.channel
        checkpoint = self._context.begin_checkpoint(channel, window.checkpoint)
        if window.changes:
            first, last = window.changes[0].timestamp, window.changes[-1].timestamp
            may_exist = self._send_horizon.may_exist(channel, first)
            self._send_horizon.reach(channel, last)
            self._router.route(channel, window, checkpoint, may_exist=may_exist)
        self._context.release([checkpoint])

    def _take_request(self, position: Position, change: Any) -> None:
        behind = self._channels.see(position)
        upto = Checkpoint(position, inclusive=False, tick=0)
        checkpoint = self._context.begin_checkpoint(position.channel, upto)
        match change:
            case Request():
                self._client_requests.add(change, checkpoint, behind=behind)
            case Unknown():
                self._context.record_unknown(change)
        self._context.release([checkpoint])

    def _report(self) -> None:
        self._reported = time.monotonic()
        checkpoints = self._context.checkpoints()
        ticks = [checkpoints[c].tick for c in self._router.live_channels()]
        self._context.notify_task(
            RunProgressed(
                self._context.run_number,
                checkpoints,
                min(ticks) if ticks and all(ticks) else None,
                self._context.rows,
                self._channels.behind,
                self._pending.waits(),
            )
        )
