"""What makes collections searchable, as far as only the catalog tells of it.

Before 2.3.2 Milvus logs no requests of its clients: indexes and loads are in the catalog
alone. Later ones log them, but not (2.3.5) that single partitions are loaded or released.
The catalog has no times of all this but that of an index's creation: the rest is done when
it is seen. What was told last is compared with what is so now, so that a restart finds what
happened meanwhile.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cdc_actors.changes import LOGICAL_BITS
from cdc_actors.pipeline.work import CatalogOperation, ForwardRequest
from cdc_actors.source.versions import REQUESTS_SINCE
from cdc_actors.tasks import (
    CREATE_INDEX,
    DROP_INDEX,
    LOAD_COLLECTION,
    LOAD_PARTITIONS,
    RELEASE_COLLECTION,
    RELEASE_PARTITIONS,
    Loaded,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.pipeline.channels import Channels
    from cdc_actors.pipeline.pending import PendingOperations
    from cdc_actors.pipeline.router import Router
    from cdc_actors.source.catalog.client import (
        Catalog,
        CollectionMeta,
        IndexAndLoadState,
    )
    from cdc_actors.source.versions import Version
    from cdc_actors.tasks import Operation

RETRY_SECONDS = 10.0
"""How long a source that does not run is left alone before its version is asked again."""

SETTLED = 500 << LOGICAL_BITS
"""How much later, as a hybrid timestamp, than the newest tick something is done that was
just seen: half a second, in which the requests before it have come."""


_OF_ALL = frozenset({LOAD_COLLECTION, RELEASE_COLLECTION})
_LOADS = _OF_ALL | {LOAD_PARTITIONS, RELEASE_PARTITIONS}


@dataclass(slots=True)
class _AppliedState:
    """What a collection has been told, or was told by earlier runs."""

    collection_id: int
    indexes: dict[int, str]
    loaded: Loaded | None
    now: Loaded | None = None
    names: dict[int, str] = field(default_factory=dict)
    replicas: int = 1
    since: int = 0


class IndexesAndLoads:
    """Indexes and loads of the collections of one stream. The reader's thread."""

    def __init__(
        self,
        router: Router,
        pending: PendingOperations,
        channels: Channels,
        catalog: Catalog,
        requests: str,
    ) -> None:
        """``requests`` is the channel of clients' requests."""
        self._router = router
        self._pending = pending
        self._channels = channels
        self._catalog = catalog
        self._requests = requests
        self._version: Version = ()
        self._not_before = 0.0
        self._seen: dict[int, CollectionMeta] = {}
        self._told: dict[int, _AppliedState] = {}
        self._asked: dict[int, Loaded | None] = {}
        self._asked_at: dict[int, int] = {}

    def see(self, meta: CollectionMeta) -> None:
        """Have it looked up what the catalog has of a collection now."""
        self._seen[meta.id] = meta

    def park(self, work: ForwardRequest, owner: int) -> None:
        """Park a client's request on a collection.

        If it loads or releases a collection, what is so of single partitions comes after;
        what the catalog told of them before this was known is out of date.
        """
        request = work.request
        self._pending.add(work, request.timestamp, owner)
        latest = max(self._asked_at.get(owner, 0), request.timestamp)
        self._asked_at[owner] = latest
        if request.kind not in _OF_ALL:
            return
        then = Loaded(whole=True) if request.kind == LOAD_COLLECTION else None
        self._asked[owner] = then
        if told := self._told.get(owner):
            self._pending.take_back(owner, _LOADS)
            told.loaded = then
            told.since = max(told.since, latest)
            self._tell_partitions(told)

    def advance(self) -> None:
        """Compare what was seen of the collections that are known by now."""
        for gone in [each for each in self._seen if self._router.is_gone(each)]:
            del self._seen[gone]
        known = {i: meta for i, meta in self._seen.items() if self._is_settled(meta)}
        if not known or not self._is_ready():
            return
        for collection_id, found in self._catalog.serving(known).items():
            self._compare(self._seen.pop(collection_id), found)

    def _is_settled(self, meta: CollectionMeta) -> bool:
        """Tell whether the log has come past a collection's partitions.

        The new ones of a collection that is loaded are loaded a moment later.
        """
        created = max((each.created for each in meta.partitions.values()), default=0)
        return self._newest_tick(meta.id) >= created + SETTLED

    def _newest_tick(self, collection_id: int) -> int:
        collection = self._router.get(collection_id)
        channels = collection.channels if collection else ()
        return max(map(self._channels.tick, channels), default=0)

    def _is_ready(self) -> bool:
        """Tell whether the source's version is known, and its requests so far are."""
        if not self._version and time.monotonic() > self._not_before:
            self._not_before = time.monotonic() + RETRY_SECONDS
            self._version = self._catalog.version()
        return bool(self._version) and not self._channels.is_behind(self._requests)

    def _compare(self, meta: CollectionMeta, found: IndexAndLoadState) -> None:
        collection = self._router.get(meta.id)
        if collection is None:
            return
        entry = collection.entry
        loaded = self._asked.get(meta.id, entry.loaded)
        if meta.id not in self._told:
            self._told[meta.id] = _AppliedState(meta.id, dict(entry.indexes), loaded)
            self._go_on(self._told[meta.id], entry.serving)
        told = self._told[meta.id]
        told.names = {each: part.name for each, part in meta.partitions.items()}
        told.now = _loaded(found, told.names)
        told.replicas = found.load.replicas if found.load else 1
        made = [index.created for index in found.indexes]
        seen = self._newest_tick(meta.id) + SETTLED
        told.since = max(told.since, seen, self._asked_at.get(meta.id, 0), *made)
        if self._version >= REQUESTS_SINCE:
            self._tell_partitions(told)
        else:
            self._tell_all(told, found)

    def _go_on(self, told: _AppliedState, begun: Operation | None) -> None:
        """Have that finished which was under way when an earlier run ended.

        A load that a client has asked for since, or a release, comes after it.
        """
        overtaken = told.collection_id in self._asked
        if begun is None or (begun.kind in _LOADS and overtaken):
            return
        told.since = begun.timestamp
        self._park(told, begun.kind, begun.detail)
        if begun.kind == CREATE_INDEX:
            told.indexes[begun.detail["index"]] = begun.detail["index_name"]
        elif begun.kind == DROP_INDEX:
            told.indexes.pop(begun.detail["index"], None)
        else:
            told.loaded = begun.loaded

    def _tell_all(self, told: _AppliedState, found: IndexAndLoadState) -> None:
        """An index can be dropped only while nothing is loaded."""
        now = {index.id: index for index in found.indexes}
        dropped = {i: name for i, name in told.indexes.items() if i not in now}
        if told.loaded and (
            dropped or not told.now or told.loaded.whole > told.now.whole
        ):
            self._tell(told, RELEASE_COLLECTION, None)
        for each, name in dropped.items():
            detail = {"index": each, "request": {"index_name": name}}
            self._park(told, DROP_INDEX, detail)
        for index in found.indexes:
            if index.id not in told.indexes:
                wanted = {
                    "field_name": index.field_name,
                    "index_name": index.name,
                    "extra_params": [
                        {"key": key, "value": value}
                        for key, value in index.params.items()
                    ],
                }
                detail = {
                    "index": index.id,
                    "index_name": index.name,
                    "request": wanted,
                }
                self._park(told, CREATE_INDEX, detail)
        told.indexes = {each: index.name for each, index in now.items()}
        if told.now and told.now.whole and not (told.loaded and told.loaded.whole):
            self._tell(told, LOAD_COLLECTION, Loaded(whole=True))
        self._tell_partitions(told)

    def _tell_partitions(self, told: _AppliedState) -> None:
        """Load and release single ones; a client's request does the rest.

        Without one: the last of the partitions that are loaded is released.
        """
        before, now = told.loaded, told.now
        empty: frozenset[int] = frozenset()
        if now is None and before is not None and before.partitions:
            self._tell(told, RELEASE_COLLECTION, None)
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
                if names := [told.names[each] for each in some if each in told.names]:
                    self._tell(told, kind, then, names)
            told.loaded = now

    def _tell(
        self,
        told: _AppliedState,
        kind: str,
        then: Loaded | None,
        names: Iterable[str] = (),
    ) -> None:
        wanted: dict[str, Any] = {}
        if names:
            wanted["partition_names"] = sorted(names)
        if kind in {LOAD_COLLECTION, LOAD_PARTITIONS}:
            wanted["replica_number"] = told.replicas
        detail: dict[str, Any] = {"request": wanted, "whole": bool(then and then.whole)}
        if then and then.partitions:
            detail["loaded"] = sorted(then.partitions)
        self._park(told, kind, detail)
        told.loaded = then

    def _park(self, told: _AppliedState, kind: str, detail: dict[str, Any]) -> None:
        work = CatalogOperation(kind, told.since, detail)
        self._pending.add(work, told.since, told.collection_id)


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
