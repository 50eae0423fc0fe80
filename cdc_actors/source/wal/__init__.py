"""The write-ahead log of the source: one package a message queue, one interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdc_actors.errors import OperatorError
from cdc_actors.source.extras import check_library
from cdc_actors.source.wal.base import WalReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.config import SourceConfig
    from cdc_actors.memory_budget import Quota

__all__ = ["WalReader", "open_reader", "queue_of"]


_NO_QUEUE = (
    "sourceConfig has no message queue, which is needed before Milvus 2.6: give the one of "
    "the source's Milvus, one of `natsmq: {address: nats://127.0.0.1:4222}`, "
    "`rocksmq: {path: /var/lib/milvus/rdb_data}`, `kafka: {address: 127.0.0.1:9092}` "
    "and `pulsar: {address: pulsar://127.0.0.1:6650}`"
)


def queue_of(source: SourceConfig) -> str:
    """Return the name of the source's message queue, as its section is called.

    Raises:
        OperatorError: There is none.
    """
    for queue in _READERS:
        if getattr(source, queue) is not None:
            return queue
    raise OperatorError(_NO_QUEUE)


def open_reader(source: SourceConfig, quota: Quota | None = None) -> WalReader:
    """Connect to the message queue of the source.

    ``quota`` is what it may fetch ahead of the service's memory.

    Raises:
        TransientError: It cannot be reached.
        OperatorError: It refuses the login, or its client library is not installed.
    """
    queue = queue_of(source)
    check_library(queue)
    return _READERS[queue](getattr(source, queue), quota)


# Imported where used: each brings its queue's client library, most of them an extra.


def _natsmq(section: Any, quota: Quota | None) -> WalReader:
    from cdc_actors.source.wal.natsmq.reader import NatsReader  # noqa: PLC0415

    return NatsReader(section.address, quota)


def _rocksmq(section: Any, _quota: Quota | None) -> WalReader:
    from cdc_actors.source.wal.rocksmq.reader import RocksReader  # noqa: PLC0415

    return RocksReader(section.path, section.retention_time_in_minutes)


def _kafka(section: Any, quota: Quota | None) -> WalReader:
    from cdc_actors.source.wal.kafka.reader import KafkaReader  # noqa: PLC0415

    return KafkaReader(section, quota)


def _pulsar(section: Any, quota: Quota | None) -> WalReader:
    from cdc_actors.source.wal.pulsar.reader import PulsarReader  # noqa: PLC0415

    return PulsarReader(section, quota)


_READERS: dict[str, Callable[[Any, Quota | None], WalReader]] = {
    "natsmq": _natsmq,
    "rocksmq": _rocksmq,
    "kafka": _kafka,
    "pulsar": _pulsar,
}
