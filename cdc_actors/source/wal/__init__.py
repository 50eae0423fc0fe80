"""The write-ahead log of the source: one module a message queue, one interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.source.wal.base import WalReader
from cdc_actors.source.wal.memory import MemoryLog, MemoryReader
from cdc_actors.source.wal.natsmq import NatsReader

if TYPE_CHECKING:
    from cdc_actors.config import SourceConfig

__all__ = ["MemoryLog", "MemoryReader", "NatsReader", "WalReader", "open_reader"]


def open_reader(source: SourceConfig) -> WalReader:
    """Connect to the message queue of the source.

    Raises:
        TransientError: It cannot be reached.
        OperatorError: It refuses the login.
    """
    return NatsReader(source.natsmq.address)
