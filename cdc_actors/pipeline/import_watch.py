"""When the source's files have the rows of bulk imports that collections lack.

They have them once Milvus has written down that files hold everything up to a moment after
the import was complete, and the target has all that the log says up to such a moment. Then
those rows are brought as of that moment, by their keys, and the log is read again from
there: whatever changed or deleted them afterwards comes once more.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cdc_actors.changes import to_hybrid_ts
from cdc_actors.pipeline.collection_table import Status
from cdc_actors.pipeline.messages import ImportsWritten
from cdc_actors.pipeline.snapshot_worker import OF_ONE_COLLECTION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_actors.pipeline.collection_table import Collection, CollectionTable
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.pipeline.snapshot_starts import SnapshotStarts
    from cdc_actors.pipeline.sources import Sources
    from cdc_actors.source.catalog.client import CollectionMeta

LOOK_SECONDS = 2.0
"""How often it is looked."""

UNREADABLE_SECONDS = 60.0
"""How long files are let alone that could not be read."""

GATHERED = to_hybrid_ts(600)
"""How long an import waits for others that are complete, but not in files yet."""

NO_FILES = (
    "`resync` brings them once sourceConfig.storage says where the source's files are"
)
NEVER = "the task takes none from files: it was created with snapshot: never"
NOT_WRITTEN = "they come as soon as the source has written down what came before"
UNDER_WAY = "they come as soon as the import under way is complete"


class ImportWatch:
    """Has rows of bulk imports brought that live collections lack. The reader's thread."""

    def __init__(
        self,
        context: RunContext,
        spec: RunSpec,
        sources: Sources,
        collections: CollectionTable,
        starts: SnapshotStarts,
    ) -> None:
        self._context = context
        self._never = spec.task.snapshot == "never"
        self._files = sources.files
        self._catalog = sources.catalog
        self._starts = starts
        self._collections = collections
        self._due = 0.0
        self._waits: dict[int, str] = {}

    def advance(self) -> None:
        """Tell the task which imports can be brought, if it is time to look.

        Raises:
            CdcError: The catalog does not answer, or refuses.
        """
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + LOOK_SECONDS
        waits = {each.entry.collection_id: self._wait(each) for each in self._lacking()}
        self._waits = {number: why for number, why in waits.items() if why}
        if written := frozenset(waits.keys() - self._waits.keys()):
            run_number = self._context.run_number
            self._context.notify_task(ImportsWritten(run_number, written))

    @property
    def looks(self) -> bool:
        """Whether there are any that may be in files by now."""
        return self._files.available and not self._never and bool(self._lacking())

    def waits(self) -> Mapping[int, str]:
        """Return why rows of imports into some collections (ids) are not brought yet."""
        return self._waits

    def _lacking(self) -> list[Collection]:
        return [
            each
            for each in self._collections
            if each.status is Status.LIVE and each.entry.missing_imports
        ]

    def _wait(self, collection: Collection) -> str:
        if not self._files.available:
            return NO_FILES
        if self._never:
            return NEVER
        meta = self._catalog.collection(collection.entry.collection_id)
        if meta is None or not self._is_written(collection, meta):
            return NOT_WRITTEN
        try:
            return self._look(meta)
        except OF_ONE_COLLECTION as error:
            self._due = time.monotonic() + UNREADABLE_SECONDS
            return f"the source's files cannot bring them: {error}"

    def _is_written(self, collection: Collection, meta: CollectionMeta) -> bool:
        """Tell whether the target, and files, have come to where the imports were seen."""
        applied = self._context.checkpoints()
        ticks = [applied[c].tick if c in applied else 0 for c in collection.channels]
        until = min(self._files.written_until(self._catalog, meta), *ticks)
        entry = collection.entry
        seen = [entry.imports[each].seen for each in entry.missing_imports]
        return until >= min(max(seen), min(seen) + GATHERED)

    def _look(self, meta: CollectionMeta) -> str:
        """See that files can be read and the log goes on, before anything is begun."""
        stored = self._files.find(self._catalog, meta.id)
        if stored is None:
            return NOT_WRITTEN
        if stored.listing.is_importing:
            return UNDER_WAY
        self._starts.find(stored, of_imports=True)
        segments = stored.listing.segments
        if segments:
            smallest = min(segments, key=lambda each: each.size)
            next(stored.reader.keys(smallest, 0), None)
        return ""
