"""Collections that the log does not bring, or at a higher price: from the source's files.

Milvus writes down for each shard up to when its messages are in files, and where the log
goes on from there. Up to that moment the rows come from the files; then the log is read on
from there, as for a collection that is taken up again. Each row comes exactly once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cdc_actors.changes import Checkpoint, physical_seconds
from cdc_actors.errors import CollectionError, RowsLostError
from cdc_actors.pipeline import resyncs, seeds
from cdc_actors.pipeline.definitions import entry_of
from cdc_actors.pipeline.messages import (
    RecordOperationApplied,
    RecordOperationStarted,
    RecordSegmentsForgotten,
    RecordSnapshotStarted,
)
from cdc_actors.pipeline.shadows import Shadow
from cdc_actors.pipeline.skipping import skipped_for
from cdc_actors.pipeline.snapshot_jobs import SnapshotJob
from cdc_actors.pipeline.snapshot_starts import SnapshotStarts
from cdc_actors.pipeline.snapshot_worker import SnapshotWorker
from cdc_actors.tasks import CollectionState, Operation

if TYPE_CHECKING:
    from collections.abc import Sequence, Sized

    from cdc_actors.errors import CdcError
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.messages import SnapshotProgress
    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.pipeline.source_files import Stored
    from cdc_actors.pipeline.sources import Sources
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.source.storage.listing import Segment
    from cdc_actors.tasks import CollectionEntry


class Snapshots:
    """The collections of one run that come from files, one after the other.

    Everything is called from the reader's thread; the work has a thread of its own, which
    ends with the run.
    """

    def __init__(self, context: RunContext, spec: RunSpec, sources: Sources) -> None:
        self._context = context
        self._spec = spec
        self._files = sources.files
        self._wal = sources.wal
        self._catalog = sources.catalog
        self.starts = SnapshotStarts(
            sources.wal, sources.files.open_log, sources.catalog
        )
        self._worker = SnapshotWorker(context, spec, sources)
        self._jobs = context.snapshot_jobs
        self._target = sources.target
        self._done = {i: set(done) for i, done in spec.segments_done.items()}
        self._waiting: dict[int, tuple[CollectionEntry, bool, Sized]] = {}

    @property
    def available(self) -> bool:
        """Whether there are files that may be read."""
        return self._files.available and self._spec.task.snapshot != "never"

    @property
    def preferred(self) -> bool:
        """Whether files are read even where the log could bring everything."""
        return self.available and self._spec.task.snapshot == "always"

    def plan(
        self, meta: CollectionMeta, lost: RowsLostError, cheaper: str = ""
    ) -> CollectionEntry:
        """Return the entry of a collection that is to be brought from files.

        ``lost`` is why the log cannot bring it, which stays so without files; ``cheaper``
        why it comes from there although it could.

        Raises:
            CollectionError: They cannot bring it either.
            TransientError: Catalog, storage or log do not answer.
        """
        if not self.available:
            raise RowsLostError(f"{lost}; {self._why_without()}")
        self._refuse_former(meta)
        stored, stood = self._find(meta, lost)
        until = min(each.tick for each in stood.values())
        segments = stored.listing.segments
        return self._start(entry_of(stored.meta), stood, until, segments, cheaper)

    def _refuse_former(self, meta: CollectionMeta) -> None:
        """Raise CollectionError if an update took the collection out before.

        The target still has what the source has deleted since.
        """
        name = self._spec.task.target_name(meta.database, meta.name)
        former = self._spec.former.get(name)
        if former is not None and former.collection_id == meta.id:
            raise CollectionError(
                f"{meta.database}.{meta.name} was taken out of the selection before, and "
                "the log no longer holds what came since: `resync` brings it anew"
            )

    def _why_without(self) -> str:
        """Say why nothing is read from files.

        What the source's API shows does not do instead: each page is of another moment,
        and of rows with one key it shows one (2.3.5).
        """
        if self._spec.task.snapshot == "never":
            return 'nor are they read from files, as the task has "snapshot": "never"'
        return (
            "give sourceConfig.storage, and they come from the source's files (its API "
            "does not show all rows of one key)"
        )

    def plan_anew(
        self, meta: CollectionMeta, known: CollectionEntry
    ) -> CollectionEntry:
        """Return the entry of a ``known`` collection that is to be brought anew.

        Raises:
            CollectionError: Neither files nor the log can bring it.
            TransientError: Catalog, storage, log or target do not answer.
        """
        forgotten = RecordSegmentsForgotten(self._context.run_number, meta.id)
        self._context.record(forgotten)
        entry = resyncs.entry_anew(meta, known, self._spec, self._target)
        to = self._spec, self._target
        entry = resyncs.without_former_shadow(entry, known, *to)
        if not self.available:
            stood = resyncs.from_beginning(meta, self._wal)
            return self._start(entry, stood, meta.created, ())
        asked = entry.resync if resyncs.rows_since(entry, set()) else None
        lost = RowsLostError(f"{meta.name} is dropped")
        stored, stood = self._find(meta, lost, of_imports=asked is not None)
        if asked:
            source = self._wal, self._catalog.version()
            applied = self._spec.checkpoints
            asked, stood = resyncs.until_applied(asked, stood, applied, *source)
            entry = replace(entry, resync=asked)
        until = min(each.tick for each in stood.values())
        return self._start(entry, stood, until, stored.listing.segments)

    def plan_seeded(self, meta: CollectionMeta) -> CollectionEntry:
        """Return the entry of a collection whose rows the target has up to some positions.

        It goes on as one whose files hold no more rows.

        Raises:
            CollectionError: The positions are not those of all its shards, or the log does
                not go on from there.
            TransientError: The log does not answer.
        """
        stood = seeds.starts(meta, self._spec.task, self._wal)
        until = min(each.tick for each in stood.values())
        return self._start(entry_of(meta), stood, until, ())

    def finish_drop(self, entry: CollectionEntry) -> None:
        """Drop what the target has of a collection that the source has dropped.

        Raises:
            CdcError: The target does not answer, or refuses.
        """
        drop = Operation.drop_collection(entry, self._context.source_time())
        self._context.record(RecordOperationStarted(drop))
        mark = self._spec.claimant.mark(entry)
        Shadow(self._target, self._spec.task, entry, mark).drop_all()
        self._context.record(RecordOperationApplied(drop))

    def _find(
        self, meta: CollectionMeta, lost: RowsLostError, *, of_imports: bool = False
    ) -> tuple[Stored, dict[str, Checkpoint]]:
        """Return the files, and where the log goes on; raises ``lost`` without any.

        ``of_imports`` as in ``SnapshotStarts.find``.
        """
        stored = self._files.find(self._catalog, meta.id)
        if stored is None:
            raise lost
        return stored, self.starts.find(stored, of_imports=of_imports)

    def _start(
        self,
        wanted: CollectionEntry,
        stood: dict[str, Checkpoint],
        until: int,
        segments: Sequence[Segment],
        cheaper: str = "",
    ) -> CollectionEntry:
        """Write down that a collection is brought; return its entry."""
        channel = self._spec.source.replicate_chan
        requests = self._wal.newest(channel) if channel else None
        if requests is not None:
            # What clients asked before is in the catalog, which is read afterwards.
            stood[requests.channel] = Checkpoint(requests, False, until)
        entry = replace(
            wanted,
            state=CollectionState.SNAPSHOT,
            stood=stood,
            snapshot=until,
            skipped=skipped_for(self._spec.task, self._target, wanted),
        )
        rows, size = sum(s.rows for s in segments), sum(s.size for s in segments)
        run_number = self._context.run_number
        begun = RecordSnapshotStarted(run_number, entry, rows, size, cheaper)
        self._context.record(begun)
        return entry

    def bring(
        self,
        entry: CollectionEntry,
        *,
        again: bool,
        waits_for: Sized = (),
    ) -> None:
        """Have a collection brought; ``again`` if an earlier run may have begun it.

        Not yet while there is something that it ``waits_for``, its name at the target, nor
        before the run has written down where it begins: see ``bring_waiting``.
        """
        self._waiting[entry.collection_id] = entry, again, waits_for

    def _begin(self, entry: CollectionEntry, *, again: bool) -> None:
        if not again:
            self._done[entry.collection_id] = set()
        done = self._done.setdefault(entry.collection_id, set())
        self._worker.add(SnapshotJob(entry, again, done, self._kept_until(entry)))

    def _kept_until(self, entry: CollectionEntry) -> float | None:
        """Return up to when the log has all that comes after an entry's files."""
        ends = (
            physical_seconds(at.tick) + kept
            for channel, at in entry.stood.items()
            if at.tick and (kept := self._wal.kept_seconds(channel)) is not None
        )
        return min(ends, default=None)

    def bring_waiting(self) -> None:
        """Have those brought whose names have become free."""
        for number, (entry, again, waits_for) in tuple(self._waiting.items()):
            if not waits_for:
                del self._waiting[number]
                self._begin(entry, again=again)

    def go_on(self, entry: CollectionEntry) -> None:
        """Bring the rest of a collection, by the name that it has now at the target."""
        is_from_files = entry.state is CollectionState.SNAPSHOT
        if is_from_files and self.forget(entry.collection_id):
            self.bring(entry, again=True)

    def forget(self, collection_id: int) -> bool:
        """Bring no more of a collection; tell whether not all of it was there yet."""
        self._waiting.pop(collection_id, None)
        return self._jobs.cancel(collection_id)

    def take_failed(self) -> list[tuple[CollectionEntry, CdcError]]:
        """Return, once, what cannot go on and why."""
        return self._jobs.take_failed()

    def shown(self) -> dict[int, SnapshotProgress]:
        """Return how far each of them has come, by id."""
        return self._jobs.shown()

    def join(self, seconds: float) -> None:
        """Wait for the thread to end, so long at most; for a run that is stopping."""
        self._worker.join(seconds)
