"""One channel that is read ahead, through whatever delivers it."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self

from cdc_actors.errors import CdcError, TransientError
from cdc_actors.source.wal.buffer import RECORD_OVERHEAD, TAKEN_BYTES
from cdc_actors.source.wal.streaming import streaming_pb2
from cdc_actors.source.wal.streaming.arrival import Arrival
from cdc_actors.source.wal.streaming.node import (
    ChannelMovedError,
    Connections,
    Consumer,
    find_node,
)
from cdc_actors.source.wal.streaming.positions import (
    UNSTORED,
    NodeRecord,
    Place,
    place_behind,
    place_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cdc_actors.changes import Record
    from cdc_actors.source.catalog.client import Catalog
    from cdc_actors.source.wal.buffer import RecordBuffer
    from cdc_actors.source.wal.streaming.delivery import Delivery

SILENCE_SECONDS = 30.0
"""A node ticks five times a second: one that is silent for so long is as good as gone."""

MOVE_SECONDS = 20.0
"""How long a channel may be on its way from one node to another."""

_AHEAD_BYTES = 64 << 10
"""What is taken of a node before it is looked whether there is room for more."""

_LOOK_SECONDS = 0.2
_ABSENT_SECONDS = 5.0


def begin_at(place: Place | None) -> streaming_pb2.DeliverPolicy:
    """Return where a node has to begin for what is at a place; None is the oldest.

    With that Woodpecker begins behind what Milvus has flushed (2.6.20).
    """
    if place is None:
        return streaming_pb2.DeliverPolicy(all=streaming_pb2.Nothing())
    start = streaming_pb2.MessageID(id=place.confirmed, wal_name=place.queue)
    return streaming_pb2.DeliverPolicy(start_from=start)


@dataclass(frozen=True, slots=True)
class Shared:
    """What the streams of one reader have in common.

    ``taken`` is told when there may be room in ``buffer``; ``arrived`` tells that there is
    something to collect that should not wait.
    """

    buffer: RecordBuffer
    taken: threading.Condition
    arrived: threading.Event = field(default_factory=threading.Event)


class Call(Protocol):
    """What a source delivers of a channel. One thread iterates, any may ``close``."""

    def messages(self) -> Iterator[Delivery]:
        """Yield messages in the order of their times; raises ``CdcError``."""

    def close(self) -> None:
        """End the call. Idempotent."""


class Stream(ABC):
    """Reads a channel ahead, in a thread of its own."""

    silent = "its streaming node, which ticks five times in one, has said nothing"

    def __init__(self, channel: str, start: Place | None, shared: Shared) -> None:
        self._channel = channel
        self._shared = shared
        self._last: bytes | Place | None = start
        self._ready: deque[Record] = deque()
        self._collecting = threading.Lock()
        self._ahead = 0
        self._stopped = threading.Event()
        self._call: Call | None = None
        self._heard: float | None = time.monotonic()
        self._thread = threading.Thread(
            target=self._run, name=f"consume-{channel}", daemon=True
        )

    def start(self) -> Self:
        """Begin to read."""
        self._thread.start()
        return self

    @abstractmethod
    def _open(self) -> Call | None:
        """Begin to read behind the last message; None if there is no such channel."""

    @abstractmethod
    def _admits(self, message: streaming_pb2.ImmutableMessage) -> bool:
        """Tell whether a message is to be delivered; raises ``PositionLostError``."""

    @abstractmethod
    def _unstored(
        self, message: streaming_pb2.ImmutableMessage
    ) -> bytes | Place | None:
        """Return behind what to go on after a tick that is not stored, if after any."""

    @abstractmethod
    def _record(self, payload: bytes, head: bytes, last: bytes | Place) -> Record:
        """Return a record of the channel."""

    def _closed(self) -> None:  # noqa: B027 - most have nothing to do
        """Go on behind what was delivered last, should there be another call."""

    def check_alive(self) -> None:
        """End the reading, with an error, if the node has been silent for too long."""
        heard = self._heard
        if heard is not None and time.monotonic() - heard > SILENCE_SECONDS:
            text = f"{self._channel}: {self.silent} for {SILENCE_SECONDS:.0f} seconds"
            self._shared.buffer.fail(TransientError(text))

    def collect(self) -> None:
        """Put what has come into the buffer, in order. Any thread."""
        if not self._ready:
            return
        with self._collecting:
            count = len(self._ready)
            records = [self._ready.popleft() for _ in range(count)]
            self._shared.buffer.put(self._channel, records)

    def cancel(self) -> None:
        """Have the thread end. Any thread."""
        self._stopped.set()
        with self._shared.taken:
            self._shared.taken.notify_all()
        if (call := self._call) is not None:
            call.close()

    def join(self, seconds: float) -> None:
        """Wait for the thread, so long at most."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self._read()
        except CdcError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - must not look like a quiet channel
            text = f"{self._channel}: reading failed with {error!r}"
            self._fail(TransientError(text))
        finally:
            self._heard = None

    def _fail(self, error: CdcError) -> None:
        self.collect()
        self._shared.buffer.fail(error)
        self._shared.arrived.set()

    def _read(self) -> None:
        moving_since: float | None = None
        while not self._stopped.is_set():
            last, pause = self._last, _LOOK_SECONDS
            try:
                pause = 0.0 if self._deliver() else _ABSENT_SECONDS
            except ChannelMovedError:
                now = time.monotonic()
                if moving_since is None or self._last != last:
                    moving_since = now
                if now - moving_since > MOVE_SECONDS:
                    raise
            self._heard = time.monotonic()
            self._stopped.wait(pause)

    def _deliver(self) -> bool:
        """Read until that ends or fails; tell whether there is such a channel at all."""
        self._call = call = self._open()
        if call is None:
            return False
        try:
            if not self._stopped.is_set():
                for delivery in call.messages():
                    self._take(*delivery)
        finally:
            call.close()
            self._closed()
        return True

    def _take(self, message: streaming_pb2.ImmutableMessage, payload: bytes) -> None:
        self._heard = time.monotonic()
        if not self._admits(message):
            return
        stored = UNSTORED not in message.properties
        head = message.SerializeToString()
        last = head if stored else self._unstored(message)
        if last is None:
            return
        self._last = last
        self._ready.append(self._record(payload, head, last))
        self._ahead += len(payload) + RECORD_OVERHEAD
        if self._ahead > _AHEAD_BYTES:
            self._ahead = 0
            self.collect()
            self._shared.arrived.set()
            self._await_room()
        elif stored and not self._shared.arrived.is_set():
            self._shared.arrived.set()

    def _await_room(self) -> None:
        """Wait without taking the node for silent."""
        with self._shared.taken:
            while not self._stopped.is_set() and not self._shared.buffer.may_fetch(
                self._channel, TAKEN_BYTES
            ):
                self._heard = None
                self._shared.taken.wait(_LOOK_SECONDS)
        self._heard = time.monotonic()


