"""Reads the log of Milvus 2.6 and later from its streaming nodes, whatever queue has it.

A node puts messages in order, has transactions whole, and ticks five times a second, where
nothing is written, too.
"""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from contextlib import closing
from typing import TYPE_CHECKING

from cdc_actors.errors import OperatorError, PositionLostError, TransientError
from cdc_actors.source.wal.base import WalReader
from cdc_actors.source.wal.buffer import TAKEN_BYTES, RecordBuffer
from cdc_actors.source.wal.streaming import streaming_pb2
from cdc_actors.source.wal.streaming.arrival import Arrival
from cdc_actors.source.wal.streaming.node import (
    PLACES,
    Connections,
    Consumer,
    find_node,
)
from cdc_actors.source.wal.streaming.positions import (
    QUEUES,
    UNSTORED,
    place_in,
    place_of,
    place_of_id,
    position_of,
)
from cdc_actors.source.wal.streaming.stream import NodeStream, Shared, Stream, begin_at

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from cdc_actors.changes import Position, Record
    from cdc_actors.memory_budget import Quota
    from cdc_actors.source.catalog.client import Catalog
    from cdc_actors.source.wal.streaming.positions import Place

ASK_SECONDS = 10.0
"""How long a question may take: a call with wrong arguments may never be answered."""

GATHER_SECONDS = 0.002
"""How long it is waited for more once something has come: waking takes longer than that."""

ENOUGH_BYTES = TAKEN_BYTES // 2
"""Once so many bytes have come, they are taken at once: a large record, or two."""

QUIET_SECONDS = 0.05
"""How long a tick may wait that an idle channel's node makes up: no row waits for it."""

_STOP_SECONDS = 0.8
_NOT_BY_NODES = (
    "the source was read by its API alone so far, and had written nothing there since: "
    "leave out sourceConfig.etcd once more until it has"
)
_CLOSED = "the reader of the source's log is closed"


class StreamReader(WalReader):
    """A ``WalReader`` of a log that comes in order, channel by channel."""

    is_streamed = True

    def __init__(self, quota: Quota | None = None) -> None:
        """``quota`` is what may be fetched ahead of the service's memory."""
        buffer = RecordBuffer(self._on_taken, quota)
        self._shared = Shared(buffer, threading.Condition())
        self._streams: dict[str, Stream] = {}
        self._closed = threading.Event()

    def subscribe(
        self, channel: str, start: Position | None, *, inclusive: bool = True
    ) -> None:
        """Deliver ``channel`` from ``start`` on, or from the oldest record if None.

        Raises:
            ValueError: The channel is already subscribed to.
            PositionLostError: There is no such channel.
        """
        if channel in self._streams:
            raise ValueError(f"{channel} is already subscribed to")
        place = None if start is None else place_of(start)
        stream = self._stream(channel, place, inclusive=inclusive)
        self._streams[channel] = stream.start()

    @abstractmethod
    def _stream(self, channel: str, start: Place | None, *, inclusive: bool) -> Stream:
        """Return what reads a channel; raises as ``subscribe``."""

    @abstractmethod
    def reach(self) -> None:
        """Have the source say something of its log; raises as every method."""

    def poll(
        self, timeout: float, channels: Collection[str] | None = None
    ) -> list[Record]:
        """Return what has arrived, in order within each channel."""
        end = time.monotonic() + timeout
        while True:
            for stream in self._streams.values():
                stream.check_alive()
                stream.collect()
            records = self._shared.buffer.take(0, channels)
            left = end - time.monotonic()
            if records or left <= 0:
                return records
            if self._shared.arrived.wait(min(left, QUIET_SECONDS)):
                self._shared.arrived.clear()
                # Much of it holds up what follows, for which there is no room.
                if self._shared.buffer.held < ENOUGH_BYTES:
                    time.sleep(GATHER_SECONDS)

    def written_since(self, channel: str, seconds: float) -> Position | None:  # noqa: ARG002
        """Return None: that cannot be asked."""
        return None

    def kept_seconds(self, channel: str) -> float | None:  # noqa: ARG002
        """Return None: that is not told."""
        return None

    def close(self) -> None:
        """Stop within a second and release everything. Idempotent; any thread."""
        self._closed.set()
        self._shared.buffer.close(TransientError(_CLOSED))
        self._shared.arrived.set()
        for stream in list(self._streams.values()):
            stream.cancel()
        for stream in list(self._streams.values()):
            stream.join(_STOP_SECONDS)

    def _on_taken(self, _channels: set[str]) -> None:
        with self._shared.taken:
            self._shared.taken.notify_all()


