"""Reads Kafka, in which each physical channel is partition 0 of the topic of its name.

Milvus 2.3.5: ``pkg/mq/msgstream/mqwrapper/kafka``. Fetching is librdkafka's; reading is by
offset, with no consumer group and no commits.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog
from confluent_kafka import KafkaError

from cdc_actors.changes import Position
from cdc_actors.errors import CdcError, PositionLostError, TransientError
from cdc_actors.source.wal.base import WalReader
from cdc_actors.source.wal.kafka.client import (
    PREFETCH_BYTES,
    Bounds,
    KafkaClient,
    prefetch_for,
)
from cdc_actors.source.wal.kafka.positions import (
    OffsetRecord,
    next_offset,
    offset_of,
    position_of,
    topic_id_of,
)
from cdc_actors.source.wal.positions import Kept, LogKind, lost

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from confluent_kafka import Message

    from cdc_actors.changes import Record
    from cdc_actors.config.queues import Kafka
    from cdc_actors.memory_budget import Quota

_POLL_INTERVAL = 0.2
"""Seconds after which a waiting poll looks whether the reader was closed."""

_MISSING_INTERVAL = 1.0
_CONFIRM_TIMEOUT = 3.0
_STOP_TIMEOUT = 0.8
_LOST = {
    KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001
    KafkaError._LOG_TRUNCATION,  # noqa: SLF001
    KafkaError.OFFSET_OUT_OF_RANGE,
}
_KAFKA = LogKind(
    "Kafka", "topic", "the topic's retention (retention.ms, retention.bytes)"
)
_log = structlog.get_logger(__name__)


class KafkaReader(WalReader):
    """A ``WalReader`` of Kafka.

    Connects when it is made.

    Raises:
        TransientError: No broker can be reached.
        OperatorError: They refuse the login, or a setting is wrong.
    """

    def __init__(self, kafka: Kafka, quota: Quota | None = None) -> None:
        """``quota`` is what may be fetched ahead of the service's memory."""
        prefetch = PREFETCH_BYTES if quota is None else prefetch_for(quota.free)
        self._client = KafkaClient(kafka, prefetch)
        if quota is not None:
            quota.hold(self._client.held_bytes)
        self._lock = threading.Lock()
        self._closing = False
        self._open = True
        self._attached: dict[str, int] = {}
        self._topic_ids: dict[str, str] = {}
        self._missing: set[str] = set()
        self._look_for_missing_at = 0.0
        self._error: CdcError | None = None
        try:
            with self._using() as client:
                client.topics()
        except BaseException:
            self.close()
            raise

    def subscribe(
        self, channel: str, start: Position | None, *, inclusive: bool = True
    ) -> None:
        """Deliver ``channel`` from ``start`` on, or from the oldest record if None.

        Raises:
            ValueError: The channel is already subscribed to.
        """
        wanted = None if start is None else next_offset(start, inclusive=inclusive)
        with self._using() as client:
            if channel in self._attached or channel in self._missing:
                raise ValueError(f"{channel} is already subscribed to")
            bounds = client.bounds(channel)
            if start is not None and wanted is not None:
                error = _lost(channel, wanted, bounds, topic_id_of(start))
                if error is not None:
                    raise error
            if bounds is None:
                _log.info("kafka_topic_missing", topic=channel)
                self._missing.add(channel)
            else:
                self._attach(channel, bounds, wanted)

    def poll(
        self, timeout: float, channels: Collection[str] | None = None
    ) -> list[Record]:
        """Return what has arrived; after an error, first what came before it."""
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            with self._using():
                self._client.deliver_only(channels)
                records = self._take(max(0.0, min(_POLL_INTERVAL, left)))
            if records or left <= 0:
                return records

    def oldest(self, channel: str) -> Position | None:
        """Return the position of the oldest record kept, None if there is none."""
        low, high, topic_id = self._bounds(channel)
        return position_of(channel, low, topic_id) if low < high else None

    def newest(self, channel: str) -> Position | None:
        """Return the position of the newest record, None if there is none."""
        low, high, topic_id = self._bounds(channel)
        return position_of(channel, high - 1, topic_id) if low < high else None

    def written_since(self, channel: str, seconds: float) -> Position | None:
        """Return the first record of a time or later; see ``WalReader``."""
        low, high, topic_id = self._bounds(channel)
        with self._using() as client:
            offset = client.offset_since(channel, seconds) if low < high else None
        is_there = offset is not None and offset < high
        return position_of(channel, offset or 0, topic_id) if is_there else None

    def holds(self, start: Position, *, inclusive: bool = True) -> bool:
        """Tell whether reading can begin at ``start`` without missing a record."""
        wanted = next_offset(start, inclusive=inclusive)
        with self._using() as client:
            bounds = client.bounds(start.channel)
        return _lost(start.channel, wanted, bounds, topic_id_of(start)) is None

    def position(self, channel: str, message_id: bytes) -> Position:
        """Return the position of an id as Milvus keeps it; see ``WalReader``."""
        named = Position(channel, message_id, message_id.hex())
        return position_of(channel, offset_of(named))

    def reached(self, position: Position, mark: Position) -> bool:
        """Tell whether ``position`` is ``mark`` or comes after it in their channel."""
        return offset_of(position) >= offset_of(mark)

    def kept_seconds(self, channel: str) -> float | None:
        """Return for how long the topic keeps a record; see ``WalReader``.

        A limit of its size (``retention.bytes``) says nothing about the time: unknown.
        """
        with self._using() as client:
            found = client.configuration(channel)
        milliseconds = int(found.get("retention.ms") or -1)
        limited = int(found.get("retention.bytes") or -1) >= 0
        return None if limited or milliseconds < 0 else milliseconds / 1000

    def close(self) -> None:
        """Stop within a second and release everything. Idempotent; any thread.

        If another thread is in the middle of a call, that one closes as it leaves.
        """
        self._closing = True
        if self._lock.acquire(timeout=_STOP_TIMEOUT):
            self._leave()

    @contextmanager
    def _using(self) -> Iterator[KafkaClient]:
        self._lock.acquire()
        try:
            if self._closing:
                raise _closed()
            yield self._client
        finally:
            self._leave()

    def _leave(self) -> None:
        """Give the turn back; whoever leaves last closes."""
        try:
            if self._closing and self._open:
                self._open = False
                self._client.close()
        finally:
            self._lock.release()

    def _bounds(self, channel: str) -> Bounds:
        with self._using() as client:
            if client.failed is not None:
                raise client.failed
            return client.bounds(channel) or Bounds(0, 0, "")

    def _attach(self, channel: str, bounds: Bounds, wanted: int | None) -> None:
        offset = bounds.low if wanted is None else wanted
        self._client.attach(channel, offset)
        self._attached[channel] = offset
        self._topic_ids[channel] = bounds.topic_id

    def _take(self, timeout: float) -> list[Record]:
        if self._error is not None:
            raise self._error
        self._look_for_missing()
        records = self._records(self._client.take(timeout))
        if self._client.topic_doubted:
            # What comes behind the doubt may be of another topic of that name.
            records = []
            self._error = self._error or self._confirm_gone()
        self._error = self._error or self._client.failed
        if self._error is not None and not records:
            raise self._error
        return records

    def _records(self, messages: Sequence[Message]) -> list[Record]:
        """Return the records before the first error, and keep that one.

        As few calls as can be: a record of a few bytes costs no more than these.
        """
        records: list[Record] = []
        topic_ids = self._topic_ids
        for message in messages:
            # Never None: every message and error that comes is one of a partition.
            channel: Any = message.topic()
            if (error := message.error()) is not None:
                self._error = self._failure(channel, error)
                break
            offset: Any = message.offset()
            payload = message.value() or b""
            records.append(OffsetRecord(channel, payload, offset, topic_ids[channel]))
        return records

    def _failure(self, channel: str, error: KafkaError) -> CdcError:
        if error.code() not in _LOST:
            return self._client.translate(error)
        wanted = self._client.reached(channel, self._attached.get(channel, 0))
        topic_id = self._topic_ids[channel]
        known = _lost(channel, wanted, self._client.bounds(channel), topic_id)
        return known or PositionLostError(f"{channel}: record {wanted}: {error.str()}")

    def _confirm_gone(self) -> CdcError:
        """Look again for a while: a broker that starts may not know its topics yet."""
        deadline = time.monotonic() + _CONFIRM_TIMEOUT
        while gone := self._attached.keys() - self._client.topics():
            if self._closing or time.monotonic() > deadline:
                return PositionLostError(f"{min(gone)}: its topic was deleted")
            time.sleep(_POLL_INTERVAL)
        return TransientError("Kafka did not know a topic for a moment")

    def _look_for_missing(self) -> None:
        """Attach what has come into being, once a second."""
        if not self._missing or time.monotonic() < self._look_for_missing_at:
            return
        self._look_for_missing_at = time.monotonic() + _MISSING_INTERVAL
        for channel in self._missing & self._client.topics():
            bounds = self._client.bounds(channel)
            if bounds is not None:
                self._missing.discard(channel)
                self._attach(channel, bounds, None)
                _log.info("kafka_topic_found", topic=channel)


def _closed() -> TransientError:
    return TransientError("the reader of Kafka is closed")


def _lost(
    channel: str, wanted: int, bounds: Bounds | None, topic_id: str
) -> PositionLostError | None:
    """Return the error if reading cannot begin at offset ``wanted``, None if it can.

    ``topic_id`` is that of the topic which ``wanted`` was an offset of, empty if unknown.
    """
    if bounds is None:
        return lost(channel, wanted, None, _KAFKA)
    if topic_id and bounds.topic_id and bounds.topic_id != topic_id:
        return PositionLostError(
            f"{channel}: record {wanted} was in the topic of id {topic_id}, which is gone: "
            "its topic was recreated"
        )
    return lost(channel, wanted, Kept(bounds.low, bounds.high), _KAFKA)
