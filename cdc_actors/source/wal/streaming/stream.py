"""One channel that is read from whichever streaming node has it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from cdc_actors.errors import CdcError, TransientError
from cdc_actors.source.wal.buffer import TAKEN_BYTES
from cdc_actors.source.wal.streaming import streaming_pb2
from cdc_actors.source.wal.streaming.arrival import Arrival
from cdc_actors.source.wal.streaming.node import ChannelMovedError, Consumer, find_node
from cdc_actors.source.wal.streaming.positions import (
    UNSTORED,
    NodeRecord,
    Place,
    place_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.source.catalog.client import Catalog
    from cdc_actors.source.wal.buffer import RecordBuffer

SILENCE_SECONDS = 30.0
"""A node ticks five times a second: one that is silent for so long is as good as gone."""

MOVE_SECONDS = 20.0
"""How long a channel may be on its way from one node to another."""

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


class NodeStream:
    """Reads a channel ahead, in a thread of its own, into ``buffer``."""

    def __init__(
        self,
        channel: str,
        start: Place | None,
        arrival: Arrival,
        catalog: Callable[[], Catalog],
        buffer: RecordBuffer,
        taken: threading.Condition,
    ) -> None:
        """``taken`` is told when there may be room in the buffer."""
        self._channel = channel
        self._last = start
        self._arrival = arrival
        self._catalog = catalog
        self._buffer = buffer
        self._taken = taken
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
            self._buffer.fail(
                TransientError(
                    f"{self._channel}: its streaming node has said nothing for "
                    f"{SILENCE_SECONDS:.0f} seconds, where it ticks five times in one"
                )
            )

    def cancel(self) -> None:
        """Have the thread end. Any thread."""
        self._stopped.set()
        with self._taken:
            self._taken.notify_all()
        if (consumer := self._consumer) is not None:
            consumer.close()

    def join(self, seconds: float) -> None:
        """Wait for the thread, so long at most."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self._read()
        except CdcError as error:
            self._buffer.fail(error)
        except Exception as error:  # noqa: BLE001 - must not look like a quiet channel
            self._buffer.fail(
                TransientError(f"{self._channel}: reading failed with {error!r}")
            )
        finally:
            self._heard = None

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
        found = find_node(self._channel, self._catalog)
        if found is None:
            return False
        self._consumer = consumer = Consumer(found, begin_at(self._last))
        try:
            if not self._stopped.is_set():
                for message in consumer.messages():
                    self._take(message)
        finally:
            consumer.close()
            self._resume_behind()
        return True

    def _resume_behind(self) -> None:
        """Go on behind what was delivered last, should there be another call."""
        if self._arrival.is_over:
            self._arrival = Arrival(self._channel, self._last, inclusive=False)

    def _take(self, message: streaming_pb2.ImmutableMessage) -> None:
        self._heard = time.monotonic()
        place, stored = place_in(message), UNSTORED not in message.properties
        if not self._arrival.admits(place, stored=stored):
            return
        if stored:
            self._last = place
        elif self._last is None:
            return
        record = NodeRecord(
            self._channel,
            message.payload,
            dict(message.properties),
            self._last or place,
        )
        self._await_room()
        self._buffer.put(self._channel, [record])

    def _await_room(self) -> None:
        """Wait without taking the node for silent."""
        with self._taken:
            while not self._stopped.is_set() and not self._buffer.may_fetch(
                self._channel, TAKEN_BYTES
            ):
                self._heard = None
                self._taken.wait(_LOOK_SECONDS)
        self._heard = time.monotonic()
