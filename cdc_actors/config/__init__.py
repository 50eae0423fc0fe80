"""Settings: file < environment < flags, with milvus-cdc's keys where it has them."""

from __future__ import annotations

from cdc_actors.config.loading import Resolved, load
from cdc_actors.config.model import (
    Config,
    Etcd,
    MetaStoreConfig,
    Natsmq,
    Postgres,
    SourceConfig,
    Sqlite,
)

__all__ = [
    "Config",
    "Etcd",
    "MetaStoreConfig",
    "Natsmq",
    "Postgres",
    "Resolved",
    "SourceConfig",
    "Sqlite",
    "load",
]
