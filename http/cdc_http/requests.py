"""The requests of ``POST /cdc`` as they arrive, field by field as in milvus-cdc.

Unknown fields are refused, so that a misspelt one is not taken for one left out.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

# msgspec evaluates the annotations.
from cdc_actors.tasks.resyncs import ResyncMethod  # noqa: TC001
from cdc_actors.tasks.spec import Consistency, SnapshotMode  # noqa: TC001

Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Port = int | Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,5}\Z")]
Limit = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Rate = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]


class RequestObject(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """An object inside a request."""


class Envelope(RequestObject, frozen=True):
    """The body of every request to ``/cdc``."""

    request_type: str = ""
    request_data: Any = {}


class ListRequest(RequestObject, frozen=True):
    """The data of ``list``, which has no members."""


class OverviewRequest(RequestObject, frozen=True):
    """The data of ``overview``, which has no members."""


class LagSamplesRequest(RequestObject, frozen=True):
    """The data of ``lag_samples``: the number of the sample to start after."""

    after: Number = 0


class TaskRequest(RequestObject, frozen=True):
    """The data of ``pause``, ``resume`` and ``cancel_comparison``: the task.

    ``resume`` takes up again what is set aside, as ``retry`` does.
    """

    task_id: str = ""


class DrainRequest(RequestObject, frozen=True):
    """What is posted to ``/cdc/nodes``: the service that is to have no tasks.

    Or, with ``drain`` false, that is to have tasks again.
    """

    node_id: str
    drain: bool = True


class CollectionName(RequestObject, frozen=True):
    """The source's name of a collection; ``*`` stands for all."""

    name: str = ""


class RetryRequest(RequestObject, frozen=True):
    """The data of ``retry``: the task, and which of what is set aside is taken up again.

    As in ``create``, ``collection_infos`` names collections of the database ``default``,
    and ``db_collections`` those of others; without either all are meant that can go on.
    """

    task_id: str = ""
    collection_infos: list[CollectionName] = []
    db_collections: dict[str, list[CollectionName]] = {}


class ResyncRequest(RequestObject, frozen=True):
    """The data of ``resync``: the task, and which of its collections are brought anew.

    ``collections`` are names of the source as ``database.name``, where ``*`` stands for
    all, or ``name`` in the database ``default``. Their rows come from the source's files,
    or from the log if that holds their beginning, whatever the target has.

    ``method`` says what becomes of that. ``in_place``, which is usual: it must be loaded,
    so that what is too much can be found and deleted; readers see collections as they were
    at the snapshot's moment, until the log has caught up. ``drop_target``, also a member of
    its own: it is dropped first, if it is the task's. ``shadow``: it is served as it is
    until another collection has everything, which then takes its place.
    A task that has paused as the log had lost a position goes on.
    """

    task_id: str = ""
    collections: list[str] = []
    drop_target: bool = False
    method: ResyncMethod | None = None


class CompareRequest(RequestObject, frozen=True):
    """The data of ``compare``: the task, what of it, and how fast.

    ``collection_infos`` and ``db_collections`` are as in ``retry``; without either all is
    compared. At most ``rows_per_second`` rows of the source are read in a second.
    ``repair`` sends the source's rows where the target's differ or are missing, and
    compares them again; with ``delete_extra`` it also deletes what only the target has.
    """

    task_id: str = ""
    collection_infos: list[CollectionName] = []
    db_collections: dict[str, list[CollectionName]] = {}
    rows_per_second: Rate | None = None
    repair: bool = False
    delete_extra: bool = False


class ComparisonQuery(RequestObject, frozen=True):
    """The data of ``comparison``: the task, and whether to list its collections."""

    task_id: str = ""
    details: bool = True


class AcknowledgeRequest(RequestObject, frozen=True):
    """The data of ``acknowledge``: the task, and which refused operations are accepted.

    They stay in ``operations_refused``, and make the task ``degraded`` no more. ``kinds``
    are as shown there; without any, all are meant that there are by now.
    """

    task_id: str = ""
    kinds: list[str] = []


class GetRequest(RequestObject, frozen=True):
    """The data of ``get``: the task, and the event or time as of which to show it.

    ``as_of`` is the number of an event, or a time in ISO 8601.
    """

    task_id: str = ""
    as_of: Number | str | None = None


class HistoryRequest(RequestObject, frozen=True):
    """The data of ``history``: the task, and which of its events to return."""

    task_id: str = ""
    after: Number = 0
    limit: Limit = 100


class PositionRequest(RequestObject, frozen=True):
    """The data of ``position``: the task; an empty ``task_id`` means all tasks."""

    task_id: str = ""


class MaintenanceRequest(RequestObject, frozen=True):
    """The data of ``maintenance``: an operation and its parameters."""

    operation: str = ""
    params: dict[str, Any] = {}


class EventsQuery(RequestObject, frozen=True):
    """The query of ``GET /cdc/tasks/{id}/events``."""

    after: Number = 0
    limit: Limit = 100
    follow: bool = False


class DeleteRequest(RequestObject, frozen=True):
    """The data of ``delete``: the task, and whether its absence counts as success."""

    task_id: str = ""
    ignore_not_found: bool = False


class DialConfig(RequestObject, frozen=True):
    """TLS settings for the target. The paths are files on the machine of this service.

    ``server_pem_path`` or ``ca_pem_path`` has the authorities that are trusted; a client's
    certificate needs the latter.
    """

    server_name: str = ""
    server_pem_path: str = ""
    ca_pem_path: str = ""
    client_pem_path: str = ""
    client_key_path: str = ""
    channel_num: int = 0


