"""Whether the message queue is that of the Milvus whose catalog is read."""

from __future__ import annotations

import pytest

from cdc_actors.config import Kafka, Natsmq, Rocksmq, SourceConfig
from cdc_actors.errors import SourceChangedError
from cdc_actors.pipeline import queue_identity
from cdc_actors.pipeline.queue_identity import refuse_another_queue
from tests.fakes.fake_source import A, B, FakeSource
from tests.fakes.memory_log import MemoryReader

NATS = SourceConfig(natsmq=Natsmq(address="nats://ours:4222"))
KAFKA = SourceConfig(kafka=Kafka(address="ours:9092"))


@pytest.fixture(autouse=True)
def _nothing_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_identity, "_settled", [])
    monkeypatch.setattr(queue_identity, "READ_SECONDS", 0.05)


def look(source: FakeSource, config: SourceConfig = NATS) -> bool:
    """Look at the queue of a source."""
    return refuse_another_queue(
        config, source.catalog, lambda _: MemoryReader(source.log)
    )


@pytest.mark.parametrize("config", [NATS, KAFKA])
def test_the_creation_of_the_newest_collection(config: SourceConfig) -> None:
    """Until there is one nothing is known; afterwards it is not looked at again."""
    source = FakeSource()
    source.tick()
    assert not look(source, config)
    source.create("older")
    source.tick()
    source.create("newest", A)
    assert look(source, config)
    source.declare("one that another Milvus has")
    source.tick()
    assert look(source, config)


@pytest.mark.parametrize("config", [NATS, KAFKA])
def test_the_queue_of_another_milvus(config: SourceConfig) -> None:
    """Records of its own are where the newest collection is to begin."""
    source = FakeSource()
    source.create("theirs")
    source.tick()
    source.declare("newest")
    source.insert(source.create("theirs"), [1])
    source.tick()
    source.catalog.remove(next(reversed(source.catalog.snapshot().collections)))
    with pytest.raises(SourceChangedError, match=r"is not .* default\.newest"):
        look(source, config)


def test_a_queue_that_has_lost_the_beginning_is_believed() -> None:
    """It may be the right one, as may be one that is slow."""
    source = FakeSource()
    books = source.declare("books", A)
    assert look(source)
    queue_identity._settled.clear()
    source.say_create(books, A)
    source.tick()
    source.log.truncate(A, source.log.append(A, b"later"))
    assert look(source)


def test_ids_of_one_log_only_need_no_look() -> None:
    """Another RocksMQ does not hold them."""
    source = FakeSource()
    source.declare("books", B)
    source.tick()
    assert look(source, SourceConfig(rocksmq=Rocksmq(path="/rocks")))
