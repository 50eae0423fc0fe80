"""Follows one topic of Pulsar in a thread of its own.

The client takes messages ahead by their number, not by their bytes, so that number is
small; what waits in the buffer is bounded in bytes. A message that does not follow the
one before it by its number may follow a gap, for Pulsar goes on at the next message
that it still has, silently. If the one before is still kept, nothing has been removed;
then reading begins there again, and what comes next the second time is next.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from pulsar import MessageId, PulsarException, Timeout

from cdc_actors.errors import CdcError, PositionLostError, TransientError
from cdc_actors.source.wal.buffer import RECORD_OVERHEAD
from cdc_actors.source.wal.pulsar.positions import (
    IdentifiedRecord,
    entry_id,
    first_entry,
    id_of,
    place_of,
    position_of,
)

if TYPE_CHECKING:
    from pulsar import Reader

    from cdc_actors.changes import Position, Record
    from cdc_actors.source.wal.buffer import RecordBuffer
    from cdc_actors.source.wal.pulsar.bounds import PulsarBounds
    from cdc_actors.source.wal.pulsar.connection import PulsarLink
    from cdc_actors.source.wal.pulsar.positions import Place

BUFFER_BYTES = 16 << 20
"""Bytes that wait for one channel before nothing more is taken from the client."""

QUEUE = 16
"""Messages that the client takes ahead for one channel."""

_BATCH_BYTES = 1 << 20
_BATCH = 500
_READ_TIMEOUT_MS = 2000
_RETRY_DELAY = 0.5
_RECONNECT_GRACE = 3.0
"""Seconds in which the client may reconnect before the source counts as away."""

_log = structlog.get_logger(__name__)


class TopicPuller:
    """Brings the messages of one topic into the buffer.

    Args:
        link: The connection; stays the reader's.
        bounds: Says whether a message is kept.
        channel: The channel whose topic it is.
        start: The first message to read, the oldest one kept if None.
        inclusive: Whether ``start`` itself is read.
        buffer: Where records go.
    """

    def __init__(
        self,
        link: PulsarLink,
        bounds: PulsarBounds,
        buffer: RecordBuffer,
        channel: str,
        start: Position | None,
        *,
        inclusive: bool,
    ) -> None:
        self._link = link
        self._bounds = bounds
        self._buffer = buffer
        self._channel = channel
        self._next, inclusive = _first(start, inclusive=inclusive)
        self._place = place_of(self._next)
        self._taken = not inclusive
        self._seen = False
        self._jump: Place | None = None
        self._arrived: list[Record] = []
        self._room = threading.Event()
        self._closing = threading.Event()
        self.thread = threading.Thread(
            target=self._run, name=f"pulsar-{channel}", daemon=True
        )

    def start(self) -> None:
        """Begin to follow."""
        self.thread.start()

    def wake(self) -> None:
        """Look again whether there is room in the buffer. Any thread."""
        self._room.set()

    def stop(self) -> None:
        """Ask the thread to end. Any thread."""
        self._closing.set()
        self._room.set()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._follow()
        except CdcError as error:
            self._fail(error)
        except PulsarException as error:
            self._fail(self._link.translate(error))
        except Exception as error:  # noqa: BLE001 - must not look like an idle log
            self._fail(TransientError(f"{self._channel}: {error!r}"))

    def _fail(self, error: CdcError) -> None:
        if not self._closing.is_set():
            self._hand_over()
            self._buffer.fail(error)

    def _follow(self) -> None:
        """Read from the message taken last until stopped, or until one seems missing."""
        reader = self._open()
        last_heard = time.monotonic()
        while reader is not None and not self._closing.is_set():
            self._wait_for_room()
            if not self._take(reader):
                with suppress(PulsarException):
                    reader.close()
                return
            if self._arrived or reader.is_connected():
                last_heard = time.monotonic()
            elif time.monotonic() - last_heard > _RECONNECT_GRACE:
                raise self._link.translate(TransientError("not connected"))
            self._hand_over()

    def _open(self) -> Reader | None:
        """Open the topic once it exists; None if stopped before."""
        while not self._closing.is_set():
            if self._link.exists(self._channel):
                reader = self._link.open(self._channel, self._next, QUEUE)
                if reader is not None:
                    self._seen = False
                    return reader
            self._closing.wait(_RETRY_DELAY)
        return None

    def _wait_for_room(self) -> None:
        while not self._buffer.may_fetch(self._channel, BUFFER_BYTES):
            self._room.clear()
            if self._closing.is_set() or self._buffer.size(self._channel) == 0:
                return
            self._room.wait()

    def _take(self, reader: Reader) -> bool:
        """Take what is there, waiting a moment for the first message.

        Returns False if reading must begin again.
        """
        size, wait = 0, _READ_TIMEOUT_MS
        with suppress(Timeout):
            while size < _BATCH_BYTES and len(self._arrived) < _BATCH:
                message = reader.read_next(timeout_millis=wait)
                message_id = message.message_id()
                place, wait = place_of(message_id), 0
                if self._is_repeated(place):
                    continue
                if not self._is_next(message_id, place):
                    return False
                payload = message.data()
                size += len(payload) + RECORD_OVERHEAD
                record = IdentifiedRecord(self._channel, payload, message_id)
                self._arrived.append(record)
                self._next, self._place = message_id, place
                self._seen = self._taken = True
        return True

    def _is_repeated(self, place: Place) -> bool:
        """Tell whether a message has been taken already, or is not wanted."""
        if place == self._place:
            self._seen = True
            return self._taken
        return place < self._place

    def _is_next(self, message_id: MessageId, place: Place) -> bool:
        """Tell whether a message comes next. If not, reading must begin again.

        Raises:
            PositionLostError: Messages were removed before they were read.
        """
        ledger, entry, batch = self._place
        if ledger < 0 or place in {self._place, self._jump}:
            follows = True
        else:
            begins = first_entry(message_id) == (ledger, entry + 1)
            same = place == (ledger, entry, batch + 1)
            follows = self._seen and (begins or same)
        if follows:
            self._jump = None
            return True
        before = position_of(self._channel, self._next)
        if self._bounds.lost(before) is not None:
            raise PositionLostError(
                f"{self._channel}: messages after {before.text} were removed before "
                f"they were read, the log goes on at {place[0]}:{place[1]}: the "
                "retention of the source's Pulsar was faster"
            )
        self._jump = place
        return False

    def _hand_over(self) -> None:
        arrived, self._arrived = self._arrived, []
        self._buffer.put(self._channel, arrived)


def _first(start: Position | None, *, inclusive: bool) -> tuple[MessageId, bool]:
    """Return the id to begin with, and whether its message is read."""
    if start is None:
        return MessageId.earliest, True
    named = id_of(start)
    ledger, entry, _ = place_of(named)
    if ledger < 0:
        return MessageId.earliest, True
    # An entry of -1 stands before the first one of its ledger.
    return (named, inclusive) if entry >= 0 else (entry_id(ledger, 0), True)
