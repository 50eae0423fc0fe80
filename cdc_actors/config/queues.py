"""The message queues that a Milvus may keep its write-ahead log in, a section each."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from cdc_actors.config.setting_types import Flag, Name, Options, Secret, Section, Text

NatsUrl = Annotated[
    str,
    Meta(
        pattern=r"^(nats|tls)://[^/\s]+",
        description="an address such as nats://127.0.0.1:4222",
        extra={"url": True},
    ),
]
Brokers = Annotated[
    str,
    Meta(
        pattern=r"^[^\s,/]+(\s*,\s*[^\s,/]+)*$",
        description="host:port such as 127.0.0.1:9092, several with commas between",
        extra={"url": True},
    ),
]
WebAddress = Annotated[
    str, Meta(description="text; put quotes around it", extra={"url": True})
]
SecurityProtocol = Annotated[
    str,
    Meta(
        pattern=r"^((?i:plaintext|ssl|sasl_plaintext|sasl_ssl))?$",
        description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
    ),
]
PulsarUrl = Annotated[
    str,
    Meta(
        pattern=r"^pulsar(\+ssl)?://[^/\s]+",
        description="an address such as pulsar://127.0.0.1:6650",
        extra={"url": True},
    ),
]

Minutes = Annotated[int, Meta(ge=0, description="a whole number of at least 0")]


class Natsmq(Section, frozen=True, kw_only=True):
    """The NATS JetStream embedded in a standalone Milvus."""

    address: NatsUrl


class Rocksmq(Section, frozen=True, kw_only=True):
    """The RocksDB embedded in a standalone Milvus, read on the machine it runs on.

    ``path`` and ``retention_time_in_minutes`` are Milvus's own, of ``rocksmq``. How long it
    keeps records can be seen nowhere else; 0 stands for unknown.
    """

    path: Name
    retention_time_in_minutes: Minutes = 0


class Kafka(Section, frozen=True, kw_only=True):
    """A Kafka; ``consumer`` holds further settings of librdkafka by its own names."""

    address: Brokers
    sasl_username: Text = ""
    sasl_password: Secret = ""
    sasl_mechanisms: Text = ""
    security_protocol: SecurityProtocol = ""
    consumer: Options = field(default_factory=dict)


class Pulsar(Section, frozen=True, kw_only=True):
    """A Pulsar; tenant, namespace and the login are those of Milvus."""

    address: PulsarUrl
    web_address: WebAddress = ""
    tenant: Name = "public"
    namespace: Name = "default"
    auth_plugin: Text = ""
    auth_params: Secret = ""
    tls_trust_certs_file_path: Text = ""
    tls_allow_insecure_connection: Flag = False
    tls_validate_hostname: Flag = True


class Streaming(Section, frozen=True, kw_only=True):
    """The streaming nodes of Milvus 2.6 and later: their addresses are in its etcd."""
