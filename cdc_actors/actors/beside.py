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
from cdc_actors.tasks import Operation

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
    """``owner`` is the id of the collection, or the name of the database."""

    work: Repeat | CreatePartition
    timestamp: int
    owner: int | str


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
        self._databases = frozenset(snapshot.databases.values())
        self._parked: list[_Parked] = []
        self._partitions: set[int] = set()

    def add(self, request: Request, mark: Mark, *, behind: bool) -> None:
        """Park a request; ``mark`` is held for as long as the request waits."""
        if request.kind in _OF_DATABASES:
            if self._concerns_database(request, behind=behind):
                self._park(request, request.database, mark)
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
        held: set[int | str] = set()
        for parked in waiting:
            if parked.owner in held or not self._give(parked):
                held.add(parked.owner)
                self._parked.append(parked)

    def _park(self, request: Request, owner: int | str, mark: Mark) -> None:
        work = Repeat(request, (self._stream.hold(mark),))
        self._parked.append(_Parked(work, request.timestamp, owner))

    def _concerns_database(self, request: Request, *, behind: bool) -> bool:
        """Tell whether a database is to be created or dropped here, too.

        Of what was asked before the catalog was listed only that matters which it bears
        out: a database may have been dropped, or created again, since.
        """
        exists = request.database in self._databases
        outdated = behind and exists != (request.kind == "CreateDatabase")
        return not outdated and self._spec.selects_database(request.database)

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
        if isinstance(parked.owner, str):
            return self._give_to_database(parked.work)
        if self._router.is_gone(parked.owner):
            self._stream.release(parked.work.marks)
            return True
        collection = self._router.get(parked.owner)
        if collection is None or not self._is_due(collection, parked.timestamp):
            return False
        self._router.give(collection, parked.work)
        return True

    def _is_due(self, collection: Collection, timestamp: int) -> bool:
        return all(
            self._channels.tick(channel) >= timestamp for channel in collection.channels
        )

    def _give_to_database(self, work: Any) -> bool:
        """A database is dropped once its collections are, unless it is in use again."""
        request: Request = work.request
        if request.kind == "DropDatabase":
            created = self._router.creations(request.database)
            if any(timestamp > request.timestamp for timestamp in created):
                self._stream.release(work.marks)
                return True
            if created:
                return False
        refused = self._ask_of_database(request)
        operation = Operation(
            kind=request.kind,
            timestamp=request.timestamp,
            database=request.database,
            name="",
            detail={"refused": refused} if refused else {},
        )
        self._stream.record(RecordOperation(operation))
        self._stream.release(work.marks)
        return True

    def _ask_of_database(self, request: Request) -> str:
        """Create or drop the database at the target; return why not, if so.

        A drop is not even asked for where it could come between the steps of creating
        the first collection that another database has there.
        """
        there = self._spec.target_database(request.database)
        if request.kind == "DropDatabase" and self._router.is_shared(request.database):
            return f"{there} at the target holds collections of other databases, too"
        try:
            requests.repeat(self._target, request, there)
        except OperatorError as refusal:
            return str(refusal)
        return ""
