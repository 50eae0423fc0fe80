"""Follows one JetStream stream by pull requests, one at a time.

A pull is bounded in bytes by the server, and the next one is sent only when its bytes
fit into the buffer beside what is there: the bound holds whatever arrives. Each stream
has a connection of its own, since NATS cuts off a client for which more than 64 MB wait
(``max_pending``), and the pulls of many streams together are more.

The end of a pull: all messages came, or a status says so (408 it expired, 409 the next
message does not fit). Meanwhile the server sends a heartbeat whenever it is idle. If
nothing is heard, a question over another connection tells whether the server is gone.
If it answers, large messages may be on a slow way, or it has forgotten the consumer: at
once or, when the pull ended without a word (the last message filled it to the byte), after
a while. Then another consumer goes on at the next record.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING

import structlog
from nats.js.api import Header

from cdc_actors.errors import CdcError, OperatorError, PositionLostError, TransientError
from cdc_actors.source.wal.buffer import RECORD_OVERHEAD
from cdc_actors.source.wal.natsmq.positions import NumberedRecord
from cdc_actors.source.wal.positions import Kept, LogKind, lost

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from nats.js.api import StreamInfo

    from cdc_actors.source.wal.buffer import RecordBuffer
    from cdc_actors.source.wal.natsmq.arrivals import Arrival
    from cdc_actors.source.wal.natsmq.connection import JetStream

PREFETCH_BYTES = 32 << 20
"""Bytes that may be buffered for one channel, the running pull included."""

PULL_BYTES = 2 << 20
"""Bytes of one pull, until large records come."""

FRAME_BYTES = 64 << 10
"""Bytes that the server counts for a message beside its payload, at most."""

_BATCH = 1000
_LARGE_PER_PULL = 3
"""Large records in one pull. One that does not fit is read by NATS in vain, so that what
is asked for is as many as fit, by the largest of the last pull, and not as many bytes."""

_PULL_TIMEOUT = 30.0
_HEARTBEAT_INTERVAL = 1.0
_SILENCE_TIMEOUT = 1.5
_RETRY_DELAY = 1.0
_CONSUMER_GONE = ("consumer deleted", "leadership change", "server shutdown")
_PULL_FULL = ("message size exceeds maxbytes", "batch completed")

NATSMQ = LogKind("natsmq", "stream", "the source's retention (natsmq.server.retention)")

_log = structlog.get_logger(__name__)


def kept(info: StreamInfo | None) -> Kept | None:
    """Return what a stream holds, None if there is none."""
    if info is None:
        return None
    return Kept(max(1, info.state.first_seq), info.state.last_seq + 1)


def made_at(info: StreamInfo | None) -> str:
    """Return when a stream was made, empty if the server does not say."""
    return info.created.isoformat() if info and info.created else ""


def lost_record(
    channel: str, wanted: int, stream: str, info: StreamInfo | None
) -> PositionLostError | None:
    """Return the error if a stream does not go on at record ``wanted``, None if it does.

    ``stream`` is when the one was made that the record is of, empty if unknown; 0 stands
    for the oldest record that there is.
    """
    made = made_at(info)
    if stream and made and stream != made:
        return PositionLostError(
            f"{channel}: record {wanted} is of the stream made at {stream}, and there is "
            f"one made at {made}: its stream was recreated, or is another Milvus's"
        )
    return lost(channel, wanted, kept(info), NATSMQ) if wanted else None


def _has_reply(message: Arrival) -> bool:
    """Tell a record from what the server itself says."""
    return bool(message.reply)


class StreamPuller:
    """Brings the records of one stream into the buffer. Lives in the reader's loop.

    Args:
        control: The connection for questions; stays the reader's.
        channel: Name of the stream.
        start: The first record to read, the oldest one kept if 0.
        stream: When the stream was made that it is of, empty if unknown.
        buffer: Where records go.
        failed: Called with what ends the reading, unless ``run`` raises it.
    """

    def __init__(
        self,
        control: JetStream,
        channel: str,
        start: int,
        stream: str,
        buffer: RecordBuffer,
        failed: Callable[[CdcError], None],
    ) -> None:
        self._control = control
        self._link = control.another(failed)
        self._channel = channel
        self._next = start
        self._stream = stream
        self._buffer = buffer
        self._failed = failed
        self._largest = control.max_payload + FRAME_BYTES
        self._pull_bytes = min(PULL_BYTES, self._largest)
        self._consumer: str | None = None
        self._gone = False
        self._record_bytes = 0
        self._batch = self._left = _BATCH
        self._heard = 0
        self._arrived: list[Arrival] = []
        self._room = asyncio.Event()
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Follow the stream until cancelled, or raise what ends it."""
        await self._link.connect()
        while True:
            await self._follow(await self._attach())

    async def release(self) -> None:
        """Leave nothing behind at the server. After ``run`` has ended."""
        await self._detach()
        await self._link.close()

    def wake(self) -> None:
        """Look again whether there is room in the buffer."""
        self._room.set()

    async def _attach(self) -> str:
        """Create a consumer at the next record, once the stream exists."""
        await self._detach()
        while True:
            info = await self._control.stream(self._channel)
            self._check(info)
            made = info and await self._control.create_consumer(
                self._channel, self._next
            )
            if made:
                break
            await asyncio.sleep(_RETRY_DELAY)
        self._consumer, first = made
        if self._next not in (0, first):
            raise self._removed(first)
        self._next = first
        return self._consumer

    def _check(self, info: StreamInfo | None) -> None:
        """Raise if the stream is not the one read so far, or has lost records."""
        error = lost_record(self._channel, self._next, self._stream, info)
        if error is not None:
            raise error
        self._stream = made_at(info) or self._stream

    async def _detach(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await self._control.delete_consumer(self._channel, consumer)

    async def _follow(self, consumer: str) -> None:
        """Pull until the consumer is gone."""
        subscription = await self._link.listen(self._on_messages)
        self._gone = False
        try:
            while not self._gone:
                self._size_next_pull()
                await self._wait_for_room()
                await self._pull(consumer, subscription.subject)
                await self._wait_for_end(consumer)
        finally:
            await self._link.forget(subscription)

    def _size_next_pull(self) -> None:
        """Let the next pull be as large as suits the records of the last one."""
        each = self._record_bytes + RECORD_OVERHEAD
        wanted = min(_LARGE_PER_PULL * each, self._largest)
        self._pull_bytes = max(self._pull_bytes, wanted)
        self._batch = min(_BATCH, max(1, self._pull_bytes // each))
        self._record_bytes = 0

    async def _wait_for_room(self) -> None:
        reserved = self._pull_bytes + self._batch * RECORD_OVERHEAD
        while not self._buffer.may_fetch(self._channel, PREFETCH_BYTES - reserved):
            self._room.clear()
            await self._room.wait()

    async def _pull(self, consumer: str, inbox: str) -> None:
        self._left = self._batch
        self._ended.clear()
        request = {
            "batch": self._batch,
            "max_bytes": self._pull_bytes,
            "expires": int(_PULL_TIMEOUT * 1e9),
            "idle_heartbeat": int(_HEARTBEAT_INTERVAL * 1e9),
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._channel}.{consumer}"
        await self._link.publish(subject, json.dumps(request).encode(), inbox)

    async def _wait_for_end(self, consumer: str) -> None:
        while not self._ended.is_set():
            heard = self._heard
            with suppress(TimeoutError):
                async with asyncio.timeout(_SILENCE_TIMEOUT):
                    await self._ended.wait()
            if self._heard == heard:
                await self._check_consumer(consumer)

    async def _check_consumer(self, consumer: str) -> None:
        """Find out why nothing is heard; raise if the server is gone."""
        _log.debug("natsmq_silent", channel=self._channel, consumer=consumer)
        if not await self._control.has_consumer(self._channel, consumer):
            self._leave()

    def _leave(self) -> None:
        self._gone = True
        self._ended.set()

    def _on_messages(self, messages: list[Arrival]) -> None:
        self._heard += 1
        if not self._arrived:
            asyncio.get_running_loop().call_soon(self._end_turn)
        self._arrived += messages

    def _end_turn(self) -> None:
        """Take all that came in one turn of the loop."""
        arrived, self._arrived = self._arrived, []
        try:
            for has_reply, stretch in groupby(arrived, key=_has_reply):
                if has_reply:
                    self._hand_over(list(stretch))
                else:
                    for each in stretch:
                        self._on_status(*each.status)
        except Exception as error:  # noqa: BLE001 - must not look like an idle log
            self._failed(TransientError(f"natsmq: {error!r}"))

    def _hand_over(self, arrived: list[Arrival]) -> None:
        """Wake the polling thread once for all of these."""
        self._left -= len(arrived)
        if not self._left:
            self._ended.set()
        sizes = [len(each.payload) for each in arrived]
        self._record_bytes = max(self._record_bytes, *sizes, 0)
        following = self._following(arrived)
        numbers = enumerate(arrived[:following], self._next)
        self._next += following
        self._buffer.put(
            self._channel,
            [
                NumberedRecord(self._channel, each.payload, number, self._stream)
                for number, each in numbers
            ],
        )
        if following < len(arrived):
            first_after_gap = arrived[following]
            self._failed(
                self._removed(first_after_gap.sequence, first_after_gap.written)
            )

    def _following(self, arrived: list[Arrival]) -> int:
        """Return how many messages follow what was read without a gap.

        Numbers only grow: if the last one is right, so are all, and most need no look.
        """
        if arrived[-1].sequence == self._next + len(arrived) - 1:
            return len(arrived)
        return next(
            index
            for index, each in enumerate(arrived)
            if each.sequence != self._next + index
        )

    def _on_status(self, code: str, description: str, more: dict[str, str]) -> None:
        match code, description.lower():
            case "100", _:
                self._on_heartbeat(int(more.get(Header.LAST_STREAM, 0)))
            case "408", _:
                self._ended.set()
            case "409", reason if reason in _PULL_FULL:
                self._on_full()
            case "409", reason if reason in _CONSUMER_GONE:
                self._leave()
            case _:
                text = (
                    f"{self._channel}: natsmq ended the reading: {code} {description}"
                )
                self._failed(TransientError(text))

    def _on_heartbeat(self, last: int) -> None:
        """See what was removed even if no record follows that shows the gap."""
        if last >= self._next:
            self._failed(self._removed(last + 1))

    def _on_full(self) -> None:
        if self._left == self._batch and self._pull_bytes < self._largest:
            self._pull_bytes = min(2 * self._pull_bytes, self._largest)
            self._ended.set()
            return
        if self._left < self._batch:
            self._ended.set()
            return
        self._failed(
            OperatorError(
                f"{self._channel}: record {self._next} is larger than the source's "
                f"natsmq.server.maxPayload ({self._control.max_payload} bytes): set it "
                "back to what it was when the record was written"
            )
        )

    def _removed(
        self, found: int, written: dt.datetime | None = None
    ) -> PositionLostError:
        since = f", written {written:%Y-%m-%d %H:%M:%S} UTC" if written else ""
        return PositionLostError(
            f"{self._channel}: record {self._next} was removed before it was read, the "
            f"log goes on at {found}{since}: the source's retention "
            "(natsmq.server.retention) was faster"
        )
