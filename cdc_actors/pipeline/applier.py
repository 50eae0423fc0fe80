"""What brings one collection to the target."""

from __future__ import annotations

from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

import structlog

from cdc_actors.changes import Insert
from cdc_actors.errors import CollectionError
from cdc_actors.pipeline.messages import CollectionSuspended, RecordCollectionSetAside
from cdc_actors.pipeline.operations import CollectionOperations
from cdc_actors.replication.barriers import RowChunk
from cdc_actors.replication.fold import fold
from cdc_actors.tasks import CollectionState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pykka import ActorRef

    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.work import Work
    from cdc_actors.pipeline.work_queue import WorkQueue
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import CollectionEntry, TaskSpec


class Applier:
    """Applies one collection's work in order: one thread at a time, of an ``ApplierPool``.

    Rows of all shards that wait are folded together, so that batches grow by themselves
    when the target is slower than the log, and stay small when it is not.
    """

    def __init__(
        self,
        entry: CollectionEntry,
        context: RunContext,
        target: Connection,
        queue: WorkQueue,
        reader: ActorRef[Any],
        spec: TaskSpec,
        *,
        exists: bool,
    ) -> None:
        """``exists`` tells that the task has created the collection at the target.

        ``entry`` has the source's names, ``spec`` says what the target calls it.
        """
        self._context = context
        self._queue = queue
        self._reader = reader
        self._operations = CollectionOperations(
            entry, context, target, reader, spec, exists=exists
        )
        self._suspended = entry.state is CollectionState.SET_ASIDE
        self._open: dict[int, Work] = {}

    @property
    def has_operation_next(self) -> bool:
        """Whether what comes next are operations, not rows."""
        return self._queue.has_operation_next

    def step(self) -> bool:
        """Do what waits in front, rows or operations; tell whether there is more to do.

        Log lines say which collection they are about. A failure ends the run.
        """
        entry = self._operations.entry
        with structlog.contextvars.bound_contextvars(
            collection=f"{entry.database}.{entry.name}",
            collection_id=entry.collection_id,
        ):
            went_well = self._context.guard(self._work)
        return went_well and not self._context.stopping and not self._queue.finish()

    def _work(self) -> None:
        """Wait for answers only where nothing more is sent for now."""
        try:
            if not self._context.stopping:
                self._take()
            if self._context.stopping or self._queue.is_empty:
                self._operations.writer.drain()
        except CollectionError as error:
            self._suspend(error)

    def _take(self) -> None:
        if not self._suspended:
            self._operations.finish_rename()
        items = self._queue.take()
        self._open.update((id(item), item) for item in items)
        self._apply(items)

    def _apply(self, items: Sequence[Work]) -> None:
        if self._suspended:
            self._skip(items)
            return
        for kind, group in groupby(items, key=self._kind):
            if isinstance(kind, bool):
                self._apply_rows(group, may_exist=kind)
            else:
                self._operations.writer.drain()
                for item in group:
                    self._apply_operation(item)

    def _kind(self, item: Work) -> bool | type:
        """Rows go together as long as all or none of them may exist already."""
        if isinstance(item, RowChunk):
            adopted_until = self._operations.entry.adopted_until
            return item.may_exist or item.changes[0].timestamp <= adopted_until
        return type(item)

    def _apply_rows(self, group: Iterable[Any], *, may_exist: bool) -> None:
        chunks: list[RowChunk] = list(group)
        changes = list(chain.from_iterable(chunk.changes for chunk in chunks))
        writer = self._operations.writer
        batch = fold(changes, writer.keys_of, may_exist=may_exist)
        writer.write(batch, lambda: self._close_rows(chunks))

    def _apply_operation(self, item: Any) -> None:
        self._operations.apply(item)
        self._close(item)

    def _close_rows(self, chunks: Iterable[RowChunk]) -> None:
        for chunk in chunks:
            self._close(chunk, rows_of(chunk))

    def _close(self, work: Work, rows: int = 0) -> None:
        """Let go of work that is done, or that is not to be done."""
        del self._open[id(work)]
        self._context.budget.work_done()
        if isinstance(work, RowChunk):
            work.memory.release()
        self._context.release(work.checkpoints, rows)

    def _suspend(self, error: CollectionError) -> None:
        """Set the collection aside; the others go on."""
        entry = self._operations.entry
        if not self._suspended:
            self._context.record(RecordCollectionSetAside(entry, error))
            self._suspended = True
            self._reader.tell(CollectionSuspended(entry.collection_id))
        self._operations.writer.forget()
        self._skip(list(self._open.values()))

    def _skip(self, items: Iterable[Work]) -> None:
        for item in items:
            if not isinstance(item, RowChunk):
                self._operations.skip(item)
            self._close(item)


def rows_of(chunk: RowChunk) -> int:
    """Return how many rows a chunk inserts or deletes."""
    return sum(
        change.rows if isinstance(change, Insert) else len(change.keys)
        for change in chunk.changes
    )
