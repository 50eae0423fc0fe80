"""Which reader is opened for a configuration."""

from __future__ import annotations

import sys

import pytest

from cdc_actors.config import Kafka, Pulsar, Rocksmq, SourceConfig
from cdc_actors.errors import OperatorError
from cdc_actors.source.wal import open_reader

QUEUES = {
    "rocksmq": ("rocksdict", SourceConfig(rocksmq=Rocksmq(path="nowhere"))),
    "kafka": ("confluent_kafka", SourceConfig(kafka=Kafka(address="127.0.0.1:1"))),
    "pulsar": ("pulsar", SourceConfig(pulsar=Pulsar(address="pulsar://127.0.0.1:1"))),
}


@pytest.mark.parametrize("queue", QUEUES)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, queue: str
) -> None:
    """Without its client library a queue cannot be read, and the error says what to do."""
    library, source = QUEUES[queue]
    for name in [*sys.modules]:
        if name.partition(".")[0] == library or name.startswith(
            (
                "cdc_actors.source.wal.kafka.reader",
                "cdc_actors.source.wal.rocks",
                "cdc_actors.source.wal.pulsar.reader",
            )
        ):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)  # type: ignore[arg-type]

    with pytest.raises(OperatorError, match=rf"pip install 'cdc-actors\[{queue}\]'"):
        open_reader(source)


def test_a_configuration_without_a_queue_is_refused() -> None:
    """Nothing is read by accident; the error says what to add."""
    with pytest.raises(OperatorError, match="no message queue") as caught:
        open_reader(SourceConfig())
    assert "natsmq: {address: nats://127.0.0.1:4222}" in str(caught.value)
    assert all(f"`{queue}: {{" in str(caught.value) for queue in QUEUES)
