"""Reads natsmq, the NATS JetStream server inside a Milvus.

Each physical channel is a stream of the same name, each record one message, its number
in the stream the position (Milvus 2.3.5: ``pkg/mq/msgstream/mqwrapper/nmq``). An event
loop in a thread of the reader follows the streams; the methods hand over to it.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from cdc_actors.changes import Position
from cdc_actors.errors import CdcError, TransientError
from cdc_actors.source.wal.base import WalReader
from cdc_actors.source.wal.buffer import RecordBuffer
from cdc_actors.source.wal.natsmq.connection import JetStream
from cdc_actors.source.wal.natsmq.limits import kept_seconds
from cdc_actors.source.wal.natsmq.positions import (
    next_sequence,
    position_of,
    sequence_of,
    stream_of,
)
from cdc_actors.source.wal.natsmq.puller import StreamPuller, lost_record, made_at

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine

    from nats.js.api import StreamInfo

    from cdc_actors.changes import Record
    from cdc_actors.memory_budget import Quota

_ANSWER_TIMEOUT = 5.0
_STOP_TIMEOUT = 1.0
_CANCEL_INTERVAL = 0.1

T = TypeVar("T")


class NatsReader(WalReader):
    """A ``WalReader`` of natsmq.

    Connects when it is made.

    Args:
        address: A URL ``nats://host:port``, perhaps with ``user:password@``.
        quota: What may be fetched ahead of the service's memory.

    Raises:
        TransientError: The server cannot be reached.
        OperatorError: It refuses the login, or the address is not one.
    """

    def __init__(self, address: str, quota: Quota | None = None) -> None:
        self._buffer = RecordBuffer(self._on_taken, quota)
        self._control = JetStream(address, self._fail)
        self._pullers: dict[str, tuple[StreamPuller, asyncio.Task[None]]] = {}
        self._closed = False
        self._stop = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, name="natsmq-reader", daemon=True
        )
        self._thread.start()
        try:
            self._call(self._control.connect())
        except BaseException:
            self.close()
            raise

    def subscribe(
        self, channel: str, start: Position | None, *, inclusive: bool = True
    ) -> None:
        """Deliver ``channel`` from ``start`` on, or from the oldest record if None.

        A position that is lost is found out here if the server can be asked, else by
        ``poll``.

        Raises:
            ValueError: The channel is already subscribed to.
        """
        first = 0 if start is None else next_sequence(start, inclusive=inclusive)
        stream = stream_of(start) if start else ""
        self._call(self._subscribe(channel, first, stream))

    def poll(
        self, timeout: float, channels: Collection[str] | None = None
    ) -> list[Record]:
        """Return what has arrived; after an error, first what came before it."""
        return self._buffer.take(timeout, channels)

    def oldest(self, channel: str) -> Position | None:
        """Return the position of the oldest record kept, None if there is none."""
        info = self._call(self._with_records(channel))
        return (
            position_of(channel, info.state.first_seq, made_at(info)) if info else None
        )

    def newest(self, channel: str) -> Position | None:
        """Return the position of the newest record, None if there is none."""
        info = self._call(self._with_records(channel))
        return (
            position_of(channel, info.state.last_seq, made_at(info)) if info else None
        )

    def written_since(self, channel: str, seconds: float) -> Position | None:
        """Return the first record of a time or later; see ``WalReader``."""
        return self._call(self._written_since(channel, seconds))

    def holds(self, start: Position, *, inclusive: bool = True) -> bool:
        """Tell whether reading can begin at ``start`` without missing a record."""
        first = next_sequence(start, inclusive=inclusive)
        info = self._call(self._control.stream(start.channel))
        return lost_record(start.channel, first, stream_of(start), info) is None

    def bytes_between(self, start: Position, end: Position | None = None) -> int | None:
        """Return how many bytes there are; see ``WalReader``.

        The server tells those of the whole stream: they are taken to be spread evenly.
        """
        info = self._call(self._with_records(start.channel))
        if info is None:
            return 0
        state = info.state
        first, behind = state.first_seq, state.last_seq + 1
        begin = max(first, sequence_of(start))
        stop = behind if end is None else min(behind, sequence_of(end))
        return state.bytes * max(0, stop - begin) // (behind - first)

    def position(self, channel: str, message_id: bytes) -> Position:
        """Return the position of an id as Milvus keeps it; see ``WalReader``."""
        named = Position(channel, message_id, message_id.hex())
        return position_of(channel, sequence_of(named))

    def reached(self, position: Position, mark: Position) -> bool:
        """Tell whether ``position`` is ``mark`` or comes after it in their channel."""
        return sequence_of(position) >= sequence_of(mark)

    def kept_seconds(self, channel: str) -> float | None:
        """Return for how long the stream keeps a record; see ``WalReader``."""
        stream = self._call(self._control.stream_state(channel))
        return kept_seconds(stream) if stream else None

    def close(self) -> None:
        """Stop within a second and release everything. Idempotent; any thread."""
        self._closed = True
        self._buffer.close(_closed())
        try:
            self._loop.call_soon_threadsafe(self._stop.set)
        except RuntimeError:  # The loop is closed: somebody was faster.
            return
        self._thread.join(_STOP_TIMEOUT)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        await self._stop.wait()
        pullers = self._pullers.values()
        running = {task for _, task in pullers}
        while running:
            # Not once: ``wait_for`` of Python 3.11, which nats-py uses, may swallow it.
            self._cancel()
            _, running = await asyncio.wait(running, timeout=_CANCEL_INTERVAL)
        await asyncio.gather(*(puller.release() for puller, _ in pullers))
        await self._control.close()

    async def _subscribe(self, channel: str, first: int, stream: str) -> None:
        if channel in self._pullers:
            raise ValueError(f"{channel} is already subscribed to")
        if first:
            info = await self._control.stream(channel)
            error = lost_record(channel, first, stream, info)
            if error is not None:
                raise error
        puller = StreamPuller(
            self._control, channel, first, stream, self._buffer, self._fail
        )
        task = asyncio.create_task(puller.run())
        task.add_done_callback(self._on_puller_ended)
        self._pullers[channel] = puller, task

    async def _written_since(self, channel: str, seconds: float) -> Position | None:
        info = await self._with_records(channel)
        made = await self._control.consumer_since(channel, seconds) if info else None
        if info is None or made is None:
            return None
        name, first = made
        await self._control.delete_consumer(channel, name)
        is_there = first <= info.state.last_seq
        return position_of(channel, first, made_at(info)) if is_there else None

    async def _with_records(self, channel: str) -> StreamInfo | None:
        info = await self._control.stream(channel)
        return info if info and info.state.messages else None

    def _call(self, work: Coroutine[None, None, T]) -> T:
        if self._closed:
            work.close()
            raise _closed()
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # Closed this very moment.
            work.close()
            raise _closed() from None
        try:
            return future.result(_ANSWER_TIMEOUT)
        except CancelledError:
            raise _closed() from None
        except TimeoutError as error:
            future.cancel()
            raise TransientError("natsmq: no answer in time") from error

    def _fail(self, error: CdcError) -> None:
        self._buffer.fail(error)
        self._cancel()

    def _on_puller_ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, CdcError):
            self._fail(error)
        elif error is not None:
            # A mistake in the code must not look like a log in which nothing happens.
            self._fail(TransientError(f"natsmq: {error!r}"))

    def _cancel(self) -> None:
        for _, task in self._pullers.values():
            task.cancel()

    def _on_taken(self, channels: set[str]) -> None:
        with suppress(RuntimeError):  # Closed meanwhile.
            self._loop.call_soon_threadsafe(self._wake, channels)

    def _wake(self, channels: set[str]) -> None:
        for channel in channels:
            self._pullers[channel][0].wake()


def _closed() -> TransientError:
    return TransientError("the reader of natsmq is closed")
