"""Where a topic begins and ends, on doubles of librdkafka."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cdc_actors.config import Kafka
from cdc_actors.source.wal.kafka.client import Bounds, KafkaClient

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def client() -> Iterator[KafkaClient]:
    """Yield a client that has not spoken to anybody."""
    client = KafkaClient(Kafka(address="127.0.0.1:1"))
    yield client
    client.close()


def test_offsets_and_id_are_on_their_way_at_once(
    client: KafkaClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A far broker is waited for once a topic, not twice."""
    asked: list[str] = []

    def describe(*_asked: object, **_within: object) -> dict[str, Future[Any]]:
        asked.append("id")
        return {"t": described}

    def offsets(*_asked: object, **_within: object) -> tuple[int, int]:
        asked.append("offsets")
        described.set_result(SimpleNamespace(topic_id="abc"))
        return 3, 7

    described: Future[Any] = Future()
    with monkeypatch.context() as patched:
        admin = SimpleNamespace(describe_topics=describe)
        patched.setattr(client, "_admin", admin)
        control = SimpleNamespace(get_watermark_offsets=offsets)
        patched.setattr(client, "_control", control)
        assert client.bounds("t") == Bounds(3, 7, "abc")
    assert asked == ["id", "offsets"]
