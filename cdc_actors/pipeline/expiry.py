"""Rows that the source has expired: ``collection.ttl.seconds`` after they were written.

A Milvus counts the age of a row from its own insertion, and removes what is too old when it
compacts, without a word in the log (seen with 2.3.5). A target that is given an old row
would show it for as long as a new one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from cdc_actors.changes import Insert, to_hybrid_ts
from cdc_actors.errors import OperatorError, TransientError

if TYPE_CHECKING:
    from cdc_actors.changes import Change
    from cdc_actors.pipeline.source_api import SourceApi
    from cdc_actors.source.catalog.client import CollectionMeta

TTL = "collection.ttl.seconds"

LOOK_SECONDS = 10.0
"""How long an answer of the source's API holds, and how long it is left alone where it
gave none."""

FRESH = to_hybrid_ts(1)
"""The age that no row is expired at: the shortest time to live."""

_log = structlog.get_logger()


class Expiry:
    """Leaves out what the source has expired by now. The reader's thread.

    What counts is the source's time and the time to live that the collection has there by
    now, whatever it was when the rows were written: as at the source itself. While its API
    does not answer nothing counts as expired.
    """

    def __init__(self, api: SourceApi) -> None:
        self._api = api
        self._metas: dict[int, CollectionMeta] = {}
        self._ttls: dict[int, tuple[float, int]] = {}
        self._time: tuple[float, int] | None = None
        self._not_before = 0.0
        self._told: set[int] = set()

    def update(self, meta: CollectionMeta) -> None:
        """Know a collection that has a time to live, or may have been given one."""
        if TTL in meta.properties or meta.altered > meta.created:
            self._metas[meta.id] = meta

    def forget(self, collection_id: int) -> None:
        """Keep nothing of a collection that is gone."""
        self._metas.pop(collection_id, None)
        self._ttls.pop(collection_id, None)

    def living(self, changes: tuple[Change, ...]) -> tuple[Change, ...]:
        """Return all changes but the inserts of rows that the source has expired."""
        if not self._metas:
            return changes
        return tuple(each for each in changes if not self._is_expired(each))

    def _is_expired(self, change: Change) -> bool:
        if not isinstance(change, Insert) or change.collection not in self._metas:
            return False
        collection_id = change.collection
        upto = self._expired_upto(collection_id, change.timestamp)
        if change.timestamp > upto:
            return False
        if collection_id not in self._told:
            self._told.add(collection_id)
            _log.info("expired_rows_left_out", collection_id=collection_id)
        return True

    def _expired_upto(self, collection_id: int, oldest: int) -> int:
        """Return the time of the newest rows that are expired, 0 if none is."""
        if time.monotonic() < self._not_before:
            return 0
        try:
            now = self._now()
            ttl = self._ttl(collection_id) if now - oldest >= FRESH else 0
        except (TransientError, OperatorError):
            self._not_before = time.monotonic() + LOOK_SECONDS
            return 0
        return now - to_hybrid_ts(ttl) if ttl else 0

    def _now(self) -> int:
        if self._time is None or time.monotonic() - self._time[0] >= LOOK_SECONDS:
            self._time = time.monotonic(), self._api.now()
        asked, then = self._time
        return then + to_hybrid_ts(time.monotonic() - asked)

    def _ttl(self, collection_id: int) -> int:
        """Return the time to live in seconds, 0 for none."""
        asked, ttl = self._ttls.get(collection_id, (None, 0))
        if asked is None or time.monotonic() - asked >= LOOK_SECONDS:
            properties = self._api.properties(self._metas[collection_id]) or {}
            text = properties.get(TTL, "")
            ttl = int(text) if text.isdecimal() else 0
            self._ttls[collection_id] = time.monotonic(), ttl
        return ttl
