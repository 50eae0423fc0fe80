"""What the source's clients asked, from the replicate channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.pipeline.work import ForwardRequest
from cdc_actors.target.requests import FLUSH, index_of

if TYPE_CHECKING:
    from cdc_actors.changes import Request
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.floors import Floors
    from cdc_actors.pipeline.metadata.flushes import Flushes
    from cdc_actors.pipeline.metadata.indexes_and_loads import IndexesAndLoads
    from cdc_actors.pipeline.metadata.name_history import NameHistory
    from cdc_actors.replication.progress import PendingCheckpoint
    from cdc_actors.source.catalog.client import Catalog
    from cdc_actors.tasks import TaskSpec


class ClientRequests:
    """Finds out which collections a request is about. The reader's thread."""

    def __init__(
        self,
        context: RunContext,
        indexes_and_loads: IndexesAndLoads,
        flushes: Flushes,
        catalog: Catalog,
        name_history: NameHistory,
        spec: TaskSpec,
        floors: Floors,
    ) -> None:
        self._context = context
        self._catalog = catalog
        self._name_history = name_history
        self._indexes_and_loads = indexes_and_loads
        self._flushes = flushes
        self._spec = spec
        self._floors = floors

    def add(
        self, request: Request, checkpoint: PendingCheckpoint, *, behind: bool
    ) -> None:
        """Defer a request; it refers to ``checkpoint`` for as long as it waits."""
        at = checkpoint.checkpoint.position
        for name in request.collections:
            found = self._resolve(request, name, behind=behind)
            if found is not None and not self._floors.has_request(found, at):
                self._hold(request, (self._context.acquire(checkpoint),), found)

    def _hold(
        self, request: Request, checkpoints: tuple[PendingCheckpoint, ...], owner: int
    ) -> None:
        if request.kind == FLUSH:
            self._flushes.add(ForwardRequest(request, checkpoints), owner)
            return
        if self._indexes_and_loads.will_show(owner):
            self._context.release(checkpoints)
            return
        field = self._field_of(request, owner)
        self._indexes_and_loads.defer(
            ForwardRequest(request, checkpoints, field), owner
        )

    def _field_of(self, request: Request, owner: int) -> str:
        """Return the field of the index that a request names, "" if unknown or none."""
        index = index_of(request)
        if not index:
            return ""
        return self._catalog.field_of_index(owner, index, request.timestamp)

    def _resolve(self, request: Request, name: str, *, behind: bool) -> int | None:
        """Return the id of the collection that had the name when this was asked.

        The catalog as it was listed knows what was asked before; else it is looked at
        again: a dropped collection may still be known while its successor is not yet.
        None if it is not selected or was dropped since: then there is nothing to do.
        """
        if not behind:
            meta = self._catalog.find(request.database, name)
            if meta is not None and self._spec.selects(meta.database, meta.name):
                self._name_history.record(meta)
        return self._name_history.lookup_at(request.database, name, request.timestamp)
