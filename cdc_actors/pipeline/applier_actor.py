"""The actor that brings one collection to the target."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

import pykka

from cdc_actors.changes import DropCollection, DropPartition, Insert, hybrid
from cdc_actors.errors import CollectionError, OperationRefusedError
from cdc_actors.pipeline.messages import (
    AliasMoved,
    CollectionDropped,
    CollectionRenamed,
    CollectionSuspended,
    RecordCollectionSetAside,
    RecordOperationApplied,
    RecordOperationStarted,
    RenameRefused,
)
from cdc_actors.pipeline.work import (
    CatalogOperation,
    CreateCollectionWork,
    CreatePartitionWork,
    ForwardRequest,
    Work,
)
from cdc_actors.replication.barriers import BarrierOperation, RowChunk
from cdc_actors.replication.fold import fold
from cdc_actors.target import aliases, collections, requests
from cdc_actors.target.rows import RowWriter
from cdc_actors.tasks import (
    ALTER_ALIAS,
    DROP_ALIAS,
    RENAME_COLLECTION,
    CollectionState,
    Operation,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cdc_actors.changes import FullName
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.work_queue import WorkQueue
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import CollectionEntry, TaskSpec


CLOCK_SKEW = 300.0
"""Seconds that the source's clock, which stamps the rows, may be ahead of ours."""


