"""Which change goes to which collection's applier, and when.

A collection comes into being where the log says CreateCollection and the catalog knows
it: Milvus (2.3.5) also logs creations that fail or find it there already. By the time a
tick has covered the message, the catalog has it if it ever will: ticks wait for the DDL
before them (rootcoord, ddl min timestamp).

A collection whose catalog entry is gone was dropped since; its rows are left out.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from cdc_actors.changes import (
    CreateCollection,
    Delete,
    DropCollection,
    DropPartition,
    Insert,
    Unknown,
)
from cdc_actors.errors import CollectionError, TransientError
from cdc_actors.pipeline.applier_actor import Applier
from cdc_actors.pipeline.collection import Collection
from cdc_actors.pipeline.definitions import (
    channels_of,
    definition_of,
    entry_of,
    excluded_entry_of,
)
from cdc_actors.pipeline.left_out import ExcludedCollections
from cdc_actors.pipeline.messages import WorkArrived
from cdc_actors.pipeline.target_names import TargetNames
from cdc_actors.pipeline.work import CatalogOperation, CreateCollectionWork, Work
from cdc_actors.replication.barriers import BarrierOperation, RowChunk, ShardBarriers
from cdc_actors.replication.memory_cost import total_cost
from cdc_actors.tasks import CollectionEntry, CollectionState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pykka import ActorRef

    from cdc_actors.changes import Change, FullName
    from cdc_actors.errors import CdcError
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.pipeline.sources import Sources
    from cdc_actors.pipeline.subscriptions import Subscriptions
    from cdc_actors.replication.order import Window
    from cdc_actors.replication.progress import PendingCheckpoint
    from cdc_actors.source.catalog.client import CollectionMeta

_KEPT = "a collection that the target does not rename"


class Router:
    """Keeps the stream's collections and gives each its work. The reader's thread."""

    def __init__(
        self,
        context: RunContext,
        spec: RunSpec,
        sources: Sources,
        subscriptions: Subscriptions,
        reader: ActorRef[Any],
    ) -> None:
        self._context = context
        self._target = sources.target
        self._catalog = sources.catalog
        self._channels = sources.channels
        self._subscriptions = subscriptions
        self._spec = spec.spec
        self._names = spec.names
        self._reader = reader
        self._collections: dict[int, Collection] = {}
        self._gone: set[int] = set()
        self._kept: set[int] = set()
        self._passed_over: set[int] = set()
        self.names = TargetNames(spec.spec, spec.names, self._collections)
        self.left_out = ExcludedCollections(context)

    def restore(self, entry: CollectionEntry) -> None:
        """Know a collection from an earlier run; its channels are subscribed already."""
        if entry.state is CollectionState.DROPPED or not entry.schema:
            self._gone.add(entry.collection_id)
            self.left_out.restore(entry)
        elif entry.state is CollectionState.CREATING:
            self._go_on_creating(entry)
        else:
            self._add(entry, exists=True)

    def leave_out(self, entry: CollectionEntry, error: CdcError) -> None:
        """Take nothing of a collection that cannot be replicated, and say why."""
        self.left_out.add(entry, error)
        self._gone.add(entry.collection_id)
        self._passed_over.discard(entry.collection_id)

    def knows(self, collection_id: int) -> bool:
        """Tell whether the collection is replicated or left out."""
        return collection_id in self._collections or self.is_gone(collection_id)

    def is_over(self, collection_id: int) -> bool:
        """Tell whether nothing matters any more that happens to the collection."""
        unsettled = collection_id in self._passed_over or collection_id in self.left_out
        return self.is_gone(collection_id) and not unsettled

    def is_gone(self, collection_id: int) -> bool:
        """Tell whether nothing more will be done for the collection."""
        return collection_id in self._gone

    def has_missed(self, meta: CollectionMeta) -> bool:
        """Tell whether rows of a collection were passed over when they were read.

        It was not selected then, under an earlier name.
        """
        read = [c for c in meta.channels if c in self._channels]
        passed = all(self._channels.applied(c) > meta.created for c in read)
        return meta.id in self._passed_over or (
            not self.knows(meta.id) and bool(read) and passed
        )

    def get(self, collection_id: int) -> Collection | None:
        """Return a collection that is being replicated."""
        return self._collections.get(collection_id)

    def databases(self) -> set[str]:
        """Return the databases that have collections which are replicated."""
        return {each.entry.database for each in self._collections.values()}

    def is_shared(self, database: str) -> bool:
        """Tell whether another database's collections are in this one at the target."""
        there = self._spec.target_database(database)
        entries = [collection.entry for collection in self._collections.values()]
        foreign = [each for each in entries if each.database != database]
        return any(self.names.there(each)[0] == there for each in foreign)

    def live_channels(self) -> set[str]:
        """Return the channels of all collections being replicated."""
        return {name for c in self._collections.values() for name in c.channels}

    def awaited(self) -> set[str]:
        """Return the channels without which rows that were read cannot go on."""
        found: set[str] = set()
        for collection in self._collections.values():
            found |= collection.lanes.awaited()
            if collection.backlog:
                for holder in map(self.names.owner, collection.waits_for):
                    if holder in self._collections:
                        found |= self._collections[holder].lanes.open()
        return found

    def appliers(self) -> list[ActorRef[Any]]:
        """Return the appliers started so far."""
        return [c.applier for c in self._collections.values() if c.applier is not None]

    def route(
        self,
        channel: str,
        window: Window,
        checkpoint: PendingCheckpoint,
        *,
        may_exist: bool,
    ) -> None:
        """Give every change of a window to its collection, with ``checkpoint``."""
        for key, run in groupby(window.changes, key=_run_key):
            if isinstance(key, int):
                self._rows(channel, key, run, checkpoint, may_exist=may_exist)
                continue
            for change in run:
                self._operation(channel, change, checkpoint)

    def give(self, collection: Collection, work: Work) -> None:
        """Give a collection an operation from beside the log."""
        self._deliver(collection, [work])

    def give_told(self, collection: Collection, work: CatalogOperation) -> None:
        """Give a collection what the catalog told of."""
        self.names.take(collection, work)
        self.give(collection, work)

    def ended(self, collection_id: int) -> None:
        """Forget a dropped collection, and let those go on that want its names."""
        collection = self._collections.pop(collection_id)
        self._gone.add(collection_id)
        if collection.applier is not None:
            collection.applier.stop(block=False)
        self.names.ended(collection.entry)
        self._free(collection_id)
        for alias in self.names.aliases_of(collection_id):
            self.point(alias, None)

    def renamed(self, collection_id: int, name: FullName) -> None:
        """Know a collection by another name, and let those go on that want the old."""
        collection = self._collections[collection_id]
        earlier = collection.entry
        collection.entry = replace(earlier, database=name[0], name=name[1])
        self.names.renamed(earlier, collection.entry)
        self._free(collection_id)

    def kept(self, collection_id: int) -> None:
        """Leave out those that want the name of a collection which the target keeps."""
        self._kept.add(collection_id)
        self.names.kept(collection_id)
        self._free(collection_id)
        for other in list(self._collections.values()):
            if collection_id in other.waits_for:
                del self._collections[other.entry.collection_id]
                self._discard((*other.backlog, *other.lanes.waiting()))
                self._set_aside(other.entry, _KEPT)

    def _discard(self, items: Iterable[Work]) -> None:
        """Let go of what has not been handed over."""
        for item in items:
            if isinstance(item, RowChunk):
                item.memory.release()
            self._context.release(item.checkpoints)

    def point(self, alias: FullName, collection_id: int | None) -> None:
        """Know what an alias of the target stands for; if for nothing, it is free."""
        self.names.point(alias, collection_id)
        if collection_id is None:
            self._free(alias)

    def stopped(self, collection_id: int) -> None:
        """Send a set-aside collection no more rows; its drop may still matter."""
        collection = self._collections[collection_id]
        collection.entry = replace(collection.entry, state=CollectionState.SET_ASIDE)

    def _rows(
        self,
        channel: str,
        collection_id: int,
        run: Iterable[Change],
        checkpoint: PendingCheckpoint,
        *,
        may_exist: bool,
    ) -> None:
        if not self.knows(collection_id):
            self._create(collection_id, checkpoint)
        collection = self._collections.get(collection_id)
        if collection is None or collection.entry.state is not CollectionState.LIVE:
            return
        rows = tuple(c for c in run if isinstance(c, Insert | Delete))
        if not collection.lanes.matters(channel, rows[0]):
            return
        parts = (self._context.acquire(checkpoint),)
        memory = self._context.budget.hold(total_cost(rows))
        chunk = RowChunk(rows, parts, may_exist, memory)
        self._deliver(collection, collection.lanes.add(channel, chunk))

    def _operation(
        self, channel: str, change: Change, checkpoint: PendingCheckpoint
    ) -> None:
        match change:
            case CreateCollection():
                if not self.knows(change.collection):
                    self._create(change.collection, checkpoint)
            case DropCollection() | DropPartition():
                self._barrier(channel, change, checkpoint)
            case Unknown():
                self._context.record_unknown(change)

    def _barrier(
        self,
        channel: str,
        change: DropCollection | DropPartition,
        checkpoint: PendingCheckpoint,
    ) -> None:
        collection = self._collections.get(change.collection)
        if collection is not None and collection.lanes.matters(channel, change):
            step = BarrierOperation(change, (self._context.acquire(checkpoint),))
            self._deliver(collection, collection.lanes.add(channel, step))

    def _create(self, collection_id: int, checkpoint: PendingCheckpoint) -> None:
        """Replicate a collection from here on, if the catalog has it.

        Each channel says CreateCollection, and the first one counts. After a restart a
        channel may have it behind its checkpoint while another, which held it back, has
        not said it yet: then the collection's first rows count.
        """
        meta = self._catalog.collection(collection_id)
        if meta is None or meta.dropping:
            self._gone.add(collection_id)
            return
        if not meta.available:
            raise TransientError(f"the source is still creating {meta.name}")
        if not self._spec.selects(meta.database, meta.name):
            self._gone.add(collection_id)
            self._passed_over.add(collection_id)
            return
        why = f"collection {meta.name} is new"
        if lost := self._subscriptions.add([meta], why):
            self.leave_out(excluded_entry_of(meta), lost[meta.id])
            return
        entry = entry_of(meta)
        if holder := self._holder_of_name(entry):
            self._set_aside(entry, holder)
            return
        collection = self._add(entry, exists=False)
        definition = definition_of(meta, self.names.there(entry))
        create = CreateCollectionWork(definition, (self._context.acquire(checkpoint),))
        self._deliver(collection, [create])

    def _go_on_creating(self, entry: CollectionEntry) -> None:
        """Create again what may be there; if the source dropped it since, it only goes."""
        meta = self._catalog.collection(entry.collection_id)
        if meta is None or meta.dropping:
            self._add(replace(entry, state=CollectionState.DROPPING), exists=True)
            return
        live = replace(entry, state=CollectionState.LIVE)
        work = CreateCollectionWork(definition_of(meta, self.names.there(entry)), ())
        self._deliver(self._add(live, exists=False), [work])

    def _add(self, entry: CollectionEntry, *, exists: bool) -> Collection:
        applied = {c: self._channels.applied(c) for c in channels_of(entry.shards)}
        waits_for = self.names.holders(entry)
        collection = Collection(entry, ShardBarriers(applied), exists, waits_for)
        self._collections[entry.collection_id] = collection
        return collection

    def _free(self, holder: int | FullName) -> None:
        """Let those go on that waited for a collection or an alias to give up a name.

        A collection that was renamed may have been given the very name that they want.
        """
        for other in self._collections.values():
            if holder in other.waits_for - self.names.holders(other.entry):
                other.waits_for.discard(holder)
                backlog, other.backlog = other.backlog, []
                self._deliver(other, backlog)

    def _holder_of_name(self, entry: CollectionEntry) -> str | None:
        """Return what else will go on to be at the target what this is to be there.

        One that the source has dropped meanwhile, or renamed, only has to be waited for.
        """
        for other in self.names.alike(entry):
            if other.collection_id in self._kept:
                return _KEPT
            if (other.database, other.name) != (entry.database, entry.name):
                meta = self._catalog.collection(other.collection_id)
                if meta and not meta.dropping and self.names.stays(other, meta):
                    return f"{other.database}.{other.name}"
        task_id = self._names.take(self.names.there(entry))
        return f"a collection of task {task_id}" if task_id else None

    def _set_aside(self, entry: CollectionEntry, holder: str) -> None:
        """Leave out a collection whose name at the target another one has."""
        remedy = "create a task whose name_mapping gives each a name of its own"
        if holder == _KEPT:
            remedy = "rename or drop that one at the target"
        there = ".".join(self.names.there(entry))
        error = CollectionError(
            f"{entry.database}.{entry.name} would be {there} at the target, which "
            f"{holder} is: {remedy}"
        )
        self.leave_out(entry, error)

    def _deliver(self, collection: Collection, items: Iterable[Work]) -> None:
        """Hand work over, or keep it while another collection still has the name."""
        if collection.waits_for:
            collection.backlog.extend(items)
            return
        for item in items:
            self._context.budget.work_added()
            if collection.queue.put(item):
                self._applier(collection).tell(WorkArrived())

    def _applier(self, collection: Collection) -> ActorRef[Any]:
        if collection.applier is None:
            collection.applier = Applier.start(
                collection.entry,
                self._context,
                self._target,
                collection.queue,
                self._reader,
                self._spec,
                exists=collection.exists,
            )
        return collection.applier


def _run_key(change: Change) -> int | None:
    """Rows of one collection go together; everything else stands alone."""
    return change.collection if isinstance(change, Insert | Delete) else None
