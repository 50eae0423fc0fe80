"""Operations from beside the log, held until the rows before them are on their way.

The replicate channel carries clients' requests in order but no ticks; new partitions are
in the catalog only, with the time of their creation. An operation of time T is given to
its collection once every channel of the collection is released up to T, so that it stands
behind all rows that are older.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cdc_actors.actors.work import CreatePartition, RecordOperation, Repeat
from cdc_actors.errors import OperatorError
from cdc_actors.target import requests
from cdc_actors.tasks import ANY, Operation

if TYPE_CHECKING:
    from cdc_actors.actors.channels import Channels
    from cdc_actors.actors.router import Collection, Router
    from cdc_actors.actors.stream import Stream
    from cdc_actors.changes import Request
    from cdc_actors.replication.progress import Mark
    from cdc_actors.source.catalog import Catalog, CatalogSnapshot, CollectionMeta
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import TaskSpec

_OF_DATABASES = frozenset({"CreateDatabase", "DropDatabase"})


@dataclass(frozen=True, slots=True)
class _Parked:
    work: Repeat | CreatePartition
    timestamp: int
    collection_id: int | None


class BesideTheLog:
    """The operations of one stream that wait for their time. The reader's thread."""

    def __init__(
        self,
        stream: Stream,
        router: Router,
        channels: Channels,
        catalog: Catalog,
        snapshot: CatalogSnapshot,
        target: Connection,
        spec: TaskSpec,
    ) -> None:
        self._stream = stream
        self._router = router
        self._channels = channels
        self._catalog = catalog
        self._target = target
        self._spec = spec
        self._by_name = {
            (c.database, c.name): c
            for c in snapshot.collections.values()
            if c.available
        }
        self._parked: list[_Parked] = []
        self._partitions: set[int] = set()

    def add(self, request: Request, mark: Mark, *, behind: bool) -> None:
        """Park a request; ``mark`` is held for as long as the request waits."""
        if request.kind in _OF_DATABASES:
            if _selects_database(self._spec, request.database):
                self._park(request, None, mark)
            return
        for name in request.collections:
            found = self._resolve(request, name, behind=behind)
            if found is not None:
                self._park(request, found, mark)

    def add_partitions(self, meta: CollectionMeta) -> None:
        """Park the creation of each partition that was not there before."""
        for partition_id, partition in meta.partitions.items():
            if partition_id not in self._partitions:
                self._partitions.add(partition_id)
                work = CreatePartition(partition.name, partition.created)
                self._parked.append(_Parked(work, partition.created, meta.id))

    def advance(self) -> None:
        """Give out every request whose time has come, in order for each collection."""
        waiting, self._parked = self._parked, []
        held: set[int | None] = set()
        for parked in waiting:
            if parked.collection_id in held or not self._give(parked):
                held.add(parked.collection_id)
                self._parked.append(parked)

    def _park(self, request: Request, collection_id: int | None, mark: Mark) -> None:
        work = Repeat(request, (self._stream.hold(mark),))
        self._parked.append(_Parked(work, request.timestamp, collection_id))

    def _resolve(self, request: Request, name: str, *, behind: bool) -> int | None:
        """Return the id of the collection that had the name when this was asked.

        The catalog goes first (as it was listed, for what was asked before): a dropped
        collection may still be known here while its successor is not yet. None if it is
        not selected or was dropped since: then there is nothing to do.
        """
        if not self._spec.selects(request.database, name):
            return None
        meta = (
            self._by_name.get((request.database, name))
            if behind
            else self._catalog.find(request.database, name)
        )
        if meta is not None and meta.created <= request.timestamp:
            return int(meta.id)
        known = self._router.named(request.database, name, request.timestamp)
        return known.entry.collection_id if known else None

    def _give(self, parked: _Parked) -> bool:
        """Hand an operation on if its time has come; tell whether it is settled."""
        if parked.collection_id is None:
            return self._give_to_database(parked.work)
        if self._router.is_gone(parked.collection_id):
            self._stream.release(parked.work.marks)
            return True
        collection = self._router.get(parked.collection_id)
        if collection is None or not self._is_due(collection, parked.timestamp):
            return False
        self._router.give(collection, parked.work)
        return True

    def _is_due(self, collection: Collection, timestamp: int) -> bool:
        return all(
            self._channels.tick(channel) >= timestamp for channel in collection.channels
        )

    def _give_to_database(self, work: Any) -> bool:
        """A database is dropped once its collections are; they have to be, before."""
        request: Request = work.request
        if request.kind == "DropDatabase" and self._router.has_database(
            request.database
        ):
            return False
        detail: dict[str, str] = {}
        try:
            requests.repeat(self._target, request, "")
        except OperatorError as refusal:
            detail = {"refused": str(refusal)}
        operation = Operation(
            kind=request.kind,
            timestamp=request.timestamp,
            database=request.database,
            name="",
            detail=detail,
        )
        self._stream.record(RecordOperation(operation))
        self._stream.release(work.marks)
        return True


def _selects_database(spec: TaskSpec, database: str) -> bool:
    """Tell whether every collection of a database is selected, so that it is, too."""
    return ANY in spec.db_collections.get(database, spec.db_collections.get(ANY, ()))