class NodeReader(StreamReader):
    """A ``WalReader`` of streaming nodes.

    ``catalog`` opens the source's catalog, which says where each channel is.
    """

    def __init__(
        self, catalog: Callable[[], Catalog], quota: Quota | None = None
    ) -> None:
        """``quota`` is what may be fetched ahead of the service's memory."""
        super().__init__(quota)
        self._catalog = catalog
        self._connections = Connections()
        self._queue = 0

    def oldest(self, channel: str) -> Position | None:
        """Return the position of the oldest record kept, None if there is none."""
        return self._first(channel, begin_at(None))

    def newest(self, channel: str) -> Position | None:
        """Return the position of the newest record: a tick that asking for it makes."""
        latest = streaming_pb2.DeliverPolicy(latest=streaming_pb2.Nothing())
        return self._first(channel, latest)

    def holds(self, start: Position, *, inclusive: bool = True) -> bool:
        """Tell whether reading can begin at ``start`` without missing a record."""
        try:
            place = place_of(start)
            arrival = Arrival(start.channel, place, inclusive=inclusive)
            for message in self._ask(start.channel, begin_at(place)):
                stored = UNSTORED not in message.properties
                arrival.admits(place_in(message), stored=stored)
                if arrival.is_over:
                    return arrival.has_come or self._reaches_back_to(start)
        except PositionLostError:
            return False
        return False

    def position(self, channel: str, message_id: bytes) -> Position:
        """Return the position that Milvus's catalog means by an id."""
        return position_of(channel, place_of_id(self._queue_of(channel), message_id))

    def reached(self, position: Position, mark: Position) -> bool:
        """Tell whether ``position`` is ``mark`` or comes after it in their channel."""
        one, other = place_of(position), place_of(mark)
        if one.time and other.time:
            return (one.time, one.rank) >= (other.time, other.rank)
        return one.rank >= other.rank

    def reach(self) -> None:
        """Have a node say something; raises as every method."""
        with closing(self._catalog()) as catalog:
            channels = sorted(key for key, _ in catalog.read_below([PLACES]))
        if not channels:
            raise TransientError("by its etcd the source has no channel at any node")
        self._queue_of(channels[0].removeprefix(PLACES))

    def close(self) -> None:
        """Stop within a second and release everything. Idempotent; any thread."""
        super().close()
        self._connections.close()

    def _stream(self, channel: str, start: Place | None, *, inclusive: bool) -> Stream:
        if start is not None and not start.queue:
            raise OperatorError(f"{channel}: {_NOT_BY_NODES}")
        if start is not None and find_node(channel, self._catalog) is None:
            raise PositionLostError(f"{channel}: the source has no such channel")
        arrival = Arrival(channel, start, inclusive=inclusive)
        where = self._catalog, self._connections
        return NodeStream(channel, start, arrival, self._shared, *where)

    def _reaches_back_to(self, start: Position) -> bool:
        oldest = self.oldest(start.channel)
        return oldest is not None and place_of(start).rank >= place_of(oldest).rank

    def _queue_of(self, channel: str) -> int:
        """Return the number of the queue that the source's log is in."""
        if not self._queue:
            found = find_node(channel, self._catalog)
            if found is None:
                raise OperatorError(f"{channel}: the source has no such channel")
            with closing(
                Consumer(found, None, self._connections, ASK_SECONDS)
            ) as consumer:
                name = consumer.queue_name()
            if name not in QUEUES:
                raise OperatorError(f"the source's log is in a queue named {name!r}")
            self._queue = QUEUES[name]
        return self._queue

    def _first(
        self, channel: str, policy: streaming_pb2.DeliverPolicy
    ) -> Position | None:
        for message in self._ask(channel, policy):
            if UNSTORED not in message.properties:
                return position_of(channel, place_in(message))
        return None

    def _ask(
        self, channel: str, policy: streaming_pb2.DeliverPolicy
    ) -> Iterator[streaming_pb2.ImmutableMessage]:
        """Yield what a short call delivers; nothing if there is no such channel."""
        if self._closed.is_set():
            raise TransientError(_CLOSED)
        found = find_node(channel, self._catalog)
        if found is not None:
            call = Consumer(found, policy, self._connections, ASK_SECONDS)
            with closing(call) as consumer:
                yield from (each.message for each in consumer.messages())
