"""Calls of the public DumpMessages (2.6.20 and later): what they deliver, and how they end.

It delivers messages as a streaming node does, but no ticks, and says nothing where nothing
is written. But it can be told up to which time to go on, and ends once the source's ticks
have come past that: the end is a tick. An id that the log no longer has is no error: it
begins at the oldest message then (2.6.20: ``internal/proxy/impl.go``).
"""

from __future__ import annotations

import base64
import binascii
from contextlib import closing
from typing import TYPE_CHECKING

import grpc
from google.protobuf.message import DecodeError
from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.changes import to_hybrid_ts
from cdc_actors.errors import CdcError, PositionLostError, TransientError
from cdc_actors.source.public_api import refuse, rpc_error
from cdc_actors.source.wal.streaming import streaming_pb2
from cdc_actors.source.wal.streaming.delivery import Delivery, read_dumped
from cdc_actors.source.wal.streaming.positions import (
    TIME,
    UNSTORED,
    Place,
    base36,
    place_in,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.source.public_api import PublicApi

METHOD = "DumpMessages"

AHEAD_SECONDS = 2.0
"""How far beyond now a call goes on: so often an idle channel ticks."""

RECENT_SECONDS = 600.0
"""How long nothing is lost for sure: no queue of a Milvus looks more often for what to
remove (RocksMQ: ten minutes), nor keeps anything less long."""

KEPT_SECONDS = 86_400.0
"""How long a log that is empty has kept what was in it, at least."""

MARGIN_SECONDS = 10.0
"""How much sooner or later than the catalog says a channel may tell of a creation."""

_ASK_SECONDS = 10.0
_BEFORE_NUMBERS, _BEFORE_ENTRIES = "0", "CAAQAA=="
"""Ids before all others: of RocksMQ and Kafka; of Pulsar and Woodpecker, where nothing is
at (0, 0), and where to begin at it would leave out what is flushed."""

_BAD_ID = "invalid start_message_id"
_KIND, _HEADER, _TRANSACTION = "_t", "_h", "_tx"
_TICK, _CREATE, _COMMIT = "1", "5", "901"


def tick_at(time: int) -> streaming_pb2.ImmutableMessage:
    """Return a tick as a streaming node would send it, which is not stored."""
    properties = {_KIND: _TICK, TIME: base36(time), UNSTORED: ""}
    return streaming_pb2.ImmutableMessage(properties=properties)


def seen_at(message: streaming_pb2.ImmutableMessage) -> int:
    """Return up to when everything has come, once a message has.

    All of a transaction has the time of its commit, which comes last.
    """
    properties = message.properties
    time = place_in(message).time
    is_inside = _TRANSACTION in properties and properties[_KIND] != _COMMIT
    return time - 1 if is_inside else time


def is_promise(message: streaming_pb2.ImmutableMessage) -> bool:
    """Tell whether a message is a promise, like a tick, that takes no other to be one."""
    return _TRANSACTION not in message.properties and UNSTORED not in message.properties


class Dump:
    """One call. One thread iterates, any may ``close``.

    ``others`` are what to ask where the id of a request is one of another form.
    """

    def __init__(
        self,
        api: PublicApi,
        request: milvus_pb2.DumpMessagesRequest,
        *others: milvus_pb2.DumpMessagesRequest,
    ) -> None:
        self._api = api
        self._until = request.end_timetick
        self._others = list(others)
        self._closed = False
        self._call = api.stream(METHOD, request, read_dumped)

    def messages(self) -> Iterator[Delivery]:
        """Yield messages in the order of their times, and a tick for the end.

        Raises:
            PositionLostError: The place is one in another message queue.
            OperatorError: The source refuses to be read.
            TransientError: It is away, or ends before it should.
        """
        try:
            for response in self._call:
                if not isinstance(response, Delivery):
                    refuse(METHOD, response.status)
                    continue
                yield response
        except grpc.RpcError as error:
            if not (self._others and _BAD_ID in str(error.details())):
                raise _translated(error) from error
            self._ask(self._others.pop(0))
            yield from self.messages()
            return
        if self._api.time() < self._until:
            raise TransientError("the source's DumpMessages ended before it should")
        yield Delivery(tick_at(self._until), b"")

    def close(self) -> None:
        """End the call. Idempotent."""
        self._closed = True
        self._call.cancel()

    def _ask(self, request: milvus_pb2.DumpMessagesRequest) -> None:
        self._call = self._api.stream(METHOD, request, read_dumped)
        if self._closed:
            self._call.cancel()


class Dumps:
    """The log of a source, as DumpMessages has it. Any thread."""

    def __init__(self, api: PublicApi) -> None:
        self.api = api

    def begin(self, channel: str, place: Place, now: int) -> Dump:
        """Deliver what is behind a place, until some seconds from ``now``."""
        after = place.seen + 1 if place.seen else place.time
        until = max(after, now + to_hybrid_ts(AHEAD_SECONDS))
        return self._dump(channel, place, after, until)

    def is_recent(self, place: Place, now: int) -> bool:
        """Tell whether nothing that is behind a place can be lost."""
        return now - place.seen <= to_hybrid_ts(RECENT_SECONDS)

    def holds(self, channel: str, place: Place, now: int) -> bool:
        """Tell whether the log has everything that is behind a place."""
        if self.is_recent(place, now):
            return True
        if place.creates:
            return self._holds_creation(channel, place)
        oldest = self.oldest(channel)
        if oldest is None:
            return now - place.seen <= to_hybrid_ts(KEPT_SECONDS)
        if not (seen := place.seen or place.time):
            return oldest.queue == place.queue and oldest.rank <= place.rank
        return oldest.time <= seen

    def oldest(self, channel: str) -> Place | None:
        """Return the place of the oldest message, None if there is none."""
        for delivery in self._all(channel, self.api.time()):
            return place_in(delivery.message)
        return None

    def reach(self) -> None:
        """Have it refuse a call without arguments, as it does where it is let in.

        Raises:
            CdcError: It does not, but says something else.
        """
        call = self.api.stream(
            METHOD, milvus_pb2.DumpMessagesRequest(), read_dumped, _ASK_SECONDS
        )
        try:
            for response in call:
                refuse(METHOD, response.status)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNKNOWN:
                raise _translated(error) from error

    def _holds_creation(self, channel: str, place: Place) -> bool:
        """Tell whether a collection's creation is there, or what is older."""
        until = place.seen + 2 * to_hybrid_ts(MARGIN_SECONDS)
        for message, _ in self._all(channel, until):
            if place_in(message).time <= place.seen or _creates(message, place.creates):
                return True
        return False

    def _all(self, channel: str, until: int) -> Iterator[Delivery]:
        """Yield messages from the oldest on, up to a time."""
        with closing(self._dump(channel, Place(0, "", "", 0), 0, until)) as dump:
            for delivery in dump.messages():
                if UNSTORED not in delivery.message.properties:
                    yield delivery

    def _dump(self, channel: str, place: Place, after: int, until: int) -> Dump:
        request = milvus_pb2.DumpMessagesRequest(
            pchannel=channel, start_timetick=after, end_timetick=until
        )
        if place.confirmed:
            request.start_message_id.id = place.confirmed
            request.start_message_id.WAL_name = place.queue
            request.include_start_message = True
            return Dump(self.api, request)
        numbered, other = milvus_pb2.DumpMessagesRequest(), request
        numbered.CopyFrom(request)
        numbered.start_message_id.id = _BEFORE_NUMBERS
        numbered.include_start_message = True
        other.start_message_id.id = _BEFORE_ENTRIES
        return Dump(self.api, numbered, other)


def _creates(message: streaming_pb2.ImmutableMessage, collection_id: int) -> bool:
    if message.properties.get(_KIND) != _CREATE:
        return False
    try:
        header = base64.b64decode(message.properties.get(_HEADER, ""), validate=True)
        found = streaming_pb2.RowsHeader.FromString(header)
    except (binascii.Error, DecodeError):
        return False
    return bool(found.collection_id == collection_id)


def _translated(error: grpc.RpcError) -> CdcError:
    """A position in another queue has an id of another form."""
    found = rpc_error(METHOD, error)
    if _BAD_ID in str(found):
        return PositionLostError(
            f"{found}: the source has switched its log to another message queue"
        )
    return found
