"""The write-ahead log of the source: one module a message queue, one interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.errors import OperatorError
from cdc_actors.source.wal.base import WalReader
from cdc_actors.source.wal.memory import MemoryLog, MemoryReader

if TYPE_CHECKING:
    from cdc_actors.config import SourceConfig
    from cdc_actors.memory import Account

__all__ = ["MemoryLog", "MemoryReader", "WalReader", "open_reader"]

_EXTRAS = {"rocksdict": "rocksmq", "confluent_kafka": "kafka", "pulsar": "pulsar"}


def open_reader(source: SourceConfig, account: Account | None = None) -> WalReader:
    """Connect to the message queue of the source.

    ``account`` is what it may fetch ahead of the service's memory.

    Raises:
        TransientError: It cannot be reached.
        OperatorError: It refuses the login, or its client library is not installed.
    """
    try:
        return _open(source, account)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise OperatorError(
            f"sourceConfig.{extra} needs a library that is not installed: "
            f"pip install 'cdc-actors[{extra}]'"
        ) from error


# Imported where used: each brings its queue's client library, most of them an extra.
def _open(source: SourceConfig, account: Account | None) -> WalReader:
    if source.natsmq is not None:
        from cdc_actors.source.wal.natsmq import NatsReader  # noqa: PLC0415

        return NatsReader(source.natsmq.address, account)
    if source.rocksmq is not None:
        from cdc_actors.source.wal.rocksmq import RocksReader  # noqa: PLC0415

        return RocksReader(source.rocksmq.path)
    if source.kafka is not None:
        from cdc_actors.source.wal.kafka import KafkaReader  # noqa: PLC0415

        return KafkaReader(source.kafka, account)
    if source.pulsar is not None:
        from cdc_actors.source.wal.pulsar import PulsarReader  # noqa: PLC0415

        return PulsarReader(source.pulsar, account)
    raise OperatorError("sourceConfig has no message queue")
