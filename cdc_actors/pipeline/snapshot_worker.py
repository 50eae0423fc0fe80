"""The thread that sends the rows of the source's files, one collection after another.

What was begun by an earlier run, or listed anew, is done so that twice is the same as
once: files are merged by the source at any time, and a row may come to be in another.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from cdc_actors.errors import CdcError, CollectionError, UnclearAnswerError
from cdc_actors.pipeline import losses, resyncs, seeds
from cdc_actors.pipeline.claims import Claim
from cdc_actors.pipeline.definitions import (
    channels_of,
    definition_of,
    marked_definition,
)
from cdc_actors.pipeline.messages import (
    RecordSegmentsDone,
    RecordSegmentsForgotten,
    SnapshotTaken,
)
from cdc_actors.pipeline.segments_sent import SegmentsSent
from cdc_actors.pipeline.snapshot_jobs import LeftError
from cdc_actors.pipeline.snapshot_pace import throttle
from cdc_actors.pipeline.snapshot_starts import ALL_WRITTEN_SINCE
from cdc_actors.pipeline.surplus import Surplus, refuse_unread
from cdc_actors.pipeline.unwritten_deletes import MEMORY_SHARE, unwritten_deletes
from cdc_actors.pipeline.work import AppliedRows
from cdc_actors.replication.fold import fold
from cdc_actors.replication.memory_cost import total_cost
from cdc_actors.source.storage.files import FileGoneError, StorageError
from cdc_actors.target import collections
from cdc_actors.target.rows import RowWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdc_actors.changes import FullName, Insert
    from cdc_actors.memory_budget import MemoryHold
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.pipeline.snapshot_jobs import SnapshotJob
    from cdc_actors.pipeline.source_files import RowReader, Stored
    from cdc_actors.pipeline.sources import Sources
    from cdc_actors.source.storage.listing import Segment

MAX_LISTINGS = 10
"""How often the files of one collection are listed anew, while none of them is done."""

OF_ONE_COLLECTION = CollectionError, UnclearAnswerError, StorageError
"""What goes wrong about the files of one collection, and leaves the others be."""

_LOOK_SECONDS = 0.25

_log = structlog.get_logger()


class SnapshotWorker:
    """Brings collections. Any thread may use it; the work has a thread of its own."""

    def __init__(self, context: RunContext, spec: RunSpec, sources: Sources) -> None:
        self._context = context
        self._jobs = context.snapshot_jobs
        self._spec = spec
        self._files = sources.files
        self._target = sources.target
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._held: set[MemoryHold] = set()
        self._throttle = throttle(spec.source.storage.max_snapshot_bytes_per_second)

    def add(self, job: SnapshotJob) -> None:
        """Bring a collection after those that wait."""
        with self._lock:
            self._jobs.add(job)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._serve, name="snapshot", daemon=True
                )
                self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait for the thread to end, so long at most."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _serve(self) -> None:
        while (job := self._next()) is not None:
            if not self._context.guard(partial(self._bring, job)):
                return
            self._jobs.done()

    def _next(self) -> SnapshotJob | None:
        with self._lock:
            job = None if self._context.stopping else self._jobs.first()
            if job is None:
                self._thread = None
            return job

    def _bring(self, job: SnapshotJob) -> None:
        """Bring one collection, or say why it cannot be."""
        entry, begun = job.entry, time.monotonic()
        with structlog.contextvars.bound_contextvars(
            collection=f"{entry.database}.{entry.name}",
            collection_id=entry.collection_id,
        ):
            try:
                is_done = self._bring_all(job)
            except LeftError:
                return
            except OF_ONE_COLLECTION as error:
                self._jobs.fail(job, error)
                return
            except CdcError:
                raise
            except Exception as error:  # noqa: BLE001 - it is about these rows alone
                _log.exception("snapshot_failed")
                self._jobs.fail(job, CollectionError(f"unexpected {error!r}"))
                return
            finally:
                self._release_all()
        if is_done and self._jobs.take(job):
            seconds = round(time.monotonic() - begun, 3)
            self._context.notify_task(
                SnapshotTaken(
                    self._context.run_number, entry.collection_id, job.rows, seconds
                )
            )

    def _bring_all(self, job: SnapshotJob) -> bool:
        """Bring what is not done yet; tell whether the source still has it."""
        listings = 0
        while stored := self._find(job):
            done = len(job.done)
            try:
                self._bring_listed(job, stored)
            except FileGoneError as gone:
                # The source has merged files: they are in others now.
                listings = 0 if len(job.done) > done else listings + 1
                if listings > MAX_LISTINGS:
                    raise
                _log.info("files_listed_anew", detail=str(gone))
                job.again = True
            else:
                return True
        return False

    def _check(self, job: SnapshotJob) -> None:
        """Raise an error if no more of a collection is to be brought for now."""
        self._context.check_running()
        if job.is_over:
            raise LeftError

    def _find(self, job: SnapshotJob) -> Stored | None:
        """Return a collection with its files, None if the source has dropped it."""
        self._check(job)
        is_empty = resyncs.is_from_beginning(job.entry) or self._is_seeded(job)
        find = self._files.without if is_empty else self._files.find
        with closing(self._files.open_catalog()) as catalog:
            stored = find(catalog, job.entry.collection_id)
            lacking = catalog.version() < ALL_WRITTEN_SINCE
            return stored and replace(stored, may_lack_deletes=lacking)

    def _bring_listed(self, job: SnapshotJob, stored: Stored) -> None:
        writer = self._open(job, stored)
        memory = self._context.budget.hold(0)
        try:
            complete = self._with_all_deletes(job, stored, memory)
            self._bring_segments(job, complete, writer)
            self._delete_surplus(job, complete, writer)
        finally:
            memory.release()
            writer.abandon()

    def _bring_segments(
        self, job: SnapshotJob, stored: Stored, writer: RowWriter
    ) -> None:
        """Bring what is not done yet, and know what is done."""
        segments = [s for s in stored.listing.segments if s.id not in job.done]
        listed = stored.listing.segments
        job.total = sum(each.rows for each in listed)
        job.total_size = sum(each.size for each in listed)
        job.size = sum(each.size for each in listed if each.id in job.done)
        sent = SegmentsSent(
            writer,
            partial(self._write, job, writer),
            partial(self._note_done, job),
        )
        # Small ones are the next to be merged.
        segments.sort(key=lambda each: each.size)
        ahead = stored.reader.ahead(
            segments,
            self._context.budget,
            partial(self._check, job),
            whole=not self._since(job),
        )
        try:
            with ahead as reader:
                for segment in segments:
                    self._bring_segment(job, reader, segment, sent)
        except FileGoneError:
            sent.finish()
            raise
        sent.finish()

    def _with_all_deletes(
        self, job: SnapshotJob, stored: Stored, memory: MemoryHold
    ) -> Stored:
        """Have a collection's rows read as deletes leave them that no file has yet."""
        if not stored.may_lack_deletes:
            return stored
        logged = unwritten_deletes(
            stored,
            job.entry.stood,
            self._since(job),
            self._files.open_log,
            partial(self._check, job),
            memory,
            int(self._context.budget.limit * MEMORY_SHARE),
        )
        return replace(stored, reader=stored.reader.knowing(logged))

    def _since(self, job: SnapshotJob) -> int:
        return resyncs.rows_since(job.entry, job.done)

    def _bring_segment(
        self, job: SnapshotJob, reader: RowReader, segment: Segment, sent: SegmentsSent
    ) -> None:
        """Send the rows of a segment."""
        entry = job.entry
        [channel] = channels_of([segment.shard])
        left = segment.size
        until, since = entry.stood[channel].tick, self._since(job)
        for insert in reader.inserts(segment, until, since):
            self._check(job)
            sent.add(insert)
            job.rows += insert.rows
            part = min(segment.size * insert.rows // max(segment.rows, 1), left)
            left -= self._count(job, part)
        self._count(job, left)
        sent.end(segment.id)

    def _count(self, job: SnapshotJob, size: int) -> int:
        """Count bytes of files that are done; return them."""
        job.size += size
        self._jobs.pace.note(size)
        return size

    def _note_done(self, job: SnapshotJob, segments: Sequence[int]) -> None:
        run_number, collection_id = self._context.run_number, job.entry.collection_id
        done = RecordSegmentsDone(run_number, collection_id, tuple(segments))
        self._context.record(done)
        job.done.update(segments)

    def _delete_surplus(
        self, job: SnapshotJob, stored: Stored, writer: RowWriter
    ) -> None:
        """Delete what was there before and is not in the files."""
        if resyncs.has_rows_from_before(job.entry, job.done):
            name, check = self._name_of(job), partial(self._check, job)
            memory = self._context.budget
            surplus = Surplus(self._target, name, job.entry, writer, memory, check)
            surplus.delete(stored)

    def _is_seeded(self, job: SnapshotJob) -> bool:
        return seeds.is_seeded(job.entry, self._spec.task)

    def _name_of(self, job: SnapshotJob) -> FullName:
        return self._spec.task.written_name(job.entry)

    def _open(self, job: SnapshotJob, stored: Stored) -> RowWriter:
        """Have the target create the collection; return who writes its rows."""
        entry, context = job.entry, self._context
        name = self._name_of(job)
        claim = Claim(
            context.claimant, self._target, context.source_marks, context.source_time
        )
        if former := self._spec.former_of(entry):
            losses.refuse_former(self._target, name, former, entry)
        claim.drop_leftover(entry, name)
        is_old = resyncs.has_rows_from_before(entry, job.done)
        if is_old and entry.resync and entry.resync.drop:
            claim.drop(entry, name, entry.resync.target_id)
        definition = definition_of(stored.meta, name)
        if self._is_seeded(job):
            seeds.refuse_absent(self._target, name, entry)
        if collections.create_collection(
            self._target,
            marked_definition(definition, name, claim.mark(entry), entry.skipped),
            partial(self._begin_anew, job),
        ):
            job.again = True
        claim.check(entry, name)
        if resyncs.has_rows_from_before(entry, job.done):
            refuse_unread(self._target, name)
        return RowWriter(self._target, *name, entry.schema, entry.skipped)

    def _begin_anew(self, job: SnapshotJob) -> None:
        """Know that the target has nothing of a collection, whatever it had before."""
        job.done.clear()
        run_number = self._context.run_number
        self._context.record(
            RecordSegmentsForgotten(run_number, job.entry.collection_id)
        )
        if job.entry.resync is not None:
            self._note_done(job, [resyncs.MADE_ANEW])

    def _release_all(self) -> None:
        """Hold nothing of what was sent, and may never be answered."""
        for memory in self._held:
            memory.release()
        self._held.clear()

    def _write(
        self, job: SnapshotJob, writer: RowWriter, inserts: Sequence[Insert]
    ) -> None:
        """Send rows, once the memory of the service has room for them."""
        check, size = partial(self._check, job), sum(each.size for each in inserts)
        check()
        while not self._context.budget.has_room(timeout=_LOOK_SECONDS):
            check()
            writer.drain()
        self._throttle.take(size, check)
        memory = self._context.budget.hold(total_cost(inserts))
        self._held.add(memory)

        def confirmed() -> None:
            self._held.discard(memory)
            memory.release()
            rows = AppliedRows.of(inserts)
            self._context.release((), rows, job.entry.collection_id)

        writer.write(fold(inserts, writer.keys_of, may_exist=job.again), confirmed)
