"""Collections whose beginning the log no longer holds: brought from the source's files.

Milvus writes down for each shard up to when its messages are in files, and where the log
goes on from there. Up to that moment the rows come from the files; then the log is read on
from there, as for a collection that is taken up again. Each row comes exactly once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cdc_actors.changes import Checkpoint
from cdc_actors.pipeline.definitions import entry_of
from cdc_actors.pipeline.messages import RecordSnapshotStarted
from cdc_actors.pipeline.snapshot_starts import SnapshotStarts
from cdc_actors.pipeline.snapshot_worker import SnapshotJob, SnapshotWorker
from cdc_actors.tasks import CollectionState

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.errors import RowsLostError
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.messages import SnapshotProgress
    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.pipeline.sources import Sources
    from cdc_actors.source.catalog.client import CollectionMeta
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
        self._starts = SnapshotStarts(
            sources.wal, sources.files.open_log, sources.catalog
        )
        self._worker = SnapshotWorker(context, spec, sources)
        self._done = spec.segments_done

    @property
    def available(self) -> bool:
        """Whether there are files that may be read."""
        return self._files.available and self._spec.task.snapshot != "never"

    @property
    def preferred(self) -> bool:
        """Whether files are read even where the log could bring everything."""
        return self.available and self._spec.task.snapshot == "always"

    def plan(self, meta: CollectionMeta, lost: RowsLostError) -> CollectionEntry:
        """Return the entry of a collection that is to be brought from files.

        ``lost`` is why the log cannot bring it, which stays so without files.

        Raises:
            CollectionError: They cannot bring it either.
            TransientError: Catalog, storage or log do not answer.
        """
        if not self.available:
            raise lost
        stored = self._files.find(self._catalog, meta.id)
        if stored is None:
            raise lost
        stood = self._starts.find(stored)
        until = min(each.tick for each in stood.values())
        requests = self._wal.newest(self._spec.source.replicate_chan)
        if requests is not None:
            # What clients asked before is in the catalog, which is read afterwards.
            stood[requests.channel] = Checkpoint(requests, False, until)
        entry = replace(
            entry_of(stored.meta),
            state=CollectionState.SNAPSHOT,
            stood=stood,
            snapshot=until,
        )
        segments = stored.listing.segments
        rows, size = sum(s.rows for s in segments), sum(s.size for s in segments)
        run_number = self._context.run_number
        self._context.record(RecordSnapshotStarted(run_number, entry, rows, size))
        return entry

    def bring(self, entry: CollectionEntry, *, again: bool) -> None:
        """Have a collection brought; ``again`` if an earlier run may have begun it."""
        done = self._done.get(entry.collection_id, ()) if again else ()
        self._worker.add(SnapshotJob(entry, again, set(done)))

    def forget(self, collection_id: int) -> None:
        """Bring no more of a collection: it is dropped, or is called otherwise now."""
        self._worker.cancel(collection_id)

    def set_aside_failed(self, is_renamed: Callable[[int], bool]) -> set[int]:
        """Set aside what cannot be brought, with the reason; return the ids.

        Of one that is being renamed, by ``is_renamed(id)``, rows may just have met its
        old name: it is brought again by the new one.
        """
        failed = self._worker.take_failed(is_renamed)
        for entry, error in failed:
            self._context.record_set_aside(entry, error, entry.stood)
        return {entry.collection_id for entry, _ in failed}

    def shown(self) -> dict[int, SnapshotProgress]:
        """Return how far each of them has come, by id."""
        return self._worker.shown()

    def join(self, seconds: float) -> None:
        """Wait for the thread to end, so long at most; for a run that is stopping."""
        self._worker.join(seconds)
