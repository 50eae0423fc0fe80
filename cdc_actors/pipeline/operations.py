"""What operations do to one collection at the target, and what is written down of them.

Whatever does harm when it is half done is written down before it begins, too, so that the
next run does it again before anything newer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from cdc_actors.changes import DropCollection, DropPartition
from cdc_actors.errors import OperationRefusedError, UnclearAnswerError
from cdc_actors.pipeline import losses
from cdc_actors.pipeline.catalog_operations import apply_at_target, with_schema
from cdc_actors.pipeline.claims import Claim
from cdc_actors.pipeline.definitions import marked_definition
from cdc_actors.pipeline.messages import (
    AliasMoved,
    CollectionDropped,
    CollectionRenamed,
    FlushPostponed,
    NameGivenUp,
    NameKept,
    RecordOperationApplied,
    RecordOperationStarted,
)
from cdc_actors.pipeline.work import (
    CatalogOperation,
    CheckMark,
    CreateCollectionWork,
    CreatePartitionWork,
    ForwardRequest,
)
from cdc_actors.replication.barriers import BarrierOperation
from cdc_actors.target import collections, loads, requests
from cdc_actors.target.answers import RateLimitError
from cdc_actors.target.rows import RowWriter
from cdc_actors.tasks import (
    ALTER_ALIAS,
    CLAIM_COLLECTION,
    DROP_ALIAS,
    Operation,
)
from cdc_actors.tasks.details import (
    AliasDetail,
    FieldDetail,
    IndexDetail,
    LoadDetail,
    RenameDetail,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pykka import ActorRef

    from cdc_actors.changes import Request
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
    ``dropped`` nothing is done any more but what becomes of aliases.

    Methods raise ``TransientError`` and ``AccessRefusedError``, which end the run,
    ``UnclearAnswerError`` where it may help to do the same again, and ``CollectionError``
    where the collection cannot go on.
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
        self._flush_refused = False
        self._partition_drops: dict[str, int] = {}
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
            case ForwardRequest():
                self._forward(work)
            case CreatePartitionWork():
                self._create_partition(work)
            case CatalogOperation(detail=RenameDetail() as detail):
                self._rename(work, detail)
            case CatalogOperation():
                self._apply_catalog(work, work.kind)
            case BarrierOperation(operation=DropCollection()):
                self._drop(work)
            case BarrierOperation(operation=DropPartition() as drop):
                self._drop_partition(drop)
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
                names = self._target_name, self._spec.target_name(*detail.new_name)
                self._exists = self._exists and losses.has_any(self._target, names)
                self._rename(work, detail)
            case CatalogOperation():
                self._report_alias(work.detail, exists=False)

    def keep_name(self, work: Work, error: CdcError) -> None:
        """Know that the target refused what ``skip`` was to do: the name stays taken."""
        if isinstance(work, BarrierOperation):
            self._context.record_set_aside(self.entry, error)
        self._reader.tell(NameKept(self.entry.collection_id))

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
            if not losses.is_kept(self._target, self._target_name, self.entry):
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
        name, schema = self._target_name, self.entry.schema
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
        return self._claim.is_ours(self.entry, self._target_name, made=self._exists)

    def _open_writer(self) -> None:
        entry = self.entry
        self._target_name = self._spec.target_name(entry.database, entry.name)
        self.writer = RowWriter(self._target, *self._target_name, entry.schema)

    def _create(self, work: CreateCollectionWork) -> None:
        """A collection that is there already may have any of the rows written so far.

        It gets the name of now: a rename that an earlier run began comes before.
        """
        name, mark = self._target_name, self._claim.mark(self.entry)
        if work.former is not None:
            losses.refuse_former(self._target, name, work.former, self.entry)
        self._claim.drop_leftover(self.entry, name)
        definition = marked_definition(work.definition, name, mark)
        existed = collections.create_collection(
            self._target, definition, self._record_creation_started
        )
        self._claim.check(self.entry, name)
        if existed:
            until = self._context.source_time()
            self.entry = replace(self.entry, adopted_until=until)
        target_id, reduced = collections.made(self._target, definition)
        marked = self._claim.marked
        self.entry = replace(self.entry, target_id=target_id, marked=marked)
        self._record_applied(
            Operation.create_collection(self.entry).as_reduced(reduced)
        )
        self._exists = True

    def _record_creation_started(self) -> None:
        """Whatever the target has by this name from now on is the task's."""
        self._record_started(Operation.create_collection(self.entry))

    def _drop(self, work: BarrierOperation) -> None:
        """What has the name at the target, but is not this task's, stays.

        A drop need not wait for ticks. What the catalog shows of it, or a client
        asked, may come only afterwards: there is nothing left to do it to.
        """
        operation = Operation.drop_collection(self.entry, work.operation.timestamp)
        self._record_started(operation)
        if self._is_ours():
            collections.drop_collection(self._target, *self._target_name)
        self._record_applied(operation)
        self.dropped = True
        self._reader.tell(CollectionDropped(self.entry.collection_id))

    def _drop_partition(self, drop: DropPartition) -> None:
        name = drop.partition
        collections.drop_partition(self._target, *self._target_name, name)
        self.writer.forget_partition(name)
        self._partition_drops[name] = drop.timestamp
        self._record_partition("DropPartition", name, drop.timestamp)

    def _create_partition(self, work: CreatePartitionWork) -> None:
        """Rows may have needed it before; what came with its tick may have dropped it."""
        is_gone = work.timestamp <= self._partition_drops.get(work.name, 0)
        if not is_gone and self.writer.ensure_partition(work.name):
            self._record_partition("CreatePartition", work.name, work.timestamp)

    def _record_partition(self, kind: str, name: str, timestamp: int) -> None:
        operation = self.entry.operation(kind, timestamp, {"partition": name})
        self._record_applied(operation)

    def _rename(self, work: CatalogOperation, detail: RenameDetail) -> None:
        """Rows are written by name: what may be half done must be known after a crash."""
        if detail.new_name == (self.entry.database, self.entry.name):
            self._undo_rename()
            self._report_name()
            return
        loaded = self._exists and loads.is_loaded(self._target, *self._target_name)
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
        old, new = self._target_name, self._spec.target_name(*begun.new_name)
        kept = [losses.is_kept(self._target, each, self.entry) for each in (old, new)]
        if kept == [False, True]:
            loaded = begun.detail["loaded"]
            collections.rename_collection(self._target, new, old, loaded=loaded)
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
        database, name = operation.new_name
        reduced = ""
        if self._is_ours():
            reduced = collections.rename_collection(
                self._target,
                self._target_name,
                self._spec.target_name(database, name),
                loaded=operation.detail["loaded"],
            )
        self._record_applied(operation.as_reduced(reduced))
        self.entry = replace(self.entry, database=database, name=name, renaming=None)
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
        detail = with_schema(work.detail, self.entry.schema)
        operation = self.entry.operation(kind, work.timestamp, detail.to_json())
        if isinstance(detail, IndexDetail | LoadDetail):
            self._record_started(operation)
        where = self._target, self._target_name
        is_done = self._try(operation, lambda: apply_at_target(*where, kind, detail))
        if is_done and isinstance(detail, FieldDetail):
            self.entry = replace(self.entry, schema=detail.schema)
        self._report_alias(detail, exists=is_done and kind != DROP_ALIAS)

    def _try(self, operation: Operation, act: Callable[[], str]) -> bool:
        """Write down what came of an operation; tell whether it was done."""
        try:
            tried = operation.as_reduced(act())
        except OperationRefusedError as refusal:
            tried = operation.as_refused(refusal)
        self._record_applied(tried)
        return tried.refused is None

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

    def _forward(self, work: ForwardRequest) -> None:
        """An operation that the target refuses is written down, and the rest goes on."""
        request = work.request
        if request.kind == requests.FLUSH:
            self._flush(request)
            return
        parts = requests.parts_of(request)
        operation = self.entry.operation(request.kind, request.timestamp, parts)
        where = self._target_name
        self._try(operation, lambda: requests.forward(self._target, request, where))

    def _flush(self, request: Request) -> None:
        """Clients flush whenever they like: only the first refusal of a run is recorded."""
        try:
            requests.forward(self._target, request, self._target_name)
        except (RateLimitError, UnclearAnswerError) as refusal:
            _log.info("flush_postponed", detail=str(refusal))
            self._reader.tell(FlushPostponed(request, self.entry.collection_id))
        except OperationRefusedError as refusal:
            if not self._flush_refused:
                self._flush_refused = True
                operation = self.entry.operation(request.kind, request.timestamp, {})
                self._record_applied(operation.as_refused(refusal))

    def _record_started(self, operation: Operation) -> None:
        self._context.record(RecordOperationStarted(operation))

    def _record_applied(self, operation: Operation) -> None:
        self._context.record(RecordOperationApplied(operation))
