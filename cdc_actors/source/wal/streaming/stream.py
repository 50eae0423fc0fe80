"""One channel that is read from whichever streaming node has it."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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
    from collections.abc import Callable

    from cdc_actors.changes import Record
    from cdc_actors.source.catalog.client import Catalog
    from cdc_actors.source.wal.buffer import RecordBuffer

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

    catalog: Callable[[], Catalog]
    buffer: RecordBuffer
    taken: threading.Condition
    connections: Connections = field(default_factory=Connections)
    arrived: threading.Event = field(default_factory=threading.Event)


class NodeStream:
    """Reads a channel ahead, in a thread of its own."""

    def __init__(
        self, channel: str, start: Place | None, arrival: Arrival, shared: Shared
    ) -> None:
        self._channel = channel
        self._shared = shared
        self._last: bytes | Place | None = start
        self._arrival = arrival
        self._ready: deque[Record] = deque()
        self._collecting = threading.Lock()
        self._ahead = 0
        self._stopped = threading.Event()
        self._consumer: Consumer | None = None
        self._heard: float | None = time.monotonic()
        self._thread = threading.Thread(
            target=self._run, name=f"consume-{channel}", daemon=True
        )
        self._thread.start()

    def check_alive(self) -> None:
        """End the reading, with an error, if the node has been silent for too long."""
        heard = self._heard
        if heard is not None and time.monotonic() - heard > SILENCE_SECONDS:
            self._shared.buffer.fail(
                TransientError(
                    f"{self._channel}: its streaming node has said nothing for "
                    f"{SILENCE_SECONDS:.0f} seconds, where it ticks five times in one"
                )
            )

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
        if (consumer := self._consumer) is not None:
            consumer.close()

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
                if not self._consume():
                    pause = _ABSENT_SECONDS
            except ChannelMovedError:
                now = time.monotonic()
                if moving_since is None or self._last != last:
                    moving_since = now
                if now - moving_since > MOVE_SECONDS:
                    raise
            self._heard = time.monotonic()
            self._stopped.wait(pause)

    def _consume(self) -> bool:
        """Read until that fails; tell whether there is such a channel at all."""
        found = find_node(self._channel, self._shared.catalog)
        if found is None:
            return False
        start = begin_at(self._place())
        self._consumer = consumer = Consumer(found, start, self._shared.connections)
        try:
            if not self._stopped.is_set():
                for delivery in consumer.messages():
                    self._take(*delivery)
        finally:
            consumer.close()
            self._resume_behind()
        return True

    def _resume_behind(self) -> None:
        """Go on behind what was delivered last, should there be another call."""
        if self._arrival.is_over:
            self._arrival = Arrival(self._channel, self._place(), inclusive=False)

    def _place(self) -> Place | None:
        return None if self._last is None else place_behind(self._last)

    def _take(self, message: streaming_pb2.ImmutableMessage, payload: bytes) -> None:
        self._heard = time.monotonic()
        stored = UNSTORED not in message.properties
        if not self._arrival.is_over and not self._arrival.admits(
            place_in(message), stored=stored
        ):
            return
        head = message.SerializeToString()
        if stored:
            self._last = head
        elif self._last is None:
            return
        self._ready.append(NodeRecord(self._channel, payload, head, self._last))
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
