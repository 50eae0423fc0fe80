"""The message queues for the contract of the readers."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from tests.support.kafka import KafkaBroker
from tests.support.kafka_wal import KafkaWal
from tests.support.pulsar_wal import PulsarWal
from tests.support.rocks_wal import RocksWal
from tests.support.servers import lasting
from tests.support.wal import MemoryWal, NatsWal, SharedWal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.pulsar import PulsarBroker
    from tests.support.wal import Wal


@pytest.fixture
def natsmq(source: EmbeddedMilvus) -> Iterator[NatsWal]:
    """The queue natsmq."""
    wal = NatsWal(source)
    yield wal
    wal.close()


@pytest.fixture(scope="session")
def pulsar(broker_pulsar: PulsarBroker) -> PulsarWal:
    """The queue Pulsar."""
    return PulsarWal(broker_pulsar)


@pytest.fixture(scope="session")
def rocksmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RocksWal]:
    """The queue RocksMQ."""
    wal = RocksWal(tmp_path_factory.mktemp("rocksmq") / "rdb_data")
    yield wal
    wal.stop()


@pytest.fixture(scope="session")
def broker(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[KafkaBroker]:
    """A real Kafka."""
    made = KafkaBroker(tmp_path_factory.mktemp("kafka"))
    with lasting(pytestconfig, made, "kafka") as server:
        yield server


@pytest.fixture
def kafka(broker: KafkaBroker) -> Iterator[KafkaWal]:
    """The queue Kafka."""
    wal = KafkaWal(broker)
    yield wal
    wal.close()


@pytest.fixture(params=["memory", "shared", "natsmq", "kafka", "rocksmq", "pulsar"])
def wal(request: pytest.FixtureRequest) -> Wal:
    """Each queue in turn."""
    if request.param == "memory":
        return MemoryWal()
    if request.param == "shared":
        return SharedWal()
    return request.getfixturevalue(request.param)


@pytest.fixture
def channel() -> str:
    """A channel that no other test uses."""
    return f"test-{uuid.uuid4().hex}"
