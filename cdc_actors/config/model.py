"""The settings and their types.

The names in a file are milvus-cdc's camelCase ones (its ``server/configs/cdc.yaml``).
The type of a setting carries what an error says was expected, and whether it is a
secret: there is no second list to keep in step.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, field

from cdc_actors.config.masking import MASK, mask_urls

Text = Annotated[str, Meta(description="text; put quotes around it")]
Name = Annotated[str, Meta(min_length=1, description="text that is not empty")]
Secret = Annotated[
    str, Meta(description="text; put quotes around it", extra={"secret": True})
]
Flag = Annotated[bool, Meta(description="true or false")]
Count = Annotated[int, Meta(ge=1, description="a whole number of at least 1")]
Endpoints = Annotated[
    tuple[Name, ...],
    Meta(
        min_length=1, description="a list of at least one address", extra={"url": True}
    ),
]
HttpUrl = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^/\s]+",
        description="an address such as http://127.0.0.1:19530",
        extra={"url": True},
    ),
]
NatsUrl = Annotated[
    str,
    Meta(
        pattern=r"^(nats|tls)://[^/\s]+",
        description="an address such as nats://127.0.0.1:4222",
        extra={"url": True},
    ),
]
PostgresUrl = Annotated[
    str,
    Meta(
        pattern=r"^(postgres(ql)?://\S+)?$",
        description="an address such as postgresql://user@127.0.0.1:5432/cdc",
        extra={"url": True},
    ),
]
StoreType = Annotated[
    Literal["sqlite", "postgres"], Meta(description="sqlite or postgres")
]
LogLevel = Annotated[
    Literal["debug", "info", "warn", "error"],
    Meta(description="debug, info, warn or error"),
]
ListenAddress = Annotated[
    str, Meta(description="host:port such as 127.0.0.1:8444 or [::1]:8444")
]

_HOST_AND_PORT = re.compile(
    r"^(?:\[(?P<ipv6>[0-9a-fA-F:.%\w]+)\]|(?P<host>[^\s:/\[\]]+)):(?P<port>[0-9]{1,5})$"
)
_MAX_PORT = 65535


class Section(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A group of settings; its text form masks secrets."""

    def __repr__(self) -> str:
        """Name every setting, with secrets masked."""
        shown = (
            f"{each.name}={masked(getattr(self, each.name), each.type)!r}"
            for each in msgspec.structs.fields(self)
        )
        return f"{type(self).__name__}({', '.join(shown)})"


class Sqlite(Section, frozen=True, kw_only=True):
    """The embedded store: a file, made when it is not there."""

    path: Name = "./cdc.db"


class Postgres(Section, frozen=True, kw_only=True):
    """A PostgreSQL as store."""

    url: PostgresUrl = ""


class MetaStoreConfig(Section, frozen=True, kw_only=True):
    """Where tasks, their events and checkpoints are kept."""

    store_type: StoreType = "sqlite"
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


class Natsmq(Section, frozen=True, kw_only=True):
    """The source's write-ahead log in its embedded NATS JetStream."""

    address: NatsUrl


class SourceConfig(Section, frozen=True, kw_only=True):
    """The Milvus that is replicated: its API, its metadata, its write-ahead log."""

    uri: HttpUrl = "http://127.0.0.1:19530"
    token: Secret = ""
    etcd: Etcd = Etcd()
    replicate_chan: Name = "by-dev-replicate-msg"
    natsmq: Natsmq


class Config(Section, frozen=True, kw_only=True):
    """All settings of the service."""

    address: ListenAddress = "127.0.0.1:8444"
    max_task_num: Count = 100
    max_name_length: Count = 256
    meta_store_config: MetaStoreConfig = MetaStoreConfig()
    source_config: SourceConfig
    log_level: LogLevel = "info"

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


def meta(kind: Any) -> Meta:
    """Return what the type of a setting says beside the type itself."""
    return next((each for each in get_args(kind) if isinstance(each, Meta)), Meta())


def masked(value: Any, kind: Any) -> Any:
    """Return ``value`` as it may be shown."""
    extra = meta(kind).extra or {}
    if "secret" in extra:
        return MASK if value else value
    if "url" not in extra:
        return value
    if isinstance(value, str):
        return mask_urls(value)
    return tuple(mask_urls(each) for each in value)
