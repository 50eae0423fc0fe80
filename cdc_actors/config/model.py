"""The settings and their types.

The names in a file are milvus-cdc's camelCase ones (its ``server/configs/cdc.yaml``).
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta, field

from cdc_actors.config.auth import Auth, Tls

# msgspec evaluates the annotations.
from cdc_actors.config.queues import Kafka, Natsmq, Pulsar, Rocksmq, Streaming
from cdc_actors.config.setting_types import (
    Bytes,
    Count,
    Endpoints,
    Flag,
    HttpUrl,
    Name,
    NodeUrl,
    PostgresUrl,
    Rate,
    Secret,
    Section,
    Text,
)

StoreType = Annotated[
    Literal["sqlite", "postgres"], Meta(description="sqlite or postgres")
]
LogLevel = Annotated[
    Literal["debug", "info", "warn", "error"],
    Meta(description="debug, info, warn or error"),
]
StorageType = Annotated[
    Literal["none", "local", "s3"], Meta(description="none, local or s3")
]
ListenAddress = Annotated[
    str, Meta(description="host:port such as 127.0.0.1:8444 or [::1]:8444")
]

_HOST_AND_PORT = re.compile(
    r"^(?:\[(?P<ipv6>[0-9a-fA-F:.%\w]+)\]|(?P<host>[^\s:/\[\]]+)):(?P<port>[0-9]{1,5})$"
)
_MAX_PORT = 65535


class Sqlite(Section, frozen=True, kw_only=True):
    """The embedded store: a file, made when it is not there."""

    path: Name = "./cdc.db"


class Postgres(Section, frozen=True, kw_only=True):
    """A PostgreSQL as store."""

    url: PostgresUrl = ""


class MetaStoreConfig(Section, frozen=True, kw_only=True):
    """Where tasks, their events and checkpoints are kept."""

    store_type: StoreType = "sqlite"
    verify_at_start: Flag = True
    sqlite: Sqlite = Sqlite()
    postgres: Postgres = Postgres()


class Etcd(Section, frozen=True, kw_only=True):
    """The etcd that holds the source's metadata.

    Keys are read under ``rootPath/metaSubPath``, as in the source's ``milvus.yaml``.
    """

    address: Endpoints = ("http://127.0.0.1:2379",)
    root_path: Text = "by-dev"
    meta_sub_path: Text = "meta"
    enable_auth: Flag = False
    username: Text = ""
    password: Secret = ""
    enable_tls: Flag = field(default=False, name="enableTLS")
    tls_cert_path: Text = ""
    tls_key_path: Text = ""
    tls_ca_cert_path: Text = field(default="", name="tlsCACertPath")


class Storage(Section, frozen=True, kw_only=True):
    """Where the source keeps its files: a folder, or a bucket of an object store.

    With ``none`` they are not read. The names are those of ``minio`` and ``localStorage``
    in the source's ``milvus.yaml``; ``address`` is ``host:port``, empty for AWS. Without a
    key the environment's login is taken. ``max_snapshot_bytes_per_second`` is for all
    tasks together.
    """

    type: StorageType = "none"
    path: Text = ""
    address: Text = ""
    bucket_name: Text = ""
    root_path: Text = ""
    region: Text = ""
    use_ssl: Flag = field(default=False, name="useSSL")
    ca_cert: Text = ""
    access_key_id: Text = field(default="", name="accessKeyID")
    secret_access_key: Secret = ""
    max_snapshot_bytes_per_second: Rate = 0

    @property
    def is_given(self) -> bool:
        """Whether there are files that may be read."""
        return self.type != "none"


class SourceConfig(Section, frozen=True, kw_only=True):
    """The Milvus that is replicated: its API, its metadata, its write-ahead log.

    One of the message queues is there at most, which ``load`` sees to. A source of 2.6 or
    later needs none, and says so by its version. Without an etcd all is read by the API.
    """

    uri: HttpUrl = "http://127.0.0.1:19530"
    token: Secret = ""
    etcd: Etcd | None = Etcd()
    replicate_chan: Name = "by-dev-replicate-msg"
    natsmq: Natsmq | None = None
    rocksmq: Rocksmq | None = None
    kafka: Kafka | None = None
    pulsar: Pulsar | None = None
    streaming: Streaming = Streaming()
    storage: Storage = Storage()


class Config(Section, frozen=True, kw_only=True):
    """All settings of the service.

    ``node_url`` is where other services on the same store reach the API of this one.
    Without it they pass no requests on to it.
    """

    address: ListenAddress = "127.0.0.1:8444"
    node_url: NodeUrl = ""
    max_task_num: Count = 100
    max_name_length: Count = 256
    max_memory_bytes: Bytes = 256 << 20
    meta_store_config: MetaStoreConfig = MetaStoreConfig()
    source_config: SourceConfig
    log_level: LogLevel = "info"
    auth: Auth = Auth()
    tls: Tls = Tls()

    @property
    def listen(self) -> tuple[str, int]:
        """Host (an IPv6 one without brackets) and port of ``address``."""
        return host_and_port(self.address)


def host_and_port(address: str) -> tuple[str, int]:
    """Split ``host:port`` or ``[IPv6]:port``; port 0 asks for any free one.

    Raises:
        ValueError: It is neither, or the port is above 65535.
    """
    match = _HOST_AND_PORT.match(address)
    if match is None or int(match["port"]) > _MAX_PORT:
        raise ValueError(address)
    return match["ipv6"] or match["host"], int(match["port"])
