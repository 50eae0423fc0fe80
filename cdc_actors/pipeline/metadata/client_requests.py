"""What the source's clients asked, from the replicate channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.pipeline.work import Repeat

if TYPE_CHECKING:
    from cdc_actors.changes import Request
    from cdc_actors.pipeline.context import Stream
    from cdc_actors.pipeline.metadata.indexes_and_loads import Serving
    from cdc_actors.pipeline.metadata.name_history import Directory
    from cdc_actors.pipeline.router import Router
    from cdc_actors.replication.progress import Mark
    from cdc_actors.source.catalog.client import Catalog
    from cdc_actors.tasks import TaskSpec


class BesideTheLog:
    """Finds out which collections a request is about. The reader's thread."""

    def __init__(
        self,
        stream: Stream,
        router: Router,
        serving: Serving,
        catalog: Catalog,
        directory: Directory,
        spec: TaskSpec,
    ) -> None:
        self._stream = stream
        self._router = router
        self._catalog = catalog
        self._directory = directory
        self._serving = serving
        self._spec = spec

    def add(self, request: Request, mark: Mark, *, behind: bool) -> None:
        """Park a request; ``mark`` is held for as long as the request waits."""
        for name in request.collections:
            found = self._resolve(request, name, behind=behind)
            if found is not None:
                work = Repeat(request, (self._stream.hold(mark),))
                self._serving.park(work, found)

    def _resolve(self, request: Request, name: str, *, behind: bool) -> int | None:
        """Return the id of the collection that had the name when this was asked.

        The catalog as it was listed knows what was asked before; else it is looked at
        again: a dropped collection may still be known while its successor is not yet.
        None if it is not selected or was dropped since: then there is nothing to do.
        """
        if not behind:
            meta = self._catalog.find(request.database, name)
            if meta is not None and self._spec.selects(meta.database, meta.name):
                self._directory.see(meta)
        return self._directory.holder(request.database, name, request.timestamp)
