"""The requests of ``POST /cdc`` as they arrive, field by field as in milvus-cdc.

Unknown fields are refused, so that a misspelt one is not taken for one left out.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class Wire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object of a request."""


class Envelope(Wire, frozen=True):
    """What every request is wrapped in."""

    request_type: str = ""
    request_data: Any = {}


class ListRequest(Wire, frozen=True):
    """``list`` asks for nothing more."""


class TaskRequest(Wire, frozen=True):
    """``pause`` and ``resume`` name a task."""

    task_id: str = ""


class GetRequest(Wire, frozen=True):
    """``get`` names a task, and the number of an event or a time to see it as of."""

    task_id: str = ""
    as_of: Number | str | None = None


class HistoryRequest(Wire, frozen=True):
    """``history`` names a task, and which of its events to tell."""

    task_id: str = ""
    after: Number = 0
    limit: Limit = 100


class PositionRequest(Wire, frozen=True):
    """``position`` names a task, or none for all."""

    task_id: str = ""


class MaintenanceRequest(Wire, frozen=True):
    """``maintenance`` names an operation, and what that needs."""

    operation: str = ""
    params: dict[str, Any] = {}


class EventsQuery(Wire, frozen=True):
    """The query of ``GET /cdc/tasks/{id}/events``."""

    after: Number = 0
    limit: Limit = 100
    follow: bool = False


class DeleteRequest(Wire, frozen=True):
    """``delete`` names a task, and may call it a success that there is none."""

    task_id: str = ""
    ignore_not_found: bool = False


class DialConfig(Wire, frozen=True):
    """TLS towards the target; the files are on the machine of this service."""

    server_name: str = ""
    server_pem_path: str = ""
    ca_pem_path: str = ""
    client_pem_path: str = ""
    client_key_path: str = ""
    channel_num: int = 0


class MilvusConnectParam(Wire, frozen=True):
    """Where the target is and how to log in; ``uri`` and ``token`` take precedence."""

    uri: str = ""
    token: str = ""
    host: str = ""
    port: int = 0
    enable_tls: bool = False
    username: str = ""
    password: str = ""
    dial_config: DialConfig = DialConfig()
    channel_num: int = 0
    ignore_partition: bool = False
    connect_timeout: int = 0


class Sasl(Wire, frozen=True):
    """The login of a Kafka target."""

    username: str = ""
    password: str = ""
    mechanisms: str = ""
    security_protocol: str = ""


class KafkaConnectParam(Wire, frozen=True):
    """A Kafka target."""

    address: str = ""
    topic: str = ""
    enable_sasl: bool = False
    sasl: Sasl = Sasl()


class CollectionInfo(Wire, frozen=True):
    """One collection, or all of them as ``*``."""

    name: str = ""
    positions: dict[str, str] = {}
    use_start_position: bool = False


class ChannelInfo(Wire, frozen=True):
    """The channel of replicated operations and where to start in it."""

    name: str = ""
    position: str = ""


class ExtraInfo(Wire, frozen=True):
    """What else to replicate."""

    enable_user_role: bool = False


class BufferConfig(Wire, frozen=True):
    """Checked by milvus-cdc and never used."""

    period: int = 0
    size: int = 0


class NameMapping(Wire, frozen=True):
    """Names that differ at the target."""

    source_db: str = ""
    target_db: str = ""
    collection_mapping: dict[str, str] = {}


class CreateRequest(Wire, frozen=True):
    """``create``: from which collections to which target."""

    task_id: str | None = None
    milvus_connect_param: MilvusConnectParam = MilvusConnectParam()
    kafka_connect_param: KafkaConnectParam = KafkaConnectParam()
    collection_infos: list[CollectionInfo] = []
    db_collections: dict[str, list[CollectionInfo]] = {}
    rpc_channel_info: ChannelInfo = ChannelInfo()
    extra_info: ExtraInfo = ExtraInfo()
    buffer_config: BufferConfig = BufferConfig()
    name_mapping: list[NameMapping] = []
    disable_auto_start: bool = False
    positions: dict[str, Any] = {}
