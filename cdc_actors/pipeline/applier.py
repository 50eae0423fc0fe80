"""What brings one collection to the target."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

import structlog

from cdc_actors.changes import Batch
from cdc_actors.errors import (
    CollectionError,
    OperationRefusedError,
    RowRefusedError,
    TransientError,
    UnclearAnswerError,
)
from cdc_actors.pipeline.attempts import Attempts
from cdc_actors.pipeline.messages import CollectionSuspended
from cdc_actors.pipeline.operations import CollectionOperations
from cdc_actors.pipeline.refused_row import write_apart
from cdc_actors.pipeline.work import NO_ROWS, AppliedRows, StopCollection, gives_up_name
from cdc_actors.replication.barriers import RowChunk
from cdc_actors.replication.fold import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pykka import ActorRef

    from cdc_actors.errors import CdcError
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.work import Work
    from cdc_actors.pipeline.work_queue import WorkQueue
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import CollectionEntry, TaskSpec

ROW_ATTEMPTS = 3
"""How often a collection is tried before one row of it is called refused."""


class Applier:
    """Applies one collection's work in order: one thread at a time, of an ``ApplierPool``.

    Rows of all shards that wait are folded together, so that batches grow by themselves
    when the target is slower than the log, and stay small when it is not.

    Where the target answers, but does not do it for now, everything that is not confirmed
    is done again, as after a restart, later and later. Once that has lasted
    too long the collection is set aside, or the run ends if others do not go on either.
    Rows that it clearly refuses are sent once more at once, in parts, to find the one.
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
        self._suspended = entry.is_apart
        self._open: dict[int, Work] = {}
        self._again: list[Work] = []
        self._attempts = Attempts(entry.collection_id, context)
        self._isolates = False

    @property
    def has_operation_next(self) -> bool:
        """Whether what comes next are operations, not rows or the answers to rows."""
        if self._again:
            return not isinstance(self._again[0], RowChunk)
        return self._queue.has_operation_next and not self._operations.writer.is_busy

    @property
    def pause(self) -> float:
        """Seconds after which the next step is to be taken."""
        return self._attempts.pause

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
        if not went_well or self._context.stopping:
            return False
        has_more = self._attempts.is_waiting or bool(self._again)
        return has_more or not self._queue.finish()

    def _work(self) -> None:
        """Wait for answers only where nothing more is sent for now."""
        try:
            if self._attempts.is_waiting and not self._may_go_on():
                return
            is_busy = self._operations.writer.is_busy
            behind_rows = is_busy and self._queue.has_operation_next
            if not self._context.stopping and not behind_rows:
                self._take()
            if behind_rows or self._must_drain:
                self._operations.writer.drain()
                self._attempts.end()
        except (UnclearAnswerError, CollectionError) as error:
            self._failed(error)

    def _failed(self, error: CdcError) -> None:
        """Try again what may pass; otherwise set the collection aside."""
        if not self._suspended:
            error = self._operations.cause_of(error)
        match error:
            case UnclearAnswerError():
                self._try_again(error)
            case RowRefusedError(__cause__=UnclearAnswerError()):
                self._blame(error)
            case OperationRefusedError() if self._is_about_rows and not self._isolates:
                self._isolate()
            case _:
                self._suspend(error)

    @property
    def _is_about_rows(self) -> bool:
        """Whether rows come first of what is not done."""
        first = next(iter(self._open.values()), None)
        return isinstance(first, RowChunk) and not self._suspended

    def _isolate(self) -> None:
        """Send everything once more, so that the row which is refused comes out."""
        self._isolates = True
        self._doubt()
        self._again = list(self._open.values())

    @property
    def _must_drain(self) -> bool:
        is_idle = self._queue.is_empty and not self._again
        return self._context.stopping or is_idle or self._attempts.count > 0

    def _take(self) -> None:
        if not self._suspended:
            self._operations.finish_exchange()
            self._operations.finish_rename()
        items, self._again = self._again, []
        self._apply(items or self._receive())
        self._isolates = False

    def _receive(self) -> list[Work]:
        items = self._queue.take()
        self._open.update((id(item), item) for item in items)
        return items

    def _apply(self, items: Sequence[Work]) -> None:
        if self._suspended:
            self._skip(items)
            return
        self._operations.check_mark()
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
            begin = item.changes[0].timestamp
            return item.may_exist or self._operations.may_have(begin)
        return type(item)

    def _apply_rows(self, group: Iterable[Any], *, may_exist: bool) -> None:
        chunks: list[RowChunk] = list(group)
        changes = list(chain.from_iterable(chunk.changes for chunk in chunks))
        writer = self._operations.writer
        batch = fold(changes, writer.keys_of, may_exist=may_exist)
        if self._attempts.count or self._isolates:
            writer.write(Batch(batch.deletes, ()))
            write_apart(writer, batch.inserts)
            self._close_rows(chunks)
        else:
            writer.write(batch, lambda: self._close_rows(chunks))

    def _apply_operation(self, item: Any) -> None:
        if not isinstance(item, StopCollection):
            self._operations.apply(item)
        elif not item.lost or item.lost.difference(self._operations.entry.skipped):
            raise CollectionError(item.reason)
        self._close(item)

    def _close_rows(self, chunks: Iterable[RowChunk]) -> None:
        for chunk in chunks:
            self._close(chunk, AppliedRows.of(chunk.changes))

    def _close(self, work: Work, rows: AppliedRows = NO_ROWS) -> None:
        """Let go of work that is done, or that is not to be done."""
        del self._open[id(work)]
        self._context.budget.work_done()
        if isinstance(work, RowChunk):
            work.memory.release()
        collection_id = self._operations.entry.collection_id
        self._context.release(work.checkpoints, rows, collection_id)

    def _blame(self, error: RowRefusedError) -> None:
        """Believe only what has come out again: the target may be about to come back."""
        is_known = str(error) == str(self._attempts.error)
        if is_known and self._attempts.count >= ROW_ATTEMPTS:
            self._suspend(error)
        else:
            self._try_again(error)

    def _try_again(self, error: CdcError) -> None:
        """Begin to wait."""
        self._doubt()
        self._attempts.failed(error)
        self._wait_on()

    def _doubt(self) -> None:
        """Take it that the target may have anything of what is open."""
        self._operations.writer.abandon()
        self._open = {id(each): each for each in map(_uncertain, self._open.values())}

    def _may_go_on(self) -> bool:
        """Tell whether it is time for the next try."""
        self._wait_on()
        if not self._attempts.pause:
            self._attempts.resume()
        return not self._attempts.is_waiting

    def _wait_on(self) -> None:
        """Take what has come meanwhile, and see whether all of it may wait."""
        while self._receive():
            pass
        self._again = list(self._open.values())
        if not self._attempts.may_wait(len(self._open), self._held()):
            self._attempts.resume()
            self._give_up(self._attempts.error)

    def _held(self) -> int:
        chunks = (each for each in self._open.values() if isinstance(each, RowChunk))
        return sum(chunk.memory.size for chunk in chunks)

    def _give_up(self, error: CdcError) -> None:
        """A target that takes rows of nobody is in trouble itself: that is the task's."""
        if not self._attempts.others_moved:
            raise TransientError(str(error)) from error
        self._suspend(error)

    def _suspend(self, error: CdcError) -> None:
        """Set the collection aside; the others go on."""
        self._operations.writer.abandon()
        self._attempts.end()
        if self._suspended:
            self._keep_name(error)
        else:
            entry = self._operations.entry
            self._context.record_set_aside(entry, error)
            self._suspended = True
            self._reader.tell(CollectionSuspended(entry.collection_id))
        self._again = list(self._open.values())

    def _keep_name(self, error: CdcError) -> None:
        """Pass over what the target refuses of the little that is still done."""
        refused = next(iter(self._open.values()))
        self._operations.keep_name(refused, error)
        self._close(refused)

    def _leave_files(self) -> None:
        """Have no rows of files come, which are written by name."""
        jobs = self._context.snapshot_jobs
        jobs.leave(self._operations.entry.collection_id, self._context.check_running)

    def _skip(self, items: Iterable[Work]) -> None:
        for item in items:
            if not isinstance(item, RowChunk | StopCollection):
                if gives_up_name(item):
                    self._leave_files()
                self._operations.skip(item)
            self._close(item)


def _uncertain(work: Work) -> Work:
    """Return work of which the target may have a part."""
    return replace(work, may_exist=True) if isinstance(work, RowChunk) else work
