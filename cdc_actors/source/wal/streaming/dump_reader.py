"""Reads the log of Milvus 2.6.20 and later by its public API alone, with DumpMessages.

Each message that is not inside of a transaction promises, as a tick does, that all before
it has come: no two have one time. Rows need not wait for a tick of their own. Where nothing
is written the end of each call is a tick.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cdc_actors.changes import to_hybrid_ts
from cdc_actors.errors import PositionLostError, TransientError
from cdc_actors.source.wal.streaming import streaming_pb2
from cdc_actors.source.wal.streaming.dump import (
    MARGIN_SECONDS,
    Dump,
    Dumps,
    is_promise,
    seen_at,
    tick_at,
)
from cdc_actors.source.wal.streaming.positions import (
    NodeRecord,
    Place,
    creation_in,
    place_in,
    place_of,
    place_of_id,
    position_of,
)
from cdc_actors.source.wal.streaming.reader import StreamReader
from cdc_actors.source.wal.streaming.stream import Shared, Stream

if TYPE_CHECKING:
    from collections.abc import Collection

    from cdc_actors.changes import Position, Record
    from cdc_actors.memory_budget import Quota
    from cdc_actors.source.public_api import PublicApi

SCAN_SECONDS = 600.0
"""How long the source may look for where to begin: it may read all of its log for that."""

_OLDEST = Place(0, "", "", 0)
_ON_THE_WAY = (
    "the source has no message in the log yet by which to tell the queue that it is in"
)


class DumpedRecord(NodeRecord, frozen=True, gc=False):
    """A message of DumpMessages, or a tick that was made of what came of it."""

    @property
    def position(self) -> Position:
        """Where it stands, and up to when everything has come by then."""
        return position_of(self.channel, _place(self.last))


class DumpStream(Stream):
    """A channel that is read by one call after another."""

    silent = "DumpMessages has neither delivered anything nor ended"

    def __init__(
        self, channel: str, start: Place | None, shared: Shared, dumps: Dumps
    ) -> None:
        super().__init__(channel, start or _OLDEST, shared)
        self._dumps = dumps
        self._doubted: Place | None = None

    def _open(self) -> Dump:
        place, now = _place(self._last or _OLDEST), self._dumps.api.time()
        self._doubted = None
        if place != _OLDEST and not self._dumps.is_recent(place, now):
            self._doubted = place
            self._heard = time.monotonic() + SCAN_SECONDS
        return self._dumps.begin(self._channel, place, now)

    def _admits(self, message: streaming_pb2.ImmutableMessage) -> bool:  # noqa: ARG002
        """Once the source has begun to read, what is there now was there then."""
        if (doubted := self._doubted) is not None:
            self._doubted = None
            now = self._dumps.api.time()
            if not self._dumps.holds(self._channel, doubted, now):
                raise _lost(self._channel, doubted)
        return True

    def _unstored(self, message: streaming_pb2.ImmutableMessage) -> Place:
        return _place(self._last or _OLDEST)._replace(seen=place_in(message).time)

    def _record(self, payload: bytes, head: bytes, last: bytes | Place) -> Record:
        return DumpedRecord(self._channel, payload, head, last)


class DumpReader(StreamReader):
    """A ``WalReader`` of DumpMessages. It closes ``api``."""

    def __init__(self, api: PublicApi, quota: Quota | None = None) -> None:
        """``quota`` is what may be fetched ahead of the service's memory."""
        super().__init__(quota)
        self._api = api
        self._dumps = Dumps(api)

    def poll(
        self, timeout: float, channels: Collection[str] | None = None
    ) -> list[Record]:
        """Return what has arrived, and for each channel a tick behind it."""
        records = super().poll(timeout, channels)
        newest = {record.channel: record for record in records}
        return records + [
            DumpedRecord(each.channel, b"", tick.SerializeToString(), each.last)
            for each in newest.values()
            if isinstance(each, DumpedRecord) and (tick := _tick_behind(each))
        ]

    def oldest(self, channel: str) -> Position | None:
        """Return the position of the oldest record kept, None if there is none."""
        found = self._dumps.oldest(channel)
        return None if found is None else position_of(channel, found)

    def newest(self, channel: str) -> Position | None:
        """Return the position of now: which message is the newest cannot be asked."""
        return position_of(channel, _OLDEST._replace(seen=self._api.time()))

    def holds(self, start: Position, *, inclusive: bool = True) -> bool:
        """Tell whether reading can begin at ``start`` without missing a record."""
        try:
            place = _behind(place_of(start), inclusive=inclusive)
            return self._dumps.holds(start.channel, place, self._api.time())
        except PositionLostError:
            return False

    def position(self, channel: str, message_id: bytes) -> Position:
        """Return the position that the catalog, or a ``MsgPosition``, means by an id."""
        if creation := creation_in(message_id):
            collection_id, created = creation
            seen = created - to_hybrid_ts(MARGIN_SECONDS)
            return position_of(
                channel, _OLDEST._replace(seen=seen, creates=collection_id)
            )
        oldest = self._dumps.oldest(channel)
        if oldest is None:
            raise TransientError(f"{channel}: {_ON_THE_WAY}")
        return position_of(channel, place_of_id(oldest.queue, message_id))

    def reached(self, position: Position, mark: Position) -> bool:
        """Tell whether ``position`` is ``mark`` or comes after it in their channel."""
        one, other = place_of(position), place_of(mark)
        seen, wanted = one.seen or one.time, other.seen or other.time
        if seen and wanted:
            return seen >= wanted
        return one.rank >= other.rank

    def reach(self) -> None:
        """Have DumpMessages answer; raises as every method."""
        self._dumps.reach()

    def close(self) -> None:
        """Stop within a second and release everything. Idempotent; any thread."""
        super().close()
        self._api.close()

    def _stream(
        self,
        channel: str,
        start: Place | None,
        *,
        inclusive: bool,
    ) -> Stream:
        begin = start and _behind(start, inclusive=inclusive)
        return DumpStream(channel, begin, self._shared, self._dumps)


def _place(last: bytes | Place) -> Place:
    """Return where to go on behind a message, by its head, or the place itself."""
    if isinstance(last, Place):
        return last
    message = streaming_pb2.ImmutableMessage.FromString(last)
    return place_in(message)._replace(seen=seen_at(message))


def _behind(start: Place, *, inclusive: bool) -> Place:
    """Return behind what to read, for the message at ``start`` to come or not."""
    is_seen = start.time != 0 and start.seen == start.time
    return start._replace(seen=start.time - 1) if inclusive and is_seen else start


def _tick_behind(record: DumpedRecord) -> streaming_pb2.ImmutableMessage | None:
    message = streaming_pb2.ImmutableMessage.FromString(record.head)
    return tick_at(place_in(message).time) if is_promise(message) else None


def _lost(channel: str, place: Place) -> PositionLostError:
    what = (
        f"the creation of the collection {place.creates}"
        if place.creates
        else f"anything from before {place.id or place.seen}"
    )
    return PositionLostError(
        f"{channel}: the log no longer holds {what}: what was written since may be lost"
    )
