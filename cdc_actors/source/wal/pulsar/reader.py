"""Reads Pulsar: each physical channel is a topic, a record one message.

Milvus 2.3.5: ``pkg/mq/msgstream/mqwrapper/pulsar``. The readers are not durable: Pulsar
keeps no subscription and no backlog for them once their connection is gone.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from cdc_actors.changes import Position
from cdc_actors.errors import TransientError
from cdc_actors.source.wal.base import WalReader
from cdc_actors.source.wal.buffer import RecordBuffer
from cdc_actors.source.wal.pulsar.bounds import PulsarBounds
from cdc_actors.source.wal.pulsar.connection import PulsarLink
from cdc_actors.source.wal.pulsar.positions import id_of, place_of, position_of
from cdc_actors.source.wal.pulsar.puller import TopicPuller

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cdc_actors.changes import Record
    from cdc_actors.config import Pulsar
    from cdc_actors.memory_budget import Quota

_STOP_TIMEOUT = 0.8

_ASKED_AT_ONCE = 16
"""Of how many topics the end is looked for at once: it takes a tenth of a second each, as
the client leads a reader there by having the broker end its connection."""


class PulsarReader(WalReader):
    """A ``WalReader`` of Pulsar.

    Connects when it is made. With ``webAddress`` in its settings a channel that does
    not exist is waited for; without, reading may make its topic, empty, where the
    broker allows topics to be made by use, as it must for Milvus.

    Raises:
        TransientError: The broker cannot be reached.
        OperatorError: It refuses the login, or a setting is wrong.
    """

    def __init__(self, config: Pulsar, quota: Quota | None = None) -> None:
        """``quota`` is what may be fetched ahead of the service's memory."""
        self._buffer = RecordBuffer(self._on_taken, quota)
        self._pullers: dict[str, TopicPuller] = {}
        self._closed = False
        self._link = PulsarLink(config)
        self._bounds = PulsarBounds(self._link)
        try:
            self._link.connect()
        except BaseException:
            self.close()
            raise

    def subscribe(
        self, channel: str, start: Position | None, *, inclusive: bool = True
    ) -> None:
        """Deliver ``channel`` from ``start`` on, or from the oldest record if None.

        Raises:
            ValueError: The channel is already subscribed to.
            PositionLostError: The log no longer holds the record at ``start``.
        """
        self._check()
        if channel in self._pullers:
            raise ValueError(f"{channel} is already subscribed to")
        error = None if start is None else self._bounds.lost(start)
        if error is not None:
            raise error
        puller = TopicPuller(
            self._link, self._bounds, self._buffer, channel, start, inclusive=inclusive
        )
        self._pullers[channel] = puller
        puller.start()

    def poll(
        self, timeout: float, channels: Collection[str] | None = None
    ) -> list[Record]:
        """Return what has arrived; after an error, first what came before it."""
        return self._buffer.take(timeout, channels)

    def oldest(self, channel: str) -> Position | None:
        """Return the position of the oldest record kept, None if there is none."""
        self._check()
        return self._bounds.oldest(channel)

    def newest(self, channel: str) -> Position | None:
        """Return the position of the newest record, None if there is none."""
        self._check()
        return self._bounds.newest(channel)

    def newest_of(self, channels: Sequence[str]) -> dict[str, Position | None]:
        """Return what ``newest`` does of several channels, asked all together."""
        self._check()
        with ThreadPoolExecutor(_ASKED_AT_ONCE, "pulsar-newest") as pool:
            found = pool.map(self._bounds.newest, channels)
            return dict(zip(channels, found, strict=True))

    def written_since(self, channel: str, seconds: float) -> Position | None:
        """Return the first record of a time or later; see ``WalReader``."""
        self._check()
        return self._bounds.written_since(channel, seconds)

    def holds(self, start: Position, *, inclusive: bool = True) -> bool:  # noqa: ARG002
        """Tell whether reading can begin at ``start`` without missing a record.

        The record at ``start`` itself must be kept even where it is not read.
        """
        self._check()
        return self._bounds.lost(start) is None

    def bytes_between(self, start: Position, end: Position | None = None) -> int | None:
        """Return how many bytes there are; see ``WalReader``; None without ``webAddress``.

        The broker tells those of each ledger: they are taken to be spread evenly there.
        """
        self._check()
        return self._bounds.bytes_between(start, end)

    def position(self, channel: str, message_id: bytes) -> Position:
        """Return the position of an id as Milvus keeps it; see ``WalReader``."""
        named = id_of(Position(channel, message_id, message_id.hex()))
        return position_of(channel, named)

    def reached(self, position: Position, mark: Position) -> bool:
        """Tell whether ``position`` is ``mark`` or comes after it in their channel."""
        return place_of(id_of(position)) >= place_of(id_of(mark))

    def kept_seconds(self, channel: str) -> float | None:  # noqa: ARG002
        """Return for how long the namespace keeps what Milvus has acknowledged.

        None without ``webAddress``, and where the limit is one of size.
        """
        self._check()
        return self._link.kept_seconds()

    def close(self) -> None:
        """Stop within a second and release everything. Idempotent; any thread."""
        self._closed = True
        self._buffer.close(_closed())
        for puller in self._pullers.values():
            puller.stop()
        # The client may wait for a connection longer than anybody waits for a stop. Python
        # waits for this thread at its end: it must not end while others are in the client.
        closing = threading.Thread(target=self._close_link, name="pulsar-parting")
        closing.start()
        closing.join(_STOP_TIMEOUT)

    def _close_link(self) -> None:
        self._link.close()
        for puller in self._pullers.values():
            puller.thread.join()

    def _check(self) -> None:
        if self._closed:
            raise _closed()

    def _on_taken(self, channels: set[str]) -> None:
        for channel in channels:
            self._pullers[channel].wake()


def _closed() -> TransientError:
    return TransientError("the reader of Pulsar is closed")
