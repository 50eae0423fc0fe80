"""What operations do to one collection at the target, and what is written down of them.

Whatever does harm when it is half done is written down before it begins, too, so that the
next run does it again before anything newer.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from cdc_actors.changes import DropCollection, DropPartition
from cdc_actors.errors import OperationRefusedError
from cdc_actors.pipeline import catalog_operations, losses
from cdc_actors.pipeline.claims import Claim, is_marked
from cdc_actors.pipeline.definitions import marked_definition
from cdc_actors.pipeline.forwarding import Forwarding, attempt, unless_skipped
from cdc_actors.pipeline.messages import (
    AliasMoved,
    CollectionDropped,
    CollectionRenamed,
    NameGivenUp,
    NameKept,
    PlaceTaken,
    RecordOperationApplied,
    RecordOperationStarted,
    ShadowPostponed,
)
from cdc_actors.pipeline.partitions import Partitions
from cdc_actors.pipeline.shadows import Shadow
from cdc_actors.pipeline.skipping import schema_there, skipped_for
from cdc_actors.pipeline.work import (
    CatalogOperation,
    CheckMark,
    CreateCollectionWork,
    CreatePartitionWork,
    ForwardRequest,
    TakePlace,
)
from cdc_actors.replication.barriers import BarrierOperation
from cdc_actors.target import collections, loads, renames
from cdc_actors.target.rows import RowWriter
from cdc_actors.tasks import (
    ALTER_ALIAS,
    CLAIM_COLLECTION,
    DROP_ALIAS,
    EXCHANGE_COLLECTION,
    Operation,
)
from cdc_actors.tasks.details import AliasDetail, FieldDetail, RenameDetail

if TYPE_CHECKING:
    from pykka import ActorRef

    from cdc_actors.changes import FullName
    from cdc_actors.errors import CdcError
    from cdc_actors.marks import Mark
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.work import OperationWork, Work
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import CollectionEntry, TaskSpec
    from cdc_actors.tasks.details import Detail

_log = structlog.get_logger()


class CollectionOperations:
    """The operations on one collection. Its applier's thread uses it.

    ``entry`` has the source's names, ``writer`` writes rows under the target's. Once
    ``dropped`` nothing is done any more but what becomes of aliases. Methods raise
    ``TransientError`` and ``AccessRefusedError``, which end the run, ``UnclearAnswerError``
    if the same again may help, and ``CollectionError`` if the collection cannot go on.
    """

    def __init__(
        self,
        entry: CollectionEntry,
        context: RunContext,
        target: Connection,
        reader: ActorRef[Any],
        spec: TaskSpec,
        *,
        exists: bool,
    ) -> None:
        """``exists`` tells that the task has created the collection at the target."""
        self.entry = entry
        self.dropped = False
        self._spec = spec
        self._context = context
        self._target = target
        self._reader = reader
        self._exists = exists
        self._forwarding = Forwarding(context, target, reader)
        self._partitions = Partitions(context, target)
        self._claim = Claim(
            context.claimant, target, context.source_marks, context.source_time
        )
        self._open_writer()

    def apply(self, work: OperationWork) -> None:
        """Do one operation."""
        if self.dropped:
            self._apply_after_drop(work)
            return
        match work:
            case CreateCollectionWork():
                self._create(work)
            case CheckMark():
                self._look()
            case TakePlace(ends):
                self._end_exchange() if ends else self._take_place()
            case ForwardRequest():
                self._forwarding.forward(work, self.entry, self._target_name)
            case CreatePartitionWork() | BarrierOperation(operation=DropPartition()):
                where = self._target_name, self.writer
                self._partitions.apply(work, self.entry, *where)
            case CatalogOperation(detail=RenameDetail() as detail):
                self._rename(work, detail)
            case CatalogOperation():
                self._apply_catalog(work, work.kind)
            case BarrierOperation(operation=DropCollection()):
                self._drop(work)
            case _:
                raise TypeError(f"nobody knows how to apply {work!r}")

    def skip(self, work: OperationWork) -> None:
        """Do only what gives up a name the target has: no old rows stay, it is free."""
        match work:
            case BarrierOperation(operation=DropCollection()):
                self._drop(work)
            case _ if self.dropped:
                self._apply_after_drop(work)
            case CatalogOperation(detail=RenameDetail() as detail):
                names = self._served_name, self._spec.target_name(*detail.new_name)
                self._exists = self._exists and losses.has_any(self._target, names)
                self._rename(work, detail)
            case CatalogOperation():
                self._report_alias(work.detail, exists=False)

    def keep_name(self, work: Work, error: CdcError) -> None:
        """Know that the target refused what ``skip`` was to do: the name stays taken."""
        if isinstance(work, BarrierOperation):
            self._context.record_set_aside(self.entry, error)
        self._reader.tell(NameKept(self.entry.collection_id))

    def finish_exchange(self) -> None:
        """Give the shadow the place that it was about to take when a run ended."""
        if self.entry.exchange and self.entry.shadow:
            self._shadow().take_place()
            self.entry = replace(self.entry, shadow=False)
            self._open_writer()
            self._reader.tell(PlaceTaken(self.entry.collection_id))

    def _end_exchange(self) -> None:
        """Drop what the shadow has replaced, if that is still there."""
        if self.entry.exchange and not self.entry.shadow:
            self._shadow().drop_replaced()
            self._record_applied(self.entry.exchange)
            self.entry = replace(self.entry, exchange=None)

    def _take_place(self) -> None:
        """Have the shadow take the collection's place, if it is ready, for good."""
        shadow = self._shadow()
        if not self.entry.shadow or not shadow.is_ready():
            self._reader.tell(ShadowPostponed(self.entry.collection_id))
            return
        detail = {"loaded": loads.is_loaded(self._target, *self._target_name)}
        self._context.record_checkpoints()
        now = self._context.source_time()
        exchange = self.entry.operation(EXCHANGE_COLLECTION, now, detail)
        self._record_started(exchange)
        self.entry = replace(self.entry, exchange=exchange)
        self.finish_exchange()

    def finish_rename(self) -> None:
        """Do the rename, if there is one, that was under way when an earlier run ended.

        Refused, it was not done. Whether it is still wanted the catalog tells.
        """
        begun = self.entry.renaming
        if begun is None:
            return
        try:
            self._rename_to(begun)
        except OperationRefusedError as refusal:
            if not self._is_kept(self._served_name):
                raise
            self._take_back(begun, str(refusal))

    def check_mark(self) -> None:
        """See that the collection at the target, if there is one, is still this task's.

        Raises:
            CollectionError: Another task writes it.
        """
        if not self._exists:
            return
        self._claim.check(self.entry, self._target_name)
        if self._claim.marked and not self.entry.marked:
            self.entry = replace(self.entry, marked=True)
        if self._claim.rival is not None:
            self._report_rival(self._claim.rival)

    def _look(self) -> None:
        """See that the target has the collection, and that it is this task's."""
        if self._exists:
            losses.refuse_lost(self._target, self._target_name)
        self.check_mark()

    def cause_of(self, error: CdcError) -> CdcError:
        """Return why the target does not do something to the collection."""
        name, schema = self._target_name, schema_there(self.entry)
        if not self._exists:
            return error
        return losses.cause_of(error, self._target, name, schema)

    def _report_rival(self, rival: Mark) -> None:
        reason = f"{rival} wanted to write it, too, and was refused"
        self._record_applied(
            self.entry.operation(
                CLAIM_COLLECTION, self._context.source_time(), {"refused": reason}
            )
        )
        self._claim.forget_rival(self._target_name)

    def may_have(self, timestamp: int) -> bool:
        """Tell whether the target may have rows of a timestamp from before the task."""
        return timestamp <= max(self.entry.adopted_until, self._claim.taken)

    def _is_ours(self) -> bool:
        if self.entry.shadow:
            return self._is_kept(self._served_name)
        return self._claim.is_ours(self.entry, self._target_name, made=self._exists)

    def _is_kept(self, name: FullName) -> bool:
        """What a shadow is to replace has another id: it is known by its mark."""
        if self.entry.shadow:
            return is_marked(self._target, self._claim.mark(self.entry), name)
        return losses.is_kept(self._target, name, self.entry)

    def _shadow(self, entry: CollectionEntry | None = None) -> Shadow:
        known = entry or self.entry
        return Shadow(self._target, self._spec, known, self._claim.mark(known))

    def _open_writer(self) -> None:
        entry = self.entry
        self._served_name = self._spec.target_name(entry.database, entry.name)
        self._target_name = self._spec.written_name(entry)
        schema = entry.schema, entry.skipped
        self.writer = RowWriter(self._target, *self._target_name, *schema)

    def _create(self, work: CreateCollectionWork) -> None:
        """A collection that is there already may have any of the rows written so far.

        It gets the name of now: a rename that an earlier run began comes before.
        """
        name, mark = self._target_name, self._claim.mark(self.entry)
        if self.entry.shadow:
            losses.refuse_lost(self._target, name)
        if work.former is not None:
            losses.refuse_former(self._target, name, work.former, self.entry)
        self._claim.drop_leftover(self.entry, name)
        skipped = skipped_for(self._spec, self._target, self.entry)
        self.entry = replace(self.entry, skipped=skipped)
        self._open_writer()
        definition = marked_definition(work.definition, name, mark, skipped)
        # Whatever the target has by this name from then on is the task's.
        begun = partial(self._record_started, Operation.create_collection(self.entry))
        existed = collections.create_collection(self._target, definition, begun)
        self._claim.check(self.entry, name)
        if existed:
            until = self._context.source_time()
            self.entry = replace(self.entry, adopted_until=until)
        target_id, reduced = collections.made(self._target, definition)
        marked = self._claim.marked
        self.entry = replace(self.entry, target_id=target_id, marked=marked)
        done = Operation.create_collection(self.entry)
        self._record_applied(done.as_reduced(reduced))
        self._exists = True

    def _drop(self, work: BarrierOperation) -> None:
        """What has the name at the target, but is not this task's, stays.

        A drop need not wait for ticks. What the catalog shows of it, or a client
        asked, may come only afterwards: there is nothing left to do it to.
        """
        operation = Operation.drop_collection(self.entry, work.operation.timestamp)
        self._record_started(operation)
        if self.entry.shadow or self.entry.exchange:
            self._shadow().drop_all()
        elif self._is_ours():
            collections.drop_collection(self._target, *self._target_name)
        self._record_applied(operation)
        self.dropped = True
        self._reader.tell(CollectionDropped(self.entry.collection_id))

    def _rename(self, work: CatalogOperation, detail: RenameDetail) -> None:
        """Rows are written by name: what may be half done must be known after a crash."""
        self._end_exchange()
        if detail.new_name == (self.entry.database, self.entry.name):
            self._undo_rename()
            self._report_name()
            return
        is_there = self._is_ours() if self.entry.shadow else self._exists
        loaded = is_there and loads.is_loaded(self._target, *self._served_name)
        json = replace(detail, loaded=loaded).to_json()
        operation = self.entry.operation(work.kind, work.timestamp, json)
        self._record_started(operation)
        self.entry = replace(self.entry, renaming=operation)
        self._rename_to(operation)

    def _undo_rename(self) -> None:
        """See that the collection has its name, whatever was begun for another one."""
        begun = self.entry.renaming
        if begun is None:
            return
        old, new = self._served_name, self._spec.target_name(*begun.new_name)
        kept = [self._is_kept(each) for each in (old, new)]
        if kept == [False, True]:
            loaded = begun.detail["loaded"]
            renames.rename_collection(self._target, new, old, loaded=loaded)
        self._shadow(self.entry.renamed(begun)).follow(self._shadow())
        self._take_back(begun, "the source undid it")

    def _take_back(self, begun: Operation, why: str) -> None:
        """Write down that a rename which was begun comes to nothing."""
        name = self.entry.database, self.entry.name
        kept = RenameDetail(name, begun.detail["loaded"]).to_json()
        operation = replace(begun, detail=kept)
        reduced = f"under the name that it had: {why}"
        self._record_applied(operation.as_reduced(reduced))
        self.entry = replace(self.entry, renaming=None)
        new = self._spec.target_name(*begun.new_name)
        self._reader.tell(NameGivenUp(self.entry.collection_id, new))

    def _rename_to(self, operation: Operation) -> None:
        after, reduced = self.entry.renamed(operation), ""
        if self._is_ours():
            reduced = renames.rename_collection(
                self._target,
                self._served_name,
                self._spec.target_name(*operation.new_name),
                loaded=operation.detail["loaded"],
            )
        if self.entry.shadow:
            self._shadow().follow(self._shadow(after))
        self._record_applied(operation.as_reduced(reduced))
        self.entry = after
        self._open_writer()
        self._report_name()

    def _report_name(self) -> None:
        """Let those come that want the name which the collection had."""
        name = self.entry.database, self.entry.name
        self._reader.tell(CollectionRenamed(self.entry.collection_id, *name))

    def _apply_catalog(self, work: CatalogOperation, kind: str) -> None:
        """An operation that the target refuses is written down, and the rest goes on.

        The catalog tells the next run only what is to be in the end: what may be half done
        must be known after a crash.
        """
        detail = catalog_operations.with_schema(work.detail, self.entry.schema)
        operation = self.entry.operation(kind, work.timestamp, detail.to_json())
        if catalog_operations.may_be_half_done(detail):
            self._record_started(operation)
        is_alias = isinstance(detail, AliasDetail)
        name = self._served_name if is_alias else self._target_name
        there = self._target, name, kind, detail, self.entry.skipped
        act = partial(catalog_operations.apply_at_target, *there)
        to_do = unless_skipped(self.entry, catalog_operations.field_of(detail), act)
        is_done = attempt(self._context, operation, to_do)
        if is_done and isinstance(detail, FieldDetail):
            self.entry = replace(self.entry, schema=detail.schema)
        self._report_alias(detail, exists=is_done and kind != DROP_ALIAS)

    def _report_alias(self, detail: Detail, *, exists: bool) -> None:
        """Let the next operation on the alias come."""
        if isinstance(detail, AliasDetail):
            alias = self._target_name[0], detail.alias
            owner = self.entry.collection_id if exists else None
            self._reader.tell(AliasMoved(alias, owner))

    def _apply_after_drop(self, work: OperationWork) -> None:
        """An alias that was moved to what is gone goes on to stand for nothing."""
        match work:
            case CatalogOperation(kind=kind) if kind == ALTER_ALIAS:
                self._apply_catalog(work, DROP_ALIAS)
            case CatalogOperation(detail=AliasDetail() as detail):
                self._report_alias(detail, exists=False)

    def _record_started(self, operation: Operation) -> None:
        self._context.record(RecordOperationStarted(operation))

    def _record_applied(self, operation: Operation) -> None:
        self._context.record(RecordOperationApplied(operation))
