"""Settings: file < environment < flags, with milvus-cdc's keys where it has them."""

from __future__ import annotations

from cdc_actors.config.loading import Resolved, load
from cdc_actors.config.model import (
    Config,
    Etcd,
    MetaStoreConfig,
    Postgres,
    SourceConfig,
    Sqlite,
    Storage,
)
from cdc_actors.config.queues import Kafka, Natsmq, Pulsar, Rocksmq

__all__ = [
    "Config",
    "Etcd",
    "Kafka",
    "MetaStoreConfig",
    "Natsmq",
    "Postgres",
    "Pulsar",
    "Resolved",
    "Rocksmq",
    "SourceConfig",
    "Sqlite",
    "Storage",
    "load",
]
