"""The write-ahead log of the source: one module a message queue, one interface."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from cdc_actors.errors import OperatorError
from cdc_actors.source.wal.base import WalReader

if TYPE_CHECKING:
    from cdc_actors.config import SourceConfig
    from cdc_actors.memory_budget import Quota

__all__ = ["WalReader", "check_library", "open_reader"]

_LIBRARIES = {"rocksmq": "rocksdict", "kafka": "confluent_kafka", "pulsar": "pulsar"}


def check_library(queue: str) -> None:
    """Raise OperatorError where the client library of a message queue is missing.

    The text has the command that installs it.
    """
    library = _LIBRARIES.get(queue)
    if library is not None and importlib.util.find_spec(library) is None:
        raise OperatorError(
            f"sourceConfig.{queue} needs a library that is not installed: "
            f"pip install 'cdc-actors[{queue}]'"
        )


def open_reader(source: SourceConfig, quota: Quota | None = None) -> WalReader:
    """Connect to the message queue of the source.

    ``quota`` is what it may fetch ahead of the service's memory.

    Raises:
        TransientError: It cannot be reached.
        OperatorError: It refuses the login, or its client library is not installed.
    """
    # Imported where used: each brings its queue's client library, most of them an extra.
    if source.natsmq is not None:
        from cdc_actors.source.wal.natsmq.reader import NatsReader  # noqa: PLC0415

        return NatsReader(source.natsmq.address, quota)
    if source.rocksmq is not None:
        check_library("rocksmq")
        from cdc_actors.source.wal.rocksmq.reader import RocksReader  # noqa: PLC0415

        return RocksReader(source.rocksmq.path)
    if source.kafka is not None:
        check_library("kafka")
        from cdc_actors.source.wal.kafka.reader import KafkaReader  # noqa: PLC0415

        return KafkaReader(source.kafka, quota)
    if source.pulsar is not None:
        check_library("pulsar")
        from cdc_actors.source.wal.pulsar.reader import PulsarReader  # noqa: PLC0415

        return PulsarReader(source.pulsar, quota)
    raise OperatorError("sourceConfig has no message queue")
