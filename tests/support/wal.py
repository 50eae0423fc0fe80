"""What the contract of the readers needs from a message queue, for each of them."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import nats

from cdc_actors.config import Natsmq, SourceConfig
from cdc_actors.errors import TransientError
from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.source.wal import WalReader, open_reader
from cdc_actors.source.wal.natsmq.positions import position_of, sequence_of
from cdc_actors.source.wal.natsmq.puller import made_at
from cdc_actors.source.wal.shared import SharedLogs
from tests.fakes.memory_log import MemoryLog, MemoryReader

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Callable,
        Collection,
        Iterable,
        Sequence,
    )

    from nats.js import JetStreamContext
    from nats.js.api import StreamInfo

    from cdc_actors.changes import Position, Record
    from cdc_actors.embedded.milvus import EmbeddedMilvus

DEADLINE = 30.0


class Wal(Protocol):
    """A message queue that a test writes to."""

    def append(self, channel: str, payloads: Iterable[bytes]) -> list[Position]:
        """Write records, making the channel if there is none."""

    def truncate(self, channel: str, before: Position | None) -> None:
        """Remove what is older than a position, or all, as retention does."""

    def stop(self) -> None:
        """Take the queue away."""

    def start(self) -> None:
        """Bring it back, with its records."""

    def channels(self) -> set[str]:
        """Return the channels that exist."""

    def position(self, channel: str, number: int) -> Position:
        """Return where the record of a number, from 1, stands or would stand."""

    def beginning(self, channel: str) -> Position:
        """Return the position that Milvus notes for a channel still empty."""

    def reader(self) -> WalReader:
        """Open a reader."""


class MemoryWal:
    """The double."""

    def __init__(self) -> None:
        self.log = MemoryLog()

    def append(self, channel: str, payloads: Iterable[bytes]) -> list[Position]:
        """Write records, making the channel if there is none."""
        return [self.log.append(channel, payload) for payload in payloads]

    def truncate(self, channel: str, before: Position | None) -> None:
        """Remove what is older than a position, or all."""
        _, end = self.log.bounds(channel) or (1, 1)
        self.log.truncate(channel, before or position_of(channel, end))

    def stop(self) -> None:
        """Take the queue away."""
        self.log.stop()

    def start(self) -> None:
        """Bring it back, with its records."""
        self.log.start()

    def channels(self) -> set[str]:
        """Return the channels that exist."""
        return set(self.log.topics)

    def position(self, channel: str, number: int) -> Position:
        """Return where the record of a number stands or would stand."""
        return position_of(channel, number)

    def beginning(self, channel: str) -> Position:
        """Return the position of a channel still empty."""
        return position_of(channel, 0)

    def reader(self) -> WalReader:
        """Open a reader."""
        return MemoryReader(self.log)


class SharedWal(MemoryWal):
    """The double, read as all tasks of a source read its log."""

    def __init__(self) -> None:
        super().__init__()
        self._logs = SharedLogs()
        self._memory = MemoryBudget(1 << 30)

    def reader(self) -> WalReader:
        """Open a reader."""
        quota = self._memory.quota(1.0)
        return self._logs.open(
            self.log, lambda _quota: MemoryReader(self.log), self._memory, quota
        )


class NatsWal:
    """Streams of the test's own in the NATS server of a Milvus, laid out as natsmq's."""

    def __init__(self, milvus: EmbeddedMilvus) -> None:
        self.milvus = milvus
        self._made: set[str] = set()

    def append(self, channel: str, payloads: Iterable[bytes]) -> list[Position]:
        """Write records, making the channel if there is none."""
        return asyncio.run(self._append(channel, payloads))

    def truncate(self, channel: str, before: Position | None) -> None:
        """Remove what is older than a position, or all."""
        asyncio.run(self._purge(channel, sequence_of(before) if before else None))

    def stop(self) -> None:
        """Take the queue away."""
        self.milvus.kill()

    def start(self) -> None:
        """Bring it back, with its records."""
        self.milvus.start()

    def channels(self) -> set[str]:
        """Return the channels that exist."""
        return {info.config.name or "" for info in asyncio.run(self._streams())}

    def position(self, channel: str, number: int) -> Position:
        """Return where the record of a number stands or would stand."""
        return position_of(channel, number)

    def beginning(self, channel: str) -> Position:
        """Return the position of a channel still empty."""
        return position_of(channel, 0)

    def reader(self) -> WalReader:
        """Open a reader."""
        natsmq = Natsmq(address=self.milvus.nats_address)
        return open_reader(SourceConfig(natsmq=natsmq))

    def consumers(self, channel: str) -> int:
        """Return how many consumers the server keeps for a channel."""
        (count,) = (
            info.state.consumer_count
            for info in asyncio.run(self._streams())
            if info.config.name == channel
        )
        return count

    def pulls(self, channel: str) -> int:
        """Return how many pulls of a channel the server has yet to answer."""
        return asyncio.run(self._pulls(channel))

    def delete_consumers(self, channel: str) -> None:
        """Delete every consumer of a channel, as an operator might."""
        asyncio.run(self._delete_consumers(channel))

    def limit(self, channel: str, *, messages: int) -> None:
        """Make the channel with a retention of so many records."""
        asyncio.run(self._make(channel, messages))

    def remove(self, channel: str) -> None:
        """Delete a channel."""
        asyncio.run(self._remove({channel}))

    def close(self) -> None:
        """Delete every channel that was made."""
        asyncio.run(self._remove(self._made))

    @asynccontextmanager
    async def _jetstream(self) -> AsyncIterator[JetStreamContext]:
        async with await nats.connect(self.milvus.nats_address) as client:
            yield client.jetstream()

    async def _make(self, channel: str, messages: int | None = None) -> None:
        self._made.add(channel)
        async with self._jetstream() as jetstream:
            await jetstream.add_stream(
                name=channel, subjects=[channel], max_msgs=messages
            )

    async def _append(self, channel: str, payloads: Iterable[bytes]) -> list[Position]:
        if channel not in self._made:
            await self._make(channel)
        async with self._jetstream() as jetstream:
            acks = [await jetstream.publish(channel, each) for each in payloads]
            stream = made_at(await jetstream.stream_info(channel))
        return [position_of(channel, ack.seq, stream) for ack in acks]

    async def _purge(self, channel: str, sequence: int | None) -> None:
        async with self._jetstream() as jetstream:
            await jetstream.purge_stream(channel, seq=sequence)

    async def _streams(self) -> list[StreamInfo]:
        async with self._jetstream() as jetstream:
            return await jetstream.streams_info()

    async def _pulls(self, channel: str) -> int:
        async with self._jetstream() as jetstream:
            found = await jetstream.consumers_info(channel)
        return sum(info.num_waiting or 0 for info in found)

    async def _delete_consumers(self, channel: str) -> None:
        async with self._jetstream() as jetstream:
            for info in await jetstream.consumers_info(channel):
                await jetstream.delete_consumer(channel, info.name)

    async def _remove(self, channels: set[str]) -> None:
        async with self._jetstream() as jetstream:
            for channel in channels.copy():
                await jetstream.delete_stream(channel)
                self._made.discard(channel)


def read(
    reader: WalReader, count: int, channels: Collection[str] | None = None
) -> list[Record]:
    """Poll until so many records have come, of these channels; a few more may have."""
    records: list[Record] = []
    deadline = time.monotonic() + DEADLINE
    while len(records) < count:
        assert time.monotonic() < deadline, f"{len(records)} of {count} records"
        records += reader.poll(1, channels)
    return records


def payloads(records: Sequence[Record], channel: str) -> list[bytes]:
    """Return what the records of one channel carry, in order."""
    return [each.payload for each in records if each.position.channel == channel]


def eventually(fact: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + DEADLINE
    while not fact():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def read_to_the_end(
    reader: WalReader, records: list[Record], later: str | None = None
) -> None:
    """Poll until the reader raises, adding what comes to ``records``.

    A record of the channel ``later``, if any, is read first.
    """
    if later is not None:
        read(reader, 1, [later])
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        records += reader.poll(1)


def read_patiently(wal: Wal, after: Position, count: int) -> list[Record]:
    """Read records after a position, with new readers until one can, as a task does.

    A queue that is just back may still answer late.
    """
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            with wal.reader() as reader:
                reader.subscribe(after.channel, after, inclusive=False)
                return read(reader, count)
        except TransientError:
            if time.monotonic() > deadline:
                raise


def apart(wal: Wal, channel: str, payloads: Sequence[bytes]) -> list[Position]:
    """Write records by a call each, so that each queue can remove them one by one."""
    return [position for each in payloads for position in wal.append(channel, [each])]


def gapless(wal: Wal) -> bool:
    """Tell whether positions are counted, so that one tells the next even if it is gone."""
    return getattr(wal, "gapless", True)


def numbers(records: Sequence[Record]) -> list[int]:
    """Return the number of each record in its channel."""
    return [sequence_of(each.position) for each in records]


def numbered(count: int, first: int = 1) -> list[bytes]:
    """Return payloads that are numbers, so that a mix-up shows."""
    return [b"%d" % number for number in range(first, first + count)]
