"""What one run does besides rows: it follows the catalog and the clients' requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.changes import Request, Unknown
from cdc_actors.pipeline.collection_table import Status
from cdc_actors.pipeline.messages import RecordOperationApplied
from cdc_actors.pipeline.metadata.client_requests import ClientRequests
from cdc_actors.pipeline.metadata.collection_changes import CollectionChanges
from cdc_actors.pipeline.metadata.databases import Databases
from cdc_actors.pipeline.metadata.fields import Fields
from cdc_actors.pipeline.metadata.flushes import Flushes
from cdc_actors.pipeline.metadata.indexes_and_loads import IndexesAndLoads
from cdc_actors.pipeline.metadata.name_history import NameHistory
from cdc_actors.pipeline.metadata.properties import Properties
from cdc_actors.pipeline.metadata.rbac import RbacSync
from cdc_actors.pipeline.metadata.undone import undoing
from cdc_actors.pipeline.pending import PendingOperations
from cdc_actors.pipeline.work import ForwardRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_actors.changes import Change, Tick
    from cdc_actors.pipeline.adoption import Adoption
    from cdc_actors.pipeline.collection_table import Collection
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.expiry import Expiry
    from cdc_actors.pipeline.router import Router
    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.pipeline.sources import Sources
    from cdc_actors.replication.progress import PendingCheckpoint
    from cdc_actors.source.catalog.client import CatalogSnapshot, CollectionMeta


class MetadataSync:
    """Brings to the target what the log does not say in order. The reader's thread."""

    def __init__(
        self,
        context: RunContext,
        spec: RunSpec,
        sources: Sources,
        router: Router,
        adoption: Adoption,
        expiry: Expiry,
    ) -> None:
        task, catalog, target = spec.task, sources.catalog, sources.target
        channels, collections = sources.channels, router.collections
        self._context = context
        self._spec = spec
        self._collections = collections
        self._adoption = adoption
        self._catalog = catalog
        self._watch = sources.watch
        self._name_history = names = NameHistory()
        self._pending = pending = PendingOperations(context, router, channels)
        self._indexes_and_loads = loads = IndexesAndLoads(
            collections, pending, channels, catalog, spec.source.replicate_chan
        )
        self._flushes = Flushes(context, router, pending)
        self._requests = ClientRequests(
            context, loads, self._flushes, catalog, names, task, collections.floors
        )
        self._collection_changes = CollectionChanges(
            context, collections, pending, catalog, loads, task
        )
        self._databases = Databases(
            context, collections, router.target_names, target, spec
        )
        self._properties = Properties(sources.api, router, pending)
        self._fields = Fields(collections, pending)
        self._expiry = expiry
        self._rbac = RbacSync(context, target, task, spec.rbac_rules, spec.passwords)

    def begin(self, snapshot: CatalogSnapshot) -> None:
        """Go on from what earlier runs did; find out what happened since."""
        for entry in self._spec.entries:
            self._name_history.register(entry)
        self._collection_changes.restore(self._spec.entries, self._spec.aliases)
        self._databases.update(self._catalog.databases())
        self._adoption.adopt(snapshot.collections.values())
        for meta in snapshot.collections.values():
            self._update(meta)
        self._collections.settle_all(snapshot.collections)
        self._settle_refused(snapshot)
        self._collection_changes.update_aliases(snapshot.aliases)
        self._collection_changes.update_imports(snapshot.imports)
        self._update_rbac()

    def follow(self) -> bool:
        """Notice what the catalog says came into being or was changed since.

        Returns whether any of it may be the task's.
        """
        changes = self._watch.changed()
        if changes.databases:
            self._databases.update(self._catalog.databases())
        self._update_changed(changes.collections)
        if changes.aliases:
            self._collection_changes.update_aliases(self._catalog.aliases())
        if changes.imports:
            self._collection_changes.update_imports(self._catalog.imports())
        if changes.rbac:
            self._update_rbac()
        others = changes.databases or changes.aliases or changes.imports or changes.rbac
        return others or not all(map(self._collections.is_ignored, changes.collections))

    def take_request(
        self, change: Change | Tick, checkpoint: PendingCheckpoint, *, behind: bool
    ) -> None:
        """Take a record of the channel of clients' requests; see ``ClientRequests``."""
        match change:
            case Request():
                self._requests.add(change, checkpoint, behind=behind)
            case Unknown():
                self._context.record_unknown(change)

    def advance(self) -> None:
        """Do what has come to be due, as far as the log has been read."""
        self._databases.advance()
        self._fields.advance()
        self._pending.advance()
        self._flushes.advance()
        self._collection_changes.advance()
        self._properties.advance()
        self._forget_gone()

    @property
    def is_settled(self) -> bool:
        """Whether nothing waits for its time."""
        loads = self._indexes_and_loads
        waits = self._pending, self._flushes, self._properties, loads
        return all(each.is_empty for each in waits)

    def has_pending(self, collection_id: int) -> bool:
        """Tell whether an operation on a collection waits for its time."""
        return self._pending.concerns(collection_id)

    def has_all(self, collection: Collection, until: int) -> bool:
        """Tell whether all up to a time, and what the catalog shows, is on its way."""
        collection_id = collection.entry.collection_id
        compared = self._indexes_and_loads.compared_at(collection_id)
        if compared is None:
            return False
        until = max(until, compared)
        is_due = self._pending.is_due(collection, until)
        return is_due and not self._pending.concerns(collection_id, until)

    def want_flush(self, request: Request, collection_id: int) -> None:
        """Have a collection flushed; that holds no checkpoint, and is lost with the run."""
        self._flushes.add(ForwardRequest(request, ()), collection_id)

    def postpone_flush(self, request: Request, collection_id: int) -> None:
        """Have a flush asked again that the target's limits refused."""
        self._flushes.postpone(request, collection_id)

    def waits(self) -> Mapping[int, str]:
        """Return why what the source did to some collections is not done yet, by id."""
        return self._pending.waits()

    def _forget_gone(self) -> None:
        """Keep nothing of collections that are gone, now that nothing waits for them."""
        for collection_id in self._collections.forget_gone():
            self._name_history.forget(collection_id)
            self._collection_changes.forget(collection_id)
            self._indexes_and_loads.forget(collection_id)
            self._properties.forget(collection_id)
            self._fields.forget(collection_id)
            self._flushes.forget(collection_id)
            self._expiry.forget(collection_id)

    def _update_changed(self, changed: frozenset[int]) -> None:
        gone = {i for i in changed if self._collections.status(i) is Status.GONE}
        self._catalog.forget(gone)
        wanted = sorted(changed - gone)
        found = self._catalog.collections(wanted)
        for collection_id in wanted:
            meta = found.get(collection_id)
            if not self._collections.settle(collection_id, meta) and meta is not None:
                self._adoption.adopt([meta], f"collection {meta.name} is new")
                self._update(meta)

    def _update(self, meta: CollectionMeta) -> None:
        """A collection that was selected once stays so, whatever it is called later."""
        selected = self._spec.task.selects(meta.database, meta.name)
        if meta.available and (selected or self._collections.get(meta.id)):
            self._context.note_source_mark(meta)
            self._name_history.record(meta)
            self._collection_changes.update(meta)
            self._properties.update(meta)
            self._fields.update(meta)
            self._expiry.update(meta)

    def _settle_refused(self, snapshot: CatalogSnapshot) -> None:
        """Write down what the source undid that the target had refused."""
        for refused in self._spec.unresolved:
            done = undoing(
                refused, snapshot.aliases, lambda: self._catalog.rbac().rules
            )
            if done is not None:
                self._context.record(RecordOperationApplied(done))

    def _update_rbac(self) -> None:
        if self._spec.task.enable_user_role:
            self._rbac.update(self._catalog.rbac(), self._catalog.databases())