class NodeStream(Stream):
    """A channel that is read from whichever streaming node has it.

    ``catalog`` opens the source's catalog, which says which one has; ``arrival`` waits for
    what is at the start.
    """

    def __init__(
        self,
        channel: str,
        start: Place | None,
        arrival: Arrival,
        shared: Shared,
        catalog: Callable[[], Catalog],
        connections: Connections,
    ) -> None:
        super().__init__(channel, start, shared)
        self._arrival = arrival
        self._catalog = catalog
        self._connections = connections

    def _open(self) -> Consumer | None:
        found = find_node(self._channel, self._catalog)
        if found is None:
            return None
        return Consumer(found, begin_at(self._place()), self._connections)

    def _closed(self) -> None:
        if self._arrival.is_over:
            self._arrival = Arrival(self._channel, self._place(), inclusive=False)

    def _admits(self, message: streaming_pb2.ImmutableMessage) -> bool:
        stored = UNSTORED not in message.properties
        return self._arrival.is_over or self._arrival.admits(
            place_in(message), stored=stored
        )

    def _unstored(
        self,
        message: streaming_pb2.ImmutableMessage,  # noqa: ARG002
    ) -> bytes | Place | None:
        return self._last

    def _record(self, payload: bytes, head: bytes, last: bytes | Place) -> Record:
        return NodeRecord(self._channel, payload, head, last)

    def _place(self) -> Place | None:
        return None if self._last is None else place_behind(self._last)
