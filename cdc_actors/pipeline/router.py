"""Which change goes to which collection's applier, and when."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from cdc_actors.changes import (
    BulkImport,
    CreateCollection,
    Delete,
    DropCollection,
    DropPartition,
    FlushAsked,
    Insert,
    Request,
    Unknown,
    Unreplicated,
)
from cdc_actors.pipeline.applier import Applier
from cdc_actors.pipeline.applier_pool import ApplierPool
from cdc_actors.pipeline.collection_table import Status
from cdc_actors.pipeline.early_shards import EarlyShards
from cdc_actors.pipeline.messages import (
    AliasMoved,
    CollectionDropped,
    CollectionRenamed,
    CollectionSuspended,
    FlushWanted,
    NameGivenUp,
    NameKept,
    PlaceTaken,
)
from cdc_actors.pipeline.work import StopCollection
from cdc_actors.replication.barriers import BarrierOperation, RowChunk
from cdc_actors.replication.memory_cost import total_cost
from cdc_actors.target.requests import FLUSH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pykka import ActorRef

    from cdc_actors.changes import Change, FullName, RowChange
    from cdc_actors.pipeline.adoption import Adoption, Creation
    from cdc_actors.pipeline.collection_table import Collection, CollectionTable
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.target_names import TargetNames
    from cdc_actors.pipeline.work import CatalogOperation, Work
    from cdc_actors.replication.order import Window
    from cdc_actors.replication.progress import PendingCheckpoint
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import CollectionEntry, TaskSpec


class Router:
    """Delivers each collection's work in order. The reader's thread.

    ``collections`` and ``target_names`` are what is known of all of them, ``early`` is
    what was delivered before its tick.
    """

    def __init__(
        self,
        context: RunContext,
        spec: TaskSpec,
        target: Connection,
        adoption: Adoption,
        collections: CollectionTable,
        target_names: TargetNames,
        reader: ActorRef[Any],
    ) -> None:
        self.collections = collections
        self.target_names = target_names
        self.early = EarlyShards(context.budget)
        self._context = context
        self._spec = spec
        self._target = target
        self._adoption = adoption
        self._reader = reader
        self._pool = ApplierPool()
        self._appliers: dict[int, Applier] = {}

    def restore(self, entry: CollectionEntry) -> None:
        """Know a collection from an earlier run; have it created if that was begun."""
        if creation := self._adoption.restore(entry):
            self._deliver_creation(creation, ())

    def awaited_channels(self) -> set[str]:
        """Return the channels without which rows that were read cannot go on."""
        found: set[str] = set()
        for collection in self.collections:
            found |= collection.barriers.missing_channels()
            if collection.backlog:
                for owner in map(self.target_names.owner, collection.waits_for):
                    if owner and (holder := self.collections.get(owner)):
                        found |= holder.barriers.unblocked()
        return found

    def route(
        self,
        channel: str,
        window: Window,
        checkpoint: PendingCheckpoint,
        *,
        may_exist: bool,
    ) -> None:
        """Give every change of a window to its collection, with ``checkpoint``."""
        for key, group in groupby(window.changes, key=_group_key):
            if isinstance(key, int):
                self._route_rows(channel, key, group, checkpoint, may_exist=may_exist)
                continue
            for change in group:
                self._route_operation(channel, change, checkpoint)

    def deliver(self, collection: Collection, *items: Work) -> None:
        """Hand work over, or keep it while another collection still has the name."""
        if collection.waits_for:
            collection.backlog.extend(items)
            return
        for item in items:
            self._context.budget.work_added()
            if collection.queue.put(item):
                self._pool.submit(self._applier(collection))

    def deliver_rows(
        self,
        channel: str,
        collection: Collection,
        rows: tuple[RowChange, ...],
        checkpoint: PendingCheckpoint,
        *,
        may_exist: bool = False,
    ) -> None:
        """Deliver what a channel has for a collection, behind what it waits for there."""
        if not rows:
            return
        parts = (self._context.acquire(checkpoint),)
        memory = self._context.budget.hold(total_cost(rows))
        chunk = RowChunk(rows, parts, may_exist, memory)
        self._deliver_ready(collection, collection.barriers.add(channel, chunk))

    def deliver_operation(self, collection: Collection, work: CatalogOperation) -> None:
        """Deliver an operation of the catalog's; the name that it gives is on its way."""
        self.target_names.note_under_way(collection, work)
        self.deliver(collection, work)

    def join(self, seconds: float) -> None:
        """Wait for what is under way, so long at most; for a run that is stopping."""
        self._pool.join(seconds)

    def hear(self, message: Any) -> None:
        """Notice what an applier has done."""
        match message:
            case CollectionDropped(collection_id):
                self._dropped(collection_id)
            case PlaceTaken(collection_id):
                self._place_taken(collection_id)
            case CollectionRenamed(collection_id, database, name):
                self._renamed(collection_id, (database, name))
            case NameKept(collection_id):
                self._name_kept(collection_id)
            case NameGivenUp(collection_id, name):
                self.target_names.withdraw_name(collection_id, name)
                self._free(collection_id)
            case AliasMoved(alias, collection_id):
                self._alias_moved(alias, collection_id)
            case CollectionSuspended(collection_id):
                self.collections.suspend(collection_id)
            case _:
                raise TypeError(f"an applier reports {message!r}")

    def _dropped(self, collection_id: int) -> None:
        """Let those go on that want the names of a collection which is dropped."""
        collection = self.collections.get(collection_id)
        if collection is None:
            return
        self._appliers.pop(collection_id, None)
        self.collections.end(collection_id)
        self._adoption.snapshots.forget(collection_id)
        self.target_names.dropped(collection.entry)
        self._free(collection_id)
        for alias in self.target_names.aliases_of(collection_id):
            self._alias_moved(alias, None)

    def _renamed(self, collection_id: int, name: FullName) -> None:
        """Know a collection by another name, and let those go on that want the old."""
        collection = self.collections.get(collection_id)
        if collection is not None:
            earlier = collection.entry
            collection.entry = replace(earlier, database=name[0], name=name[1])
            self.target_names.renamed(earlier, collection.entry)
            self._adoption.snapshots.go_on(collection.entry)
            self._free(collection_id)

    def _place_taken(self, collection_id: int) -> None:
        """Let those go on that want the names of a collection's shadow."""
        if collection := self.collections.get(collection_id):
            collection.entry = replace(collection.entry, shadow=False)
            self._free(collection_id)

    def _name_kept(self, collection_id: int) -> None:
        """Exclude those that want the name of a collection which the target keeps."""
        if collection := self.collections.get(collection_id):
            collection.keeps_name = True
            self._adoption.snapshots.go_on(collection.entry)
        self.target_names.withdraw_names(collection_id)
        self._free(collection_id)
        for other in self.collections:
            if collection_id in other.waits_for:
                self._adoption.exclude_unnamed(other.entry)
                self._discard((*other.backlog, *other.barriers.waiting()))

    def _alias_moved(self, alias: FullName, collection_id: int | None) -> None:
        """Know what an alias of the target stands for; if for nothing, it is free."""
        self.target_names.point(alias, collection_id)
        if collection_id is None:
            self._free(alias)

    def _free(self, holder: int | FullName) -> None:
        """Let those go on that waited for a collection or an alias to give up a name.

        A collection that was renamed may have been given the very name that they want.
        """
        for other in self.collections:
            if holder in other.waits_for - self.target_names.holders(other.entry):
                other.waits_for.discard(holder)
                backlog, other.backlog = other.backlog, []
                self.deliver(other, *backlog)

    def _discard(self, items: Iterable[Work]) -> None:
        """Let go of what has not been handed over."""
        for item in items:
            if isinstance(item, RowChunk):
                item.memory.release()
            self._context.release(item.checkpoints)

    def _route_rows(
        self,
        channel: str,
        collection_id: int,
        group: Iterable[Change],
        checkpoint: PendingCheckpoint,
        *,
        may_exist: bool,
    ) -> None:
        changes: list[Any] = list(group)
        self._create_unknown(collection_id, changes[0].timestamp, checkpoint)
        collection = self.collections.get(collection_id)
        if collection is None or collection.status is not Status.LIVE:
            return
        rows = collection.barriers.relevant_rows(channel, changes)
        late = self.early.add_late(channel, collection_id, rows)
        self.deliver_rows(channel, collection, late, checkpoint, may_exist=may_exist)

    def _route_operation(
        self, channel: str, change: Change, checkpoint: PendingCheckpoint
    ) -> None:
        match change:
            case CreateCollection():
                self._create_unknown(change.collection, change.timestamp, checkpoint)
            case DropCollection() | DropPartition():
                self._route_barrier(channel, change, checkpoint)
            case Unreplicated():
                self._stop(channel, change, checkpoint)
            case BulkImport():
                self._note_import(change)
            case FlushAsked():
                self._want_flush(channel, change)
            case Unknown():
                self._context.record_unknown(change)

    def _want_flush(self, channel: str, change: FlushAsked) -> None:
        """Have it done once all rows before it are on their way."""
        found = self.collections.get(change.collection)
        for each in [found] if change.collection else self.collections:
            if each and channel in each.channels and each.status is Status.LIVE:
                name = each.entry.database, (each.entry.name,)
                request = Request(FLUSH, change.timestamp, *name, b"")
                self._reader.tell(FlushWanted(request, each.entry.collection_id))

    def _note_import(self, change: BulkImport) -> None:
        """Each of its shards says it, and a restart has it said again."""
        collection = self.collections.get(change.collection)
        if collection and change.number not in collection.entry.imports:
            self.collections.note_import(collection, change.number, change.timestamp)

    def _route_barrier(
        self,
        channel: str,
        change: DropCollection | DropPartition,
        checkpoint: PendingCheckpoint,
    ) -> None:
        collection = self.collections.get(change.collection)
        if collection is not None and collection.barriers.is_relevant(channel, change):
            step = BarrierOperation(change, (self._context.acquire(checkpoint),))
            self._deliver_ready(collection, collection.barriers.add(channel, step))
            if isinstance(change, DropCollection):
                self.early.forget(channel, change.collection)
            else:
                rows = self.early.rows_beyond(channel, change)
                self.deliver_rows(channel, collection, rows, checkpoint, may_exist=True)

    def _stop(
        self, channel: str, change: Unreplicated, checkpoint: PendingCheckpoint
    ) -> None:
        """Have a collection set aside once what came before is applied."""
        self._create_unknown(change.collection, change.timestamp, checkpoint)
        collection = self.collections.get(change.collection)
        if collection is None or collection.status is not Status.LIVE:
            return
        # The control channel, too, says what happens to collections.
        is_own = channel in collection.channels
        if not is_own or collection.barriers.is_relevant(channel, change):
            parts = (self._context.acquire(checkpoint),)
            self.deliver(collection, StopCollection(change.reason, parts))

    def _deliver_ready(
        self, collection: Collection, items: Iterable[RowChunk | BarrierOperation]
    ) -> None:
        """Deliver what may go on, but for drops that are said once more."""
        for item in items:
            drop = item.operation if isinstance(item, BarrierOperation) else None
            if isinstance(drop, DropPartition) and self._adoption.is_said_again(drop):
                self._discard([item])
            else:
                self.deliver(collection, item)

    def _create_unknown(
        self, collection_id: int, told: int, checkpoint: PendingCheckpoint
    ) -> None:
        if self.collections.status(collection_id) is not None:
            return
        if creation := self._adoption.create(collection_id, told):
            self._deliver_creation(creation, (self._context.acquire(checkpoint),))

    def _deliver_creation(
        self, creation: Creation, checkpoints: tuple[PendingCheckpoint, ...]
    ) -> None:
        collection, work = creation
        self.deliver(collection, replace(work, checkpoints=checkpoints))

    def _applier(self, collection: Collection) -> Applier:
        collection_id = collection.entry.collection_id
        if collection_id not in self._appliers:
            self._appliers[collection_id] = Applier(
                collection.entry,
                self._context,
                self._target,
                collection.queue,
                self._reader,
                self._spec,
                exists=collection.exists,
            )
        return self._appliers[collection_id]


def _group_key(change: Change) -> int | None:
    """Rows of one collection go together; everything else stands alone."""
    return change.collection if isinstance(change, (Insert, Delete)) else None
