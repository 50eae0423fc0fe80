"""A Pulsar for the benchmark of the readers, and the least pulsar-client needs."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pulsar as pulsar_client

from cdc_actors.source.wal.pulsar.connection import CLIENT_LOG
from cdc_actors.source.wal.pulsar.puller import QUEUE
from cdc_actors.source.wal.pulsar.reader import PulsarReader
from tests.support.pulsar import PulsarBroker
from tests.support.pulsar_wal import NAMESPACE, TENANT, PulsarWal

if TYPE_CHECKING:
    from collections.abc import Iterator


class PulsarQueue:
    """Topics at one broker."""

    client = "pulsar-client"

    def __init__(self, broker: PulsarBroker) -> None:
        self._settings = PulsarWal(broker).config

    def fill(self, size: int, count: int) -> str:
        """Make a channel of ``count`` records of ``size`` bytes; return its name."""
        channel = f"benchmark-{size}"
        client = self._client()
        producer = client.create_producer(
            f"persistent://{TENANT}/{NAMESPACE}/{channel}",
            batching_enabled=False,
            block_if_queue_full=True,
            compression_type=pulsar_client.CompressionType.ZSTD,
        )
        payload = os.urandom(size)
        for _ in range(count):
            producer.send_async(payload, _written)
        producer.flush()
        client.close()
        return channel

    def read_bare(self, channel: str, count: int) -> None:
        """Read a whole channel as pulsar-client's own examples do, set up alike.

        The client takes messages ahead by number: as few as keep its memory bounded.
        """
        client = self._client()
        reader = client.create_reader(
            f"persistent://{TENANT}/{NAMESPACE}/{channel}",
            pulsar_client.MessageId.earliest,
            receiver_queue_size=QUEUE,
        )
        for _ in range(count):
            reader.read_next().data()
        client.close()

    def reader(self) -> PulsarReader:
        """Open the reader that is measured."""
        return PulsarReader(self._settings)

    def _client(self) -> pulsar_client.Client:
        return pulsar_client.Client(self._settings.address, logger=CLIENT_LOG.logger)


def _written(result: pulsar_client.Result, _: pulsar_client.MessageId) -> None:
    assert result == pulsar_client.Result.Ok, result


@contextmanager
def pulsar() -> Iterator[PulsarQueue]:
    """Start a broker."""
    with tempfile.TemporaryDirectory() as folder, PulsarBroker(Path(folder)) as broker:
        yield PulsarQueue(broker)