class Applier(pykka.ThreadingActor):
    """Applies one collection's work in order. Its mailbox only says that there is some.

    Rows of all shards that wait are folded together, so that batches grow by themselves
    when the target is slower than the log, and stay small when it is not.
    """

    use_daemon_thread = True

    def __init__(
        self,
        entry: CollectionEntry,
        context: RunContext,
        target: Connection,
        queue: WorkQueue,
        reader: pykka.ActorRef[Any],
        spec: TaskSpec,
        *,
        exists: bool,
    ) -> None:
        """``exists`` tells that the task has created the collection at the target.

        ``entry`` has the source's names, ``spec`` says what the target calls it.
        """
        super().__init__()
        self._entry = entry
        self._spec = spec
        self._context = context
        self._target = target
        self._queue = queue
        self._reader = reader
        self._call(entry.database, entry.name)
        self._entry = entry
        self._exists = exists
        self._set_aside = entry.state is CollectionState.SET_ASIDE
        self._ended = False
        self._open: dict[int, Work] = {}

    def on_receive(self, message: Any) -> None:  # noqa: ARG002 - there is but one kind
        """Do all work that waits. Runs in the actor's own thread."""
        self._context.guard(self._work)

    def _call(self, database: str, name: str) -> None:
        """Know the collection by a name of the source's, and by that of the target."""
        self._entry = replace(self._entry, database=database, name=name, renaming=None)
        self._there = self._spec.target_name(database, name)
        self._writer = RowWriter(self._target, *self._there, self._entry.schema)

    def _work(self) -> None:
        try:
            self._finish_renaming()
            while not self._context.stopping and (items := self._queue.take()):
                self._open.update((id(item), item) for item in items)
                self._apply(items)
            self._writer.drain()
        except CollectionError as error:
            self._give_up_collection(error)

    def _apply(self, items: Sequence[Work]) -> None:
        if self._set_aside:
            self._skip(items)
            return
        for kind, group in groupby(items, key=self._kind):
            if isinstance(kind, bool):
                self._apply_rows(group, may_exist=kind)
            else:
                self._writer.drain()
                for item in group:
                    self._operate(item)

    def _kind(self, item: Work) -> bool | type:
        """Rows go together as long as all or none of them may be there already."""
        if isinstance(item, RowChunk):
            return (
                item.may_exist or item.changes[0].timestamp <= self._entry.adopted_until
            )
        return type(item)

    def _apply_rows(self, pieces: Iterable[Any], *, may_exist: bool) -> None:
        together = list(pieces)
        changes = list(chain.from_iterable(piece.changes for piece in together))
        batch = fold(changes, self._writer.keys_of, may_exist=may_exist)
        self._writer.write(batch, lambda: self._applied(together))

    def _applied(self, pieces: Iterable[RowChunk]) -> None:
        for piece in pieces:
            self._close(piece, rows_of(piece))

    def _operate(self, item: Any) -> None:
        match item:
            case CatalogOperation(detail={"alias": _}) if self._ended:
                self._lose_alias(item)
            case _ if self._ended:
                self._close(item)
            case CreateCollectionWork():
                self._create(item)
            case ForwardRequest():
                self._repeat(item)
            case CreatePartitionWork():
                self._create_partition(item)
            case CatalogOperation(kind="RenameCollection"):
                self._rename(item)
            case CatalogOperation():
                self._follow(item, item.kind)
            case BarrierOperation(operation=DropCollection()):
                self._drop(item)
            case BarrierOperation(operation=DropPartition(partition=partition)):
                self._drop_partition(item, partition)

    def _create(self, work: CreateCollectionWork) -> None:
        """A collection that is there already may have any of the rows written so far."""
        if collections.create_collection(
            self._target, work.definition, self._begin_creation
        ):
            until = hybrid(time.time() + CLOCK_SKEW)
            self._entry = replace(self._entry, adopted_until=until)
        operation = Operation.create_collection(self._entry)
        self._context.record(RecordOperationApplied(operation))
        self._exists = True
        self._close(work)

    def _begin_creation(self) -> None:
        """Whatever the target has by this name from now on is the task's."""
        operation = Operation.create_collection(self._entry)
        self._context.record(RecordOperationStarted(operation))

    def _drop(self, step: BarrierOperation) -> None:
        """What has the name at the target, but is not of this task's making, stays.

        A drop need not wait for ticks: what the catalog told of the collection, or a client
        asked, may be given only afterwards, and has nothing left to be done to.
        """
        operation = Operation.drop_collection(self._entry, step.operation.timestamp)
        self._context.record(RecordOperationStarted(operation))
        if self._exists:
            collections.drop_collection(self._target, *self._there)
        self._finish(operation, step)
        self._ended = True
        self._reader.tell(CollectionDropped(self._entry.collection_id))

    def _drop_partition(self, step: BarrierOperation, partition: str) -> None:
        collections.drop_partition(self._target, *self._there, partition)
        self._writer.forget_partition(partition)
        detail = {"partition": partition}
        self._finish(self._operation("DropPartition", step.operation, detail), step)

    def _create_partition(self, work: CreatePartitionWork) -> None:
        """Often it is there already: rows that came first needed it."""
        if self._writer.ensure_partition(work.name):
            detail = {"partition": work.name}
            operation = self._operation("CreatePartition", work, detail)
            self._context.record(RecordOperationApplied(operation))
        self._close(work)

    def _rename(self, work: CatalogOperation) -> None:
        """Rows are written by name: what may be half done must be known after a crash."""
        if _new_name(work) != (self._entry.database, self._entry.name):
            loaded = self._exists and collections.is_loaded(self._target, *self._there)
            detail = work.detail | {"loaded": loaded}
            operation = self._operation(work.kind, work, detail)
            self._context.record(RecordOperationStarted(operation))
            self._rename_to(operation)
        else:
            self._tell_name()
        self._close(work)

    def _finish_renaming(self) -> None:
        """Do first what was under way when an earlier run ended."""
        if self._entry.renaming is not None and not self._set_aside:
            self._rename_to(self._entry.renaming)

    def _rename_to(self, operation: Operation) -> None:
        if self._exists:
            new = self._spec.target_name(*operation.new_name)
            loaded = operation.detail["loaded"]
            collections.rename_collection(self._target, self._there, new, loaded=loaded)
        self._context.record(RecordOperationApplied(operation))
        self._call(*operation.new_name)
        self._tell_name()

    def _tell_name(self) -> None:
        """Let those come that want the name which the collection had."""
        name = self._entry.database, self._entry.name
        self._reader.tell(CollectionRenamed(self._entry.collection_id, *name))

    def _follow(self, work: CatalogOperation, kind: str) -> None:
        """An operation that the target refuses is written down, and the rest goes on.

        The catalog tells the next run only what is to be in the end: what may be half done
        must be known after a crash.
        """
        detail = dict(work.detail)
        if "request" in detail:
            operation = self._operation(kind, work, detail)
            self._context.record(RecordOperationStarted(operation))
        try:
            self._follow_at_target(kind, detail)
        except OperationRefusedError as refusal:
            detail["refused"] = str(refusal)
        self._finish(self._operation(kind, work, detail), work)
        self._tell_alias(work, stands="refused" not in detail and kind != DROP_ALIAS)

    def _follow_at_target(self, kind: str, detail: Mapping[str, Any]) -> None:
        match kind, detail:
            case "CreateAlias" | "AlterAlias", {"alias": alias}:
                aliases.set_alias(self._target, *self._there, alias)
            case "DropAlias", {"alias": alias}:
                aliases.drop_alias(self._target, self._there[0], alias)
            case "AlterCollection", {"properties": properties}:
                collections.alter_collection(self._target, *self._there, properties)
            case kind, {"request": wanted}:
                requests.issue(self._target, kind, self._there, wanted)

    def _tell_alias(self, work: CatalogOperation, *, stands: bool) -> None:
        """Let the next operation on the alias come."""
        if "alias" in work.detail:
            alias = self._there[0], work.detail["alias"]
            owner = self._entry.collection_id if stands else None
            self._reader.tell(AliasMoved(alias, owner))

    def _lose_alias(self, work: CatalogOperation) -> None:
        """An alias that was moved to what is gone goes on to stand for nothing."""
        if work.kind == ALTER_ALIAS:
            self._follow(work, DROP_ALIAS)
        else:
            self._close(work)
            self._tell_alias(work, stands=False)

    def _repeat(self, work: ForwardRequest) -> None:
        """An operation that the target refuses is written down, and the rest goes on."""
        try:
            requests.forward(self._target, work.request, self._there)
            detail: dict[str, Any] = {}
        except OperationRefusedError as refusal:
            detail = {"refused": str(refusal)}
        operation = self._operation(work.request.kind, work.request, detail)
        self._finish(operation, work)

    def _operation(self, kind: str, change: Any, detail: dict[str, Any]) -> Operation:
        return Operation(
            kind=kind,
            timestamp=change.timestamp,
            database=self._entry.database,
            name=self._entry.name,
            collection_id=self._entry.collection_id,
            detail=detail,
        )

    def _finish(
        self,
        operation: Operation,
        work: BarrierOperation | ForwardRequest | CatalogOperation,
    ) -> None:
        self._context.record(RecordOperationApplied(operation))
        self._close(work)

    def _close(self, work: Work, rows: int = 0) -> None:
        """Let go of work that is done, or that is not to be done."""
        del self._open[id(work)]
        self._context.budget.work_done()
        if isinstance(work, RowChunk):
            work.memory.release()
        self._context.release(work.checkpoints, rows)

    def _give_up_collection(self, error: CollectionError) -> None:
        """Set the collection aside; the others go on."""
        if not self._set_aside:
            self._context.record(RecordCollectionSetAside(self._entry, error))
            self._set_aside = True
            self._reader.tell(CollectionSuspended(self._entry.collection_id))
        self._writer.forget()
        self._skip(list(self._open.values()))

    def _skip(self, items: Iterable[Work]) -> None:
        """Do nothing but what gives up a name: no old rows stay, and it is free."""
        for item in items:
            match item:
                case BarrierOperation(operation=DropCollection()):
                    self._drop(item)
                case CatalogOperation(detail={"alias": _}) if self._ended:
                    self._lose_alias(item)
                case CatalogOperation() if not self._ended:
                    self._skip_told(item)
                case _:
                    self._close(item)

    def _skip_told(self, work: CatalogOperation) -> None:
        """A rename that the target refuses leaves the old name taken."""
        if work.kind == RENAME_COLLECTION:
            with suppress(CollectionError):
                self._rename(work)
                return
            self._reader.tell(RenameRefused(self._entry.collection_id))
        self._close(work)
        self._tell_alias(work, stands=False)


def _new_name(rename: CatalogOperation) -> FullName:
    return rename.detail["to_database"], rename.detail["to_name"]


def rows_of(piece: RowChunk) -> int:
    """Return how many rows a piece inserts or deletes."""
    return sum(
        change.rows if isinstance(change, Insert) else len(change.keys)
        for change in piece.changes
    )