class AddressAndLogin(RequestObject, frozen=True):
    """What requests have of a target, beside its TLS settings."""

    uri: str = ""
    token: str = ""
    host: str = ""
    port: Port = 0
    enable_tls: bool = False
    username: str = ""
    password: str = ""
    channel_num: int = 0
    ignore_partition: bool = False
    connect_timeout: int = 0


class MilvusConnectParam(AddressAndLogin, frozen=True):
    """The address of the target and the login. ``uri`` and ``token`` take precedence."""

    dial_config: DialConfig = DialConfig()


class ConnectChanges(AddressAndLogin, frozen=True):
    """What changes of the target's address and login; what is left out or empty stays.

    Another address must lead to the same Milvus. ``dial_config`` replaces all TLS settings.
    """

    dial_config: DialConfig | UnsetType = UNSET


class Sasl(RequestObject, frozen=True):
    """The login of a Kafka target."""

    username: str = ""
    password: str = ""
    mechanisms: str = ""
    security_protocol: str = ""


class KafkaConnectParam(RequestObject, frozen=True):
    """A Kafka target, which this version does not support."""

    address: str = ""
    topic: str = ""
    enable_sasl: bool = False
    sasl: Sasl = Sasl()


class CollectionInfo(RequestObject, frozen=True):
    """The name of a collection; ``*`` stands for all.

    ``positions`` of a ``create`` are by virtual channel, each the base64 of a
    ``MsgPosition``, as milvus-backup writes them, and of all its channels if there is any.
    The target must have the collection as the backup was, all rows up to there; the task
    goes on from there.
    """

    name: str = ""
    positions: dict[str, str] | UnsetType = UNSET
    use_start_position: bool = False


class ChannelInfo(RequestObject, frozen=True):
    """The channel of clients' requests and the position to start from."""

    name: str = ""
    position: str = ""


class ExtraInfo(RequestObject, frozen=True):
    """Users and roles, too, or collections with less.

    With ``skip_unsupported_fields`` a collection that the target cannot hold as it is, is
    replicated without the fields that are the reason, and not set aside.
    """

    enable_user_role: bool = False
    skip_unsupported_fields: bool = False


class ExtraInfoChanges(RequestObject, frozen=True):
    """What may change of ``extra_info``: for collections that are created from then on."""

    skip_unsupported_fields: bool | UnsetType = UNSET


class BufferConfig(RequestObject, frozen=True):
    """Settings that milvus-cdc checks and never uses; they have no effect here."""

    period: int = 0
    size: int = 0


class NameMapping(RequestObject, frozen=True):
    """The names that a database and its collections have at the target."""

    source_db: str = ""
    target_db: str = ""
    collection_mapping: dict[str, str] = {}


class CreateRequest(RequestObject, frozen=True):
    """The data of ``create``: what to replicate, and to which target.

    ``snapshot`` says which collections come from the source's files, if the service may
    read them: with ``auto`` those whose beginning the log no longer holds, or holds with so
    many overwrites that files are much cheaper to read (the task's history says which of
    the two), with ``always`` all that are there by now, with ``never`` none.
    ``consistency`` says whether rows wait for the time tick of the source that covers them
    (``tick``), or are sent as soon as they are read (``early``: some 200 ms sooner, and
    until that tick newer rows may be there without older ones, and two of a key where one
    is to replace the other).
    """

    task_id: str = ""
    milvus_connect_param: MilvusConnectParam = MilvusConnectParam()
    kafka_connect_param: KafkaConnectParam = KafkaConnectParam()
    collection_infos: list[CollectionInfo] = []
    db_collections: dict[str, list[CollectionInfo]] = {}
    rpc_channel_info: ChannelInfo = ChannelInfo()
    extra_info: ExtraInfo = ExtraInfo()
    buffer_config: BufferConfig = BufferConfig()
    name_mapping: list[NameMapping] = []
    disable_auto_start: bool = False
    snapshot: SnapshotMode = "auto"
    consistency: Consistency = "tick"
    positions: dict[str, Any] = {}


class UpdateRequest(RequestObject, frozen=True):
    """The data of ``update``: the task, and what changes of it; what is left out stays.

    With ``collection_infos``, ``db_collections`` or both, these are all that is selected
    from now on. What is not selected any more stays as it is at the target, and nothing
    more comes. What is new comes from its creation on, or is set aside with the reason
    if the log has lost that, or if the target still has, under its name, the rows of
    another collection that left the task. ``name_mapping`` replaces the whole mapping;
    names of what the target has already cannot change. ``same_milvus`` says of another
    address, where nothing else tells (Milvus Lite), that it leads to the Milvus that it
    was; the task's history keeps that. ``consistency`` is that of ``create``.
    """

    task_id: str = ""
    same_milvus: bool = False
    milvus_connect_param: ConnectChanges = ConnectChanges()
    collection_infos: list[CollectionInfo] | UnsetType = UNSET
    db_collections: dict[str, list[CollectionInfo]] | UnsetType = UNSET
    name_mapping: list[NameMapping] | UnsetType = UNSET
    extra_info: ExtraInfoChanges = ExtraInfoChanges()
    consistency: Consistency | UnsetType = UNSET
