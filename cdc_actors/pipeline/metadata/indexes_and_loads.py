"""What makes collections searchable, as far as only the catalog tells of it.

Before 2.3.2 and from 2.6 on the log has no requests of clients: indexes and loads are in
the catalog alone. Those between log them, but not (2.3.5) that single partitions are
loaded or released. The catalog has no times of all this but that of an index's creation:
the rest is done when it is seen. What the target was brought to is compared with what is
so now, so that a restart finds what happened meanwhile.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cdc_actors.changes import LOGICAL_BITS
from cdc_actors.pipeline.work import CatalogOperation, ForwardRequest
from cdc_actors.source.catalog.model import field_names
from cdc_actors.source.versions import has_requests
from cdc_actors.tasks import (
    CREATE_INDEX,
    DROP_INDEX,
    LOAD_COLLECTION,
    LOAD_PARTITIONS,
    RELEASE_COLLECTION,
    RELEASE_PARTITIONS,
    Loaded,
)
from cdc_actors.tasks.details import IndexDetail, LoadDetail, begun_detail

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.pipeline.channels import Channels
    from cdc_actors.pipeline.collection_table import CollectionTable
    from cdc_actors.pipeline.pending import PendingOperations
    from cdc_actors.source.catalog.client import (
        Catalog,
        CollectionMeta,
        IndexAndLoadState,
        IndexMeta,
    )
    from cdc_actors.source.versions import Version
    from cdc_actors.tasks import CollectionEntry

RETRY_SECONDS = 10.0
"""How long a source that does not run is left alone before its version is asked again."""

SETTLED = 500 << LOGICAL_BITS
"""How much later, as a hybrid timestamp, than the newest tick something is done that was
just seen: half a second, in which the requests before it have come."""


_OF_ALL = frozenset({LOAD_COLLECTION, RELEASE_COLLECTION})
_LOADS = _OF_ALL | {LOAD_PARTITIONS, RELEASE_PARTITIONS}


@dataclass(slots=True)
class _Collection:
    """One collection: what the catalog has, and what it was brought to, or will be.

    ``unread`` is of a catalog's change that has not been compared yet. ``requested``
    tells that a client asked to load or release all of it in this run, ``requested_at``
    when any last asked for anything. The rest counts once it is ``compared``: ``indexes``
    (names by id) and ``loaded`` are the target's, ``wanted`` is loaded at the source, and
    nothing is asked with an older time than ``since``. ``fields`` are those that are
    loaded, if not all are.
    """

    id: int
    unread: CollectionMeta | None = None
    requested: bool = False
    requested_at: int = 0
    compared: bool = False
    indexes: dict[int, str] = field(default_factory=dict)
    loaded: Loaded | None = None
    wanted: Loaded | None = None
    partitions: dict[int, str] = field(default_factory=dict)
    replicas: int = 1
    fields: tuple[str, ...] = ()
    since: int = 0


class IndexesAndLoads:
    """Indexes and loads of the collections of one run. The reader's thread."""

    def __init__(
        self,
        collections: CollectionTable,
        pending: PendingOperations,
        channels: Channels,
        catalog: Catalog,
        requests: str,
    ) -> None:
        """``requests`` is the channel of clients' requests."""
        self._known = collections
        self._pending = pending
        self._channels = channels
        self._catalog = catalog
        self._requests = requests
        self._version: Version = ()
        self._not_before = 0.0
        self._collections: dict[int, _Collection] = {}
        self._unread: set[int] = set()

    def update(self, meta: CollectionMeta) -> None:
        """Have it looked up what the catalog has of a collection now."""
        self._get(meta.id).unread = meta
        self._unread.add(meta.id)

    def will_show(self, owner: int) -> bool:
        """Tell whether what clients asked so far comes by the catalog, once it is read.

        So it is of a collection from files: the log may have only the end of what they
        asked, a load without the index that it needs. Milvus writes a request to the log
        when the catalog has what came of it.
        """
        return self._is_from_files(owner) and not self._get(owner).compared

    def _is_from_files(self, owner: int) -> bool:
        collection = self._known.get(owner)
        return collection is not None and collection.entry.snapshot > 0

    def defer(self, work: ForwardRequest, owner: int) -> None:
        """Defer a client's request on a collection.

        If it loads or releases a collection, what is so of single partitions comes after;
        what the catalog showed of them before this was known is out of date.
        """
        request, known = work.request, self._get(owner)
        # The index that a load needs may be on its way from the catalog.
        earliest = known.since if self._is_from_files(owner) else 0
        self._pending.defer(work, max(request.timestamp, earliest), owner)
        known.requested_at = max(known.requested_at, request.timestamp)
        if request.kind not in _OF_ALL:
            return
        known.requested = True
        known.loaded = Loaded(whole=True) if request.kind == LOAD_COLLECTION else None
        if known.compared:
            self._pending.withdraw(owner, _LOADS)
            known.since = max(known.since, known.requested_at)
            self._issue_partitions(known)

    def compared_at(self, collection_id: int) -> int | None:
        """Return by when a collection has all that the catalog shows; None if unknown."""
        known = self._collections.get(collection_id)
        is_known = known and known.compared and collection_id not in self._unread
        return known.since if known and is_known else None

    def forget(self, collection_id: int) -> None:
        """Keep nothing of a collection that is gone."""
        self._collections.pop(collection_id, None)
        self._unread.discard(collection_id)

    @property
    def is_empty(self) -> bool:
        """Whether none wait to be compared."""
        return not self._unread

    def advance(self) -> None:
        """Compare what was seen of the collections that are known by now."""
        self._unread = {i for i in self._unread if not self._known.is_ignored(i)}
        settled = {
            collection_id: meta
            for collection_id in self._unread
            if (meta := self._settled(collection_id)) is not None
        }
        if not settled or not self._is_ready():
            return
        for collection_id, found in self._catalog.indexes_and_loads(settled).items():
            self._unread.discard(collection_id)
            self._compare(settled[collection_id], found)

    def _get(self, collection_id: int) -> _Collection:
        return self._collections.setdefault(collection_id, _Collection(collection_id))

    def _settled(self, collection_id: int) -> CollectionMeta | None:
        """Return what the catalog has once the log has come past the partitions.

        The new ones of a collection that is loaded are loaded a moment later.
        """
        meta = self._collections[collection_id].unread
        if meta is None:
            return None
        created = max((each.created for each in meta.partitions.values()), default=0)
        return meta if self._newest_tick(meta.id) >= created + SETTLED else None

    def _newest_tick(self, collection_id: int) -> int:
        collection = self._known.get(collection_id)
        channels = collection.channels if collection else ()
        return max(map(self._channels.tick, channels), default=0)

    def _is_ready(self) -> bool:
        """Tell whether the source's version is known, and its requests so far are."""
        if not self._version and time.monotonic() > self._not_before:
            self._not_before = time.monotonic() + RETRY_SECONDS
            self._version = self._catalog.version()
        return bool(self._version) and not self._channels.is_behind(self._requests)

    def _compare(self, meta: CollectionMeta, found: IndexAndLoadState) -> None:
        collection = self._known.get(meta.id)
        if collection is None:
            return
        known = self._get(meta.id)
        known.unread = None
        if not known.compared:
            self._restore(known, collection.entry)
        known.partitions = {each: part.name for each, part in meta.partitions.items()}
        known.wanted = _loaded(found, known.partitions)
        known.replicas = found.load.replicas if found.load else 1
        known.fields = _loaded_fields(meta, found)
        made = [index.created for index in found.indexes]
        seen = self._newest_tick(meta.id) + SETTLED
        known.since = max(known.since, seen, known.requested_at, *made)
        # What clients had asked of one that came from files may not be in the log.
        if not has_requests(self._version) or collection.entry.snapshot:
            self._issue_all(known, found)
        else:
            self._issue_partitions(known)

    def _restore(self, known: _Collection, entry: CollectionEntry) -> None:
        """Begin with what earlier runs did, and have finished what was under way.

        A load that a client has asked for since, or a release, comes after it.
        """
        known.compared = True
        known.indexes = dict(entry.indexes)
        if not known.requested:
            known.loaded = entry.loaded
        begun = entry.pending_request
        if begun is None or (begun.kind in _LOADS and known.requested):
            return
        known.since = begun.timestamp
        match begun_detail(begun):
            case IndexDetail() as detail:
                self._issue_index(known, begun.kind, detail)
            case LoadDetail() as detail:
                self._issue(known, begun.kind, detail)
                known.loaded = detail.loaded

    def _issue_all(self, known: _Collection, found: IndexAndLoadState) -> None:
        """An index can be dropped only while nothing is loaded."""
        now = {index.id for index in found.indexes}
        dropped = {i: name for i, name in known.indexes.items() if i not in now}
        wanted, loaded = known.wanted, known.loaded
        if loaded and (dropped or not wanted or loaded.whole > wanted.whole):
            self._issue_load(known, RELEASE_COLLECTION, None)
        for each, name in dropped.items():
            field_name = self._catalog.field_of_index(known.id, name, known.since)
            request = {"index_name": name, "field_name": field_name}
            self._issue_index(known, DROP_INDEX, IndexDetail(each, request))
        for index in found.indexes:
            if index.id not in known.indexes:
                self._issue_index(known, CREATE_INDEX, _creation(index))
        if wanted and wanted.whole and not (known.loaded and known.loaded.whole):
            self._issue_load(known, LOAD_COLLECTION, Loaded(whole=True))
        self._issue_partitions(known)

    def _issue_partitions(self, known: _Collection) -> None:
        """Load and release single ones; a client's request does the rest.

        Without one: the last of the partitions that are loaded is released.
        """
        before, now = known.loaded, known.wanted
        empty: frozenset[int] = frozenset()
        if now is None and before is not None and before.partitions:
            self._issue_load(known, RELEASE_COLLECTION, None)
        elif now is not None and now.whole == (before is not None and before.whole):
            had = before.partitions if before else empty
            more, fewer = now.partitions - had, had - now.partitions
            # Loads come first: with its last loaded partition a collection is released.
            loads, between, releases = more, had | now.partitions, fewer
            if now.whole:
                loads, between, releases = fewer, had & now.partitions, more
            for kind, some, then in (
                (LOAD_PARTITIONS, loads, Loaded(now.whole, between)),
                (RELEASE_PARTITIONS, releases, now),
            ):
                names = [known.partitions[i] for i in some if i in known.partitions]
                if names:
                    self._issue_load(known, kind, then, names)
            known.loaded = now

    def _issue_load(
        self,
        known: _Collection,
        kind: str,
        then: Loaded | None,
        names: Iterable[str] = (),
    ) -> None:
        request: dict[str, Any] = {}
        if names:
            request["partition_names"] = sorted(names)
        if kind in {LOAD_COLLECTION, LOAD_PARTITIONS}:
            request["replica_number"] = known.replicas
            if known.fields:
                request["load_fields"] = list(known.fields)
        self._issue(known, kind, LoadDetail(request, then))
        known.loaded = then

    def _issue_index(self, known: _Collection, kind: str, detail: IndexDetail) -> None:
        self._issue(known, kind, detail)
        if detail.index_name is None:
            known.indexes.pop(detail.index, None)
        else:
            known.indexes[detail.index] = detail.index_name

    def _issue(
        self, known: _Collection, kind: str, detail: IndexDetail | LoadDetail
    ) -> None:
        work = CatalogOperation(kind, known.since, detail)
        self._pending.defer(work, known.since, known.id)


def _creation(index: IndexMeta) -> IndexDetail:
    params = [{"key": key, "value": value} for key, value in index.params.items()]
    request = {
        "field_name": index.field_name,
        "index_name": index.name,
        "extra_params": params,
    }
    return IndexDetail(index.id, request, index.name)


def _loaded_fields(meta: CollectionMeta, found: IndexAndLoadState) -> tuple[str, ...]:
    """Return the names of the fields that are loaded, if these are not all (Milvus 2.5)."""
    names = field_names(meta.schema)
    loaded = found.load.fields if found.load else frozenset()
    if not loaded or loaded >= names.keys():
        return ()
    return tuple(name for each, name in names.items() if each in loaded)


def _loaded(found: IndexAndLoadState, partitions: Iterable[int]) -> Loaded | None:
    load = found.load
    if load is None:
        return None
    if not load.whole:
        return Loaded(whole=False, partitions=load.partitions)
    released = (
        frozenset(partitions) - load.partitions if load.partitions else frozenset()
    )
    return Loaded(whole=True, partitions=released)
