"""Topics of a test's own in a real Pulsar, laid out as Milvus does."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.error import HTTPError

import pulsar

from cdc_actors.config.queues import Pulsar
from cdc_actors.source.wal.pulsar.connection import CLIENT_LOG
from cdc_actors.source.wal.pulsar.positions import entry_id, id_of, position_of
from cdc_actors.source.wal.pulsar.reader import PulsarReader
from tests.support.wal import eventually

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pulsar import MessageId

    from cdc_actors.changes import Position
    from cdc_actors.source.wal import WalReader
    from tests.support.pulsar import PulsarBroker

TENANT, NAMESPACE = "public", "tests"
_SPACE = f"{TENANT}/{NAMESPACE}"
_KEEP = {"retentionTimeInMinutes": -1, "retentionSizeInMB": -1}
_REMOVE = {"retentionTimeInMinutes": 0, "retentionSizeInMB": 0}


class PulsarWal:
    """The queue Pulsar."""

    gapless = False

    def __init__(self, broker: PulsarBroker) -> None:
        self.broker = broker
        self._made: set[str] = set()
        if _SPACE not in broker.admin("GET", f"namespaces/{TENANT}"):
            broker.admin("PUT", f"namespaces/{_SPACE}", {})

    @property
    def config(self) -> Pulsar:
        """The settings of a reader."""
        return Pulsar(
            address=self.broker.address,
            web_address=self.broker.web_address,
            tenant=TENANT,
            namespace=NAMESPACE,
        )

    def append(self, channel: str, payloads: Iterable[bytes]) -> list[Position]:
        """Write records, making the channel if there is none, to a ledger of their own.

        Pulsar removes whole ledgers only. While somebody reads the channel they go to the
        same one: its client may take seconds to come back.
        """
        if channel in self._made and all(self.subscriptions(channel).values()):
            self.unload(channel)
        self._made.add(channel)
        client = pulsar.Client(self.broker.address, logger=CLIENT_LOG.logger)
        try:
            producer = client.create_producer(
                f"persistent://{_SPACE}/{channel}",
                chunking_enabled=True,
                block_if_queue_full=True,
                compression_type=pulsar.CompressionType.ZSTD,
            )
            written = _sent(producer, payloads)
        finally:
            client.close()
        return [position_of(channel, each) for each in written]

    def truncate(self, channel: str, before: Position | None) -> None:
        """Remove what is older than a position, or all, as retention does."""
        path = f"persistent/{_SPACE}/{channel}"
        if before is None:
            self.unload(channel)
            self.broker.admin("DELETE", f"{path}/truncate")
            return
        self._subscribe(channel, before)
        retention = f"namespaces/{_SPACE}/retention"
        self.broker.admin("POST", retention, _REMOVE)
        try:
            eventually(lambda: self._trimmed(path, before), "the ledgers are removed")
        finally:
            # The subscription stays: a topic hears of this later, and until then removes
            # whatever no subscription holds.
            self.broker.admin("POST", retention, _KEEP)

    @contextmanager
    def retention(self, minutes: int | None, megabytes: int | None) -> Iterator[None]:
        """Keep so much of what is acknowledged, or (None) as much as the broker does."""
        path = f"namespaces/{_SPACE}/retention"
        former = self.broker.admin("GET", path)
        wanted = {"retentionTimeInMinutes": minutes, "retentionSizeInMB": megabytes}
        self.broker.admin("DELETE", path)
        if minutes is not None:
            self.broker.admin("POST", path, wanted)
        try:
            yield
        finally:
            self.broker.admin("DELETE", path)
            if former:
                self.broker.admin("POST", path, former)

    def unload(self, channel: str) -> None:
        """End the ledger that is written to, and every connection to the channel."""
        self.broker.admin("PUT", f"persistent/{_SPACE}/{channel}/unload")

    def stop(self) -> None:
        """Take the queue away."""
        self.broker.kill()

    def start(self) -> None:
        """Bring it back, with its records."""
        self.broker.start()

    def channels(self) -> set[str]:
        """Return the channels that exist."""
        topics = self.broker.admin("GET", f"persistent/{_SPACE}")
        return {topic.rpartition("/")[2] for topic in topics}

    def subscriptions(self, channel: str) -> dict[str, bool]:
        """Return the subscriptions that the broker keeps, and whether each is durable."""
        stats = self.broker.admin("GET", f"persistent/{_SPACE}/{channel}/stats")
        return {name: each["durable"] for name, each in stats["subscriptions"].items()}

    def position(self, channel: str, number: int) -> Position:
        """Return where the record of a number stands or would stand."""
        return position_of(channel, entry_id(self._ledger(channel), number - 1))

    def beginning(self, channel: str) -> Position:
        """Return the position of a channel still empty."""
        return position_of(channel, entry_id(self._ledger(channel), -1))

    def reader(self) -> WalReader:
        """Open a reader."""
        return PulsarReader(self.config)

    def _ledger(self, channel: str) -> int:
        with self.reader() as reader:
            oldest = reader.oldest(channel)
        return int(oldest.text.partition(":")[0]) if oldest else 0

    def _subscribe(self, channel: str, position: Position) -> None:
        """Make what holds retention up: all from a position on is still wanted."""
        client = pulsar.Client(self.broker.address, logger=CLIENT_LOG.logger)
        try:
            consumer = client.subscribe(f"persistent://{_SPACE}/{channel}", "kept")
            consumer.seek(id_of(position))
        finally:
            client.close()

    def _trimmed(self, path: str, before: Position) -> bool:
        # It may still be loaded again after the last time.
        with suppress(HTTPError):
            self.broker.admin("PUT", f"{path}/unload")
        with suppress(HTTPError):
            ledgers = self.broker.admin("GET", f"{path}/internalStats")["ledgers"]
            first = int(before.text.partition(":")[0])
            return bool(ledgers[0]["ledgerId"] == first)
        return False


def _sent(producer: pulsar.Producer, payloads: Iterable[bytes]) -> list[MessageId]:
    """Send messages without waiting for each; return their ids, in order."""
    answers: list[tuple[pulsar.Result, MessageId]] = []
    for payload in payloads:
        producer.send_async(payload, lambda *answer: answers.append(answer))
    producer.flush()
    assert {result for result, _ in answers} <= {pulsar.Result.Ok}
    return [message_id for _, message_id in answers]
