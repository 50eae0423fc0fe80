"""A Kafka for the benchmark of the readers, and the least confluent-kafka needs."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, TopicPartition

from cdc_actors.config.queues import Kafka
from cdc_actors.source.wal.kafka.client import settings
from cdc_actors.source.wal.kafka.reader import KafkaReader
from tests.support.kafka import KafkaBroker
from tests.support.kafka_wal import KafkaWal

if TYPE_CHECKING:
    from collections.abc import Iterator


class KafkaQueue:
    """Topics at one broker."""

    client = "confluent-kafka"

    def __init__(self, broker: KafkaBroker) -> None:
        self._wal = KafkaWal(broker)
        self._settings = Kafka(address=broker.address)

    def fill(self, size: int, count: int) -> str:
        """Make a channel of ``count`` records of ``size`` bytes; return its name."""
        channel = f"benchmark-{size}"
        for _ in range(count // 100):
            self._wal.append(channel, [bytes(size)] * 100)
        return channel

    def read_bare(self, channel: str, count: int) -> None:
        """Read a whole channel as confluent-kafka's own examples do, set up alike."""
        consumer = Consumer(settings(self._settings))
        consumer.assign([TopicPartition(channel, 0, 0)])
        while count > 0:
            message = consumer.poll(1)
            if message is not None and message.error() is None:
                count -= message.value() is not None
        consumer.close()

    def reader(self) -> KafkaReader:
        """Open the reader that is measured."""
        return KafkaReader(self._settings)


@contextmanager
def kafka() -> Iterator[KafkaQueue]:
    """Start a broker."""
    with tempfile.TemporaryDirectory() as folder, KafkaBroker(Path(folder)) as broker:
        yield KafkaQueue(broker)
