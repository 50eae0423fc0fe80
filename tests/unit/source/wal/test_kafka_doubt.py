"""What Kafka's reader does with records that come when a topic may be another."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cdc_actors.config.queues import Kafka
from cdc_actors.errors import TransientError
from cdc_actors.source.wal.kafka import reader
from cdc_actors.source.wal.kafka.client import Bounds

CHANNEL = "channel"


def message(offset: int) -> SimpleNamespace:
    """Return a record as Kafka's client has it."""
    return SimpleNamespace(
        topic=lambda: CHANNEL,
        offset=lambda: offset,
        value=lambda: b"record",
        error=lambda: None,
    )


class DoubtfulClient:
    """A client that is told, with its second answer, that the topic was away."""

    def __init__(self, *_: object) -> None:
        self.failed = None
        self.topic_doubted = False
        self.held = 0
        self._takes = 0

    def bounds(self, _topic: str) -> Bounds:
        """Return that there are two records."""
        return Bounds(0, 2, "id")

    def topics(self) -> set[str]:
        """Return that the topic is there, again."""
        return {CHANNEL}

    def attach(self, topic: str, offset: int) -> None:
        """Begin to fetch a topic."""

    def deliver_only(self, topics: object) -> None:
        """Let every topic's records come."""

    def take(self, _timeout: float) -> list[SimpleNamespace]:
        """Return a record."""
        self._takes += 1
        self.topic_doubted = self._takes > 1
        return [message(self._takes - 1)]

    def close(self) -> None:
        """Leave the brokers."""


def test_records_that_come_with_a_doubt_are_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A topic made anew in an instant gives nothing to who read the old one."""
    monkeypatch.setattr(reader, "KafkaClient", DoubtfulClient)
    with reader.KafkaReader(Kafka(address="127.0.0.1:9092")) as reading:
        reading.subscribe(CHANNEL, None)
        assert [each.position.text for each in reading.poll(60)] == ["0@id"]
        with pytest.raises(TransientError, match="for a moment"):
            reading.poll(60)
