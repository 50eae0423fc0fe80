"""The thread that sends the rows of the source's files, one collection after another.

What was begun by an earlier run, or listed anew, is done so that twice is the same as
once: files are merged by the source at any time, and a row may come to be in another.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import structlog

from cdc_actors.errors import CdcError, CollectionError, UnclearAnswerError
from cdc_actors.pipeline import losses, resyncs
from cdc_actors.pipeline.claims import Claim
from cdc_actors.pipeline.definitions import (
    channels_of,
    definition_of,
    marked_definition,
)
from cdc_actors.pipeline.messages import (
    RecordSegmentDone,
    RecordSegmentsForgotten,
    SnapshotProgress,
    SnapshotTaken,
)
from cdc_actors.pipeline.snapshot_pace import Pace, throttle
from cdc_actors.pipeline.surplus import Surplus, refuse_unread
from cdc_actors.pipeline.work import AppliedRows
from cdc_actors.replication.fold import fold
from cdc_actors.source.storage.files import FileGoneError, StorageError
from cdc_actors.target import collections
from cdc_actors.target.rows import RowWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cdc_actors.changes import FullName, Insert
    from cdc_actors.memory_budget import MemoryHold
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.pipeline.source_files import Stored
    from cdc_actors.pipeline.sources import Sources
    from cdc_actors.source.storage.listing import Segment
    from cdc_actors.tasks import CollectionEntry

MAX_LISTINGS = 10
"""How often the files of one collection are listed anew, while none of them is done."""

OF_ONE_COLLECTION = CollectionError, UnclearAnswerError, StorageError
"""What goes wrong about the files of one collection, and leaves the others be."""

_log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class SnapshotJob:
    """One collection to be brought. ``again`` tells that the target may have parts."""

    entry: CollectionEntry
    again: bool
    done: set[int] = field(default_factory=set)
    kept_until: float | None = None
    rows: int = 0
    total: int = 0
    size: int = 0
    total_size: int = 0
    is_over: bool = False


def progress(
    jobs: Iterable[SnapshotJob], pace: Pace
) -> Iterator[tuple[SnapshotJob, SnapshotProgress]]:
    """Yield how far each of some collections is that come one after the other.

    How long one takes is known once the files of all before it are listed.
    """
    left: int | None = 0
    for job in jobs:
        rest = job.total_size - job.size if job.total_size else None
        left = None if left is None or rest is None else left + rest
        yield (
            job,
            SnapshotProgress(
                rows=job.rows,
                total=job.total,
                size=job.size,
                total_size=job.total_size,
                seconds_left=None if left is None else pace.seconds_for(left),
                kept_until=job.kept_until,
            ),
        )


class SnapshotWorker:
    """Brings collections. Any thread may use it; the work has a thread of its own."""

    def __init__(self, context: RunContext, spec: RunSpec, sources: Sources) -> None:
        self._context = context
        self._spec = spec
        self._files = sources.files
        self._target = sources.target
        self._jobs: deque[SnapshotJob] = deque()
        self._failed: list[tuple[SnapshotJob, CdcError]] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._held: set[MemoryHold] = set()
        self._taken: set[int] = set()
        self._pace = Pace()
        self._throttle = throttle(spec.source.storage.max_snapshot_bytes_per_second)

    def add(self, job: SnapshotJob) -> None:
        """Bring a collection after those that wait."""
        with self._lock:
            self._jobs.append(job)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._serve, name="snapshot", daemon=True
                )
                self._thread.start()

    def cancel(self, collection_id: int) -> bool:
        """Bring no more of a collection; tell whether not all of it is there yet."""
        with self._lock:
            for job in (*self._jobs, *(job for job, _ in self._failed)):
                if job.entry.collection_id == collection_id:
                    job.is_over = True
            return collection_id not in self._taken

    def take_failed(
        self, waits: Callable[[int], bool]
    ) -> list[tuple[CollectionEntry, CdcError]]:
        """Return, once, what cannot go on and why; not yet what ``waits(its id)``."""
        with self._lock:
            found = [each for each in self._failed if not each[0].is_over]
            self._failed = [e for e in found if waits(e[0].entry.collection_id)]
            return [(e[0].entry, e[1]) for e in found if e not in self._failed]

    def shown(self) -> dict[int, SnapshotProgress]:
        """Return how far each collection has come, by id."""
        with self._lock:
            jobs = [job for job in self._jobs if not job.is_over]
        return {
            job.entry.collection_id: each for job, each in progress(jobs, self._pace)
        }

    def join(self, seconds: float) -> None:
        """Wait for the thread to end, so long at most."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _serve(self) -> None:
        while (job := self._next()) is not None:
            self._pace.work()
            if not self._context.guard(partial(self._bring, job)):
                return
            self._pace.rest()
            with self._lock:
                self._jobs.popleft()

    def _next(self) -> SnapshotJob | None:
        with self._lock:
            if self._context.stopping or not self._jobs:
                self._thread = None
                return None
            return self._jobs[0]

    def _bring(self, job: SnapshotJob) -> None:
        """Bring one collection, or say why it cannot be."""
        entry, begun = job.entry, time.monotonic()
        with structlog.contextvars.bound_contextvars(
            collection=f"{entry.database}.{entry.name}",
            collection_id=entry.collection_id,
        ):
            try:
                is_done = self._bring_all(job)
            except OF_ONE_COLLECTION as error:
                self._fail(job, error)
                return
            except CdcError:
                raise
            except Exception as error:  # noqa: BLE001 - it is about these rows alone
                _log.exception("snapshot_failed")
                self._fail(job, CollectionError(f"unexpected {error!r}"))
                return
            finally:
                self._release_all()
        if is_done and self._take(job):
            seconds = round(time.monotonic() - begun, 3)
            self._context.notify_task(
                SnapshotTaken(
                    self._context.run_number, entry.collection_id, job.rows, seconds
                )
            )

    def _take(self, job: SnapshotJob) -> bool:
        """Know that all is there, unless it is to be sent again: under another name."""
        with self._lock:
            if job.is_over:
                return False
            self._taken.add(job.entry.collection_id)
            return True

    def _fail(self, job: SnapshotJob, error: CdcError) -> None:
        """Bring no more of a collection for now: the others of the task go on."""
        with self._lock:
            self._failed.append((job, error))

    def _bring_all(self, job: SnapshotJob) -> bool:
        """Bring what is not done yet; tell whether all of it is there now."""
        listings = 0
        while self._goes_on(job):
            stored = self._find(job)
            if stored is None:
                return False
            done = len(job.done)
            try:
                return self._bring_listed(job, stored)
            except FileGoneError as gone:
                # The source has merged files: they are in others now.
                listings = 0 if len(job.done) > done else listings + 1
                if listings > MAX_LISTINGS:
                    raise
                _log.info("files_listed_anew", detail=str(gone))
                job.again = True
        return False

    def _goes_on(self, job: SnapshotJob) -> bool:
        return not (job.is_over or self._context.stopping)

    def _find(self, job: SnapshotJob) -> Stored | None:
        """Return a collection with its files, None if the source has dropped it."""
        is_empty = resyncs.is_from_beginning(job.entry)
        find = self._files.without if is_empty else self._files.find
        with closing(self._files.open_catalog()) as catalog:
            return find(catalog, job.entry.collection_id)

    def _bring_listed(self, job: SnapshotJob, stored: Stored) -> bool:
        writer = self._open(job, stored)
        segments = [s for s in stored.listing.segments if s.id not in job.done]
        listed = stored.listing.segments
        job.total = sum(each.rows for each in listed)
        job.total_size = sum(each.size for each in listed)
        job.size = sum(each.size for each in listed if each.id in job.done)
        try:
            # Small ones are the next to be merged.
            for segment in sorted(segments, key=lambda each: each.size):
                if not self._bring_segment(job, stored, segment, writer):
                    return False
            return self._delete_surplus(job, stored, writer)
        finally:
            writer.abandon()

    def _bring_segment(
        self, job: SnapshotJob, stored: Stored, segment: Segment, writer: RowWriter
    ) -> bool:
        """Bring the rows of a segment; tell whether they are there, and it is known."""
        entry = job.entry
        [channel] = channels_of([segment.shard])
        left = segment.size
        for insert in stored.reader.inserts(segment, entry.stood[channel].tick):
            if not self._goes_on(job):
                return False
            self._write(writer, insert, again=job.again)
            job.rows += insert.rows
            part = min(segment.size * insert.rows // max(segment.rows, 1), left)
            left -= self._count(job, part)
        writer.drain()
        self._count(job, left)
        self._note_done(job, segment.id)
        return True

    def _count(self, job: SnapshotJob, size: int) -> int:
        """Count bytes of files that are done; return them."""
        job.size += size
        self._pace.note(size)
        return size

    def _note_done(self, job: SnapshotJob, segment_id: int) -> None:
        run_number, collection_id = self._context.run_number, job.entry.collection_id
        self._context.record(RecordSegmentDone(run_number, collection_id, segment_id))
        job.done.add(segment_id)

    def _delete_surplus(
        self, job: SnapshotJob, stored: Stored, writer: RowWriter
    ) -> bool:
        """Delete what was there before and is not in the files; tell if that is done."""
        if not resyncs.has_rows_from_before(job.entry, job.done):
            return True
        name, goes_on = self._name_of(job), partial(self._goes_on, job)
        Surplus(self._target, name, job.entry, writer, goes_on).delete(stored)
        return goes_on()

    def _name_of(self, job: SnapshotJob) -> FullName:
        return self._spec.task.target_name(job.entry.database, job.entry.name)

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
        if collections.create_collection(
            self._target,
            marked_definition(definition, name, claim.mark(entry)),
            partial(self._begin_anew, job),
        ):
            job.again = True
        claim.check(entry, name)
        if resyncs.has_rows_from_before(entry, job.done):
            refuse_unread(self._target, name)
        return RowWriter(self._target, *name, entry.schema)

    def _begin_anew(self, job: SnapshotJob) -> None:
        """Know that the target has nothing of a collection, whatever it had before."""
        job.done.clear()
        run_number = self._context.run_number
        self._context.record(
            RecordSegmentsForgotten(run_number, job.entry.collection_id)
        )
        if job.entry.resync is not None:
            self._note_done(job, resyncs.MADE_ANEW)

    def _release_all(self) -> None:
        """Hold nothing of what was sent, and may never be answered."""
        for memory in self._held:
            memory.release()
        self._held.clear()

    def _write(self, writer: RowWriter, insert: Insert, *, again: bool) -> None:
        """Send a piece, once the memory of the service has room for it."""
        while not self._context.budget.has_room(timeout=0.25):
            self._context.check_running()
        self._throttle.take(insert.size, self._context.check_running)
        memory = self._context.budget.hold(insert.size)
        self._held.add(memory)

        def confirmed() -> None:
            self._held.discard(memory)
            memory.release()
            self._context.release((), AppliedRows.of([insert]))

        writer.write(fold([insert], writer.keys_of, may_exist=again), confirmed)
