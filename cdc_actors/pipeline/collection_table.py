"""The collections of the source as one run knows them: one state for each.

    (unknown) --> LIVE, DROPPING, SUSPENDED     replicated: a ``Collection``
    (unknown) --> EXCLUDED, SKIPPED, GONE       ignored
    LIVE ------> SUSPENDED                      the target refuses it
    LIVE ------> EXCLUDED                       the name that it waits for is never free
    SKIPPED ---> EXCLUDED                       it is renamed into the selection
    any -------> GONE --> (unknown)             dropped, and forgotten a while later

Nothing depends on what is forgotten: the catalog, asked again, has no such collection.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING

from cdc_actors.changes import LOGICAL_BITS
from cdc_actors.pipeline.definitions import channels_of
from cdc_actors.pipeline.messages import RecordOperationApplied
from cdc_actors.pipeline.work_queue import WorkQueue
from cdc_actors.replication.barriers import ShardBarriers
from cdc_actors.tasks import IMPORT, CollectionState, Operation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cdc_actors.changes import Checkpoint, FullName
    from cdc_actors.errors import CdcError
    from cdc_actors.pipeline.channels import Channels
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.floors import Floors
    from cdc_actors.pipeline.work import Work
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.tasks import CollectionEntry

FORGET_AFTER = 60_000 << LOGICAL_BITS
"""How long a collection that is gone is remembered, as a hybrid timestamp: one minute of
the log, in which its last messages come, and what the catalog tells of its end."""


class Status(Enum):
    """What the run does about a collection."""

    LIVE = auto()
    """Its changes are applied, once nothing else has its name at the target."""

    DROPPING = auto()
    """An earlier run began its drop: that is all that is done."""

    SUSPENDED = auto()
    """Set aside: only what gives up its name, a rename or its drop, is still done."""

    EXCLUDED = auto()
    """Selected, but it cannot be replicated: shown until the source drops it."""

    SKIPPED = auto()
    """Not selected when its changes were read."""

    GONE = auto()
    """Dropped, or it never came into being."""


@dataclass(slots=True, eq=False)
class Collection:
    """A collection that is replicated, and what waits for it.

    ``waits_for`` are the collections (ids) and the alias whose name at the target it is to
    have; while there are any, ``backlog`` keeps its work. ``keeps_name`` tells that the
    target does not rename or drop it. ``channels`` are the physical channels of its shards.
    """

    entry: CollectionEntry
    barriers: ShardBarriers
    exists: bool
    status: Status = Status.LIVE
    keeps_name: bool = False
    waits_for: set[int | FullName] = field(default_factory=set)
    backlog: list[Work] = field(default_factory=list)
    queue: WorkQueue = field(default_factory=WorkQueue)
    channels: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.channels = channels_of(self.entry.shards)


@dataclass(frozen=True, slots=True)
class _Ignored:
    status: Status
    entry: CollectionEntry | None = None


class CollectionTable:
    """Every collection with its state, and every change of one. The reader's thread.

    ``floors`` says how far earlier runs brought each.
    """

    def __init__(self, context: RunContext, channels: Channels, floors: Floors) -> None:
        self._context = context
        self._channels = channels
        self.floors = floors
        self._rows: dict[int, Collection | _Ignored] = {}
        self._gone: deque[tuple[int, int]] = deque()

    def __iter__(self) -> Iterator[Collection]:
        """Go through the collections that are replicated, as they are now."""
        rows = tuple(self._rows.values())
        return (each for each in rows if isinstance(each, Collection))

    def get(self, collection_id: int) -> Collection | None:
        """Return a collection that is replicated."""
        row = self._rows.get(collection_id)
        return row if isinstance(row, Collection) else None

    def status(self, collection_id: int) -> Status | None:
        """Return the state of a collection, None if it is not known."""
        row = self._rows.get(collection_id)
        return row.status if row else None

    def is_ignored(self, collection_id: int) -> bool:
        """Tell whether nothing is done for a collection, now or later."""
        return isinstance(self._rows.get(collection_id), _Ignored)

    def databases(self) -> set[str]:
        """Return the source's databases that have collections which are replicated."""
        return {each.entry.database for each in self}

    def channels(self) -> set[str]:
        """Return the channels of all collections that are replicated."""
        return {channel for each in self for channel in each.channels}

    # Transitions.

    def add(
        self,
        entry: CollectionEntry,
        waits_for: set[int | FullName],
        *,
        exists: bool,
        status: Status = Status.LIVE,
    ) -> Collection:
        """Replicate a collection; ``exists`` tells that an earlier run created it."""
        applied = partial(self.floors.applied, entry.collection_id)
        barriers = ShardBarriers({c: applied(c) for c in channels_of(entry.shards)})
        collection = Collection(entry, barriers, exists, status, waits_for=waits_for)
        self._rows[entry.collection_id] = collection
        return collection

    def suspend(self, collection_id: int) -> None:
        """Send a collection that was set aside no more rows."""
        if collection := self.get(collection_id):
            collection.status = Status.SUSPENDED

    def exclude(
        self,
        entry: CollectionEntry,
        error: CdcError,
        stood: Mapping[str, Checkpoint] | None = None,
    ) -> None:
        """Take nothing of a collection that cannot be replicated, and say why.

        ``stood`` is where it stands if not where its channels do.
        """
        self._context.record_set_aside(entry, error, stood)
        self._rows[entry.collection_id] = _Ignored(Status.EXCLUDED, entry)

    def skip(self, collection_id: int) -> None:
        """Take nothing of a collection that is not selected."""
        self._rows[collection_id] = _Ignored(Status.SKIPPED)

    def end(self, collection_id: int) -> None:
        """Know that a collection is dropped, or never came into being."""
        self._rows[collection_id] = _Ignored(Status.GONE)
        self._gone.append((self._newest_tick(), collection_id))

    def restore_ignored(self, entry: CollectionEntry) -> None:
        """Know a collection that an earlier run dropped or excluded."""
        if entry.state is CollectionState.DROPPED:
            self.end(entry.collection_id)
        else:
            self._rows[entry.collection_id] = _Ignored(Status.EXCLUDED, entry)

    def settle_all(self, found: Mapping[int, CollectionMeta]) -> None:
        """Notice what became of all that is ignored; ``found`` is the whole catalog."""
        for collection_id in tuple(self._rows):
            self.settle(collection_id, found.get(collection_id))

    def settle(self, collection_id: int, meta: CollectionMeta | None) -> bool:
        """Notice what the catalog has of a collection; tell whether that settles it.

        An excluded one is shown no longer once the source has dropped it: nobody reads its
        channels. The catalog may have forgotten when that was, and with it the collection.
        """
        row = self._rows.get(collection_id)
        if not isinstance(row, _Ignored):
            return False
        is_dropped = meta is None or meta.dropping
        if is_dropped and row.status is not Status.GONE:
            self.end(collection_id)
            if row.entry is not None:
                dropped = meta.altered if meta else self._context.source_time()
                operation = Operation.drop_collection(row.entry, dropped)
                self._context.record(RecordOperationApplied(operation))
        return is_dropped or row.status is not Status.SKIPPED

    def note_import(
        self, collection: Collection, number: int, timestamp: int, rows: int = 0
    ) -> None:
        """Write down that rows came into a collection past the log, by an import (an id).

        ``rows`` is 0 where it is not known how many.
        """
        detail = {"import": number, "rows": rows, "seen": self._context.source_time()}
        operation = collection.entry.operation(IMPORT, timestamp, detail)
        self._context.record(RecordOperationApplied(operation))
        imports = {**collection.entry.imports, number: operation.imported}
        collection.entry = replace(collection.entry, imports=imports)

    def forget_gone(self) -> list[int]:
        """Forget what went a while ago on every channel; return the ids."""
        forgotten: list[int] = []
        while self._gone and self._gone[0][0] + FORGET_AFTER < self._oldest_tick():
            _, collection_id = self._gone.popleft()
            if self.status(collection_id) is Status.GONE:
                del self._rows[collection_id]
                forgotten.append(collection_id)
        return forgotten

    def _newest_tick(self) -> int:
        return max(map(self._channels.tick, self._channels), default=0)

    def _oldest_tick(self) -> int:
        """The channel of clients' requests has no ticks."""
        return min(filter(None, map(self._channels.tick, self._channels)), default=0)
