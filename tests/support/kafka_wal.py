"""Topics of a test's own in a real Kafka, laid out as Milvus does."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from cdc_actors.changes import Position
from cdc_actors.config.queues import Kafka
from cdc_actors.embedded.kafka import Silent
from cdc_actors.source.wal.kafka.reader import KafkaReader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.source.wal import WalReader
    from tests.support.kafka import KafkaBroker

ANSWER = 90.0
RECORD_BYTES = 16 << 20


class KafkaWal:
    """The queue Kafka."""

    def __init__(self, broker: KafkaBroker) -> None:
        self.broker = broker
        self._made: set[str] = set()
        # Its answers come only as long as it lives.
        self._admin = AdminClient(
            {"bootstrap.servers": broker.address}, logger=Silent()
        )

    def append(
        self,
        channel: str,
        payloads: Iterable[bytes],
        *,
        compression: str = "none",
        batch: int = RECORD_BYTES,
    ) -> list[Position]:
        """Write records, making the channel if there is none.

        A ``batch`` of so many bytes at most goes out in one piece.
        """
        self.make(channel)
        offsets: list[int] = []
        producer = Producer(
            {
                "bootstrap.servers": self.broker.address,
                "message.max.bytes": RECORD_BYTES,
                "compression.type": compression,
                "linger.ms": 0,
                # Else what is sent again comes after what was sent behind it.
                "enable.idempotence": True,
                "batch.size": batch,
            },
            logger=Silent(),
        )
        for payload in payloads:
            producer.produce(
                channel,
                payload,
                partition=0,
                on_delivery=lambda _, message: offsets.append(message.offset()),
            )
            producer.poll(0)
        assert producer.flush(ANSWER) == 0
        if not offsets:
            return []
        suffix = f"@{self.topic_id(channel)}"
        return [kafka_position(channel, offset, suffix) for offset in offsets]

    def truncate(self, channel: str, before: Position | None) -> None:
        """Remove what is older than a position, or all, as retention does."""
        offset = -1 if before is None else int.from_bytes(before.id, "little")
        partition = TopicPartition(channel, 0, offset)
        self._admin.delete_records([partition])[partition].result(ANSWER)

    def stop(self) -> None:
        """Take the queue away."""
        self.broker.kill()

    def start(self) -> None:
        """Bring it back, with its records."""
        self.broker.start()

    def channels(self) -> set[str]:
        """Return the channels that exist."""
        return set(self._admin.list_topics(timeout=ANSWER).topics)

    def groups(self) -> set[str]:
        """Return the consumer groups that the broker knows."""
        listed = self._admin.list_consumer_groups().result(ANSWER)
        return {group.group_id for group in listed.valid}

    def position(self, channel: str, number: int) -> Position:
        """Return where the record of a number stands or would stand."""
        return self._position(channel, number - 1)

    def beginning(self, channel: str) -> Position:
        """Return the position of a channel still empty."""
        return self._position(channel, 0)

    def reader(self, **consumer: str) -> WalReader:
        """Open a reader."""
        return KafkaReader(Kafka(address=self.broker.address, consumer=consumer))

    def make(self, *channels: str, **settings: str) -> None:
        """Make channels, all at once, except those that the test has made.

        Names of ``settings`` have ``_`` for Kafka's ``.``.
        """
        config = {"max.message.bytes": str(RECORD_BYTES)}
        config |= {name.replace("_", "."): value for name, value in settings.items()}
        topics = [
            NewTopic(name, 1, 1, config=config)
            for name in channels
            if name not in self._made
        ]
        self._made.update(channels)
        answers = self._admin.create_topics(topics) if topics else {}
        for answer in answers.values():
            answer.result(ANSWER)

    def make_led_by(self, broker: int, channel: str) -> None:
        """Make a channel that two brokers have, and one of them leads."""
        topic = NewTopic(channel, 1, replica_assignment=[[broker, 3 - broker]])
        self._admin.create_topics([topic])[channel].result(ANSWER)
        self._made.add(channel)

    def leader(self, channel: str) -> int:
        """Return the number of the broker that leads a channel."""
        listed = self._admin.list_topics(channel, timeout=ANSWER)
        return int(listed.topics[channel].partitions[0].leader)

    def remove(self, *channels: str) -> None:
        """Delete channels."""
        self._made.difference_update(channels)
        for answer in self._admin.delete_topics(list(channels)).values():
            answer.result(ANSWER)

    def close(self) -> None:
        """Delete every channel that was made; what a busy broker keeps goes with it."""
        if self._made:
            with suppress(KafkaException, TimeoutError):
                self.remove(*self._made)

    def topic_id(self, channel: str) -> str:
        """Return the id of a channel's topic."""
        answer = self._admin.describe_topics(TopicCollection([channel]))[channel]
        return str(answer.result(ANSWER).topic_id)

    def _position(self, channel: str, offset: int) -> Position:
        there = channel in self.channels()
        suffix = f"@{self.topic_id(channel)}" if there else ""
        return kafka_position(channel, offset, suffix)


def kafka_position(channel: str, offset: int, suffix: str) -> Position:
    """Return the position of an offset, whose text ends with the topic's id."""
    return Position(channel, offset.to_bytes(8, "little"), f"{offset}{suffix}")
