"""The responses of the API as JSON, field by field."""

from __future__ import annotations

import json
from datetime import datetime  # noqa: TC003 - msgspec evaluates the annotations
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from cdc_actors.config.auth import Role  # noqa: TC001 - msgspec evaluates it
from cdc_actors.service.views import Health, HealthStatus, Refusal  # noqa: TC001
from cdc_http.requests import NameMapping

if TYPE_CHECKING:
    import falcon

    from cdc_actors.pipeline.messages import SnapshotProgress
    from cdc_actors.service.views import CollectionView, DatabaseView, TaskView
    from cdc_actors.tasks.spec import TaskSpec

_MAX_MESSAGE = 2000

NodeState = Literal["works", "drains", "silent"]


class ResponseObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object inside a response."""


class Error(ResponseObject, frozen=True):
    """Why a request failed. ``code`` is the HTTP status."""

    code: int
    message: str


class Target(ResponseObject, frozen=True):
    """The address of a target, without its login."""

    uri: str
    connect_timeout: int


class Named(ResponseObject, frozen=True):
    """The name of a collection; ``*`` stands for all."""

    name: str


class Excluded(ResponseObject, frozen=True):
    """Collections that another task of the same target replicates."""

    database: str
    name: str


class Database(ResponseObject, frozen=True):
    """A database and its name at the target.

    ``whole`` says whether the task also creates and drops the database there.
    """

    name: str
    target_name: str
    whole: bool


class Snapshot(ResponseObject, frozen=True):
    """How many rows of the source's files were sent in this run, of how many in them.

    Of those in the files, some may have been sent before, or be deleted since. ``bytes``
    is how much of the files is done, of ``total_bytes``; 0 of 0 until they are listed.
    ``eta_seconds`` is how long the rest will take, with all that comes before it, and
    ``log_kept_until`` up to when the log has what is read afterwards; null while unknown.
    """

    rows: int
    total: int
    bytes: int
    total_bytes: int
    eta_seconds: float | None
    log_kept_until: datetime | None


class Collection(ResponseObject, frozen=True):
    """A collection and its state.

    ``reason`` says why it was set aside, is ``retrying`` beside the others, or waits for
    its name at the target, or which shadow there is to take its place.
    ``resync_needed`` says why rows of it are missing at the target, if any are.
    ``snapshot`` is there while the rows that the log lacks come from the source's files,
    ``skipped_fields`` where the target is without some that it cannot hold.
    """

    database: str
    name: str
    target_database: str
    target_name: str
    collection_id: int
    state: str
    reason: str | None
    resync_needed: str | None
    snapshot: Snapshot | UnsetType = UNSET
    skipped_fields: list[str] | UnsetType = UNSET


class RefusedOperations(ResponseObject, frozen=True):
    """The number of operations that the target refused, and the newest of them."""

    count: int
    newest: list[Refusal]


class Extra(ResponseObject, frozen=True):
    """What the task was asked for of ``extra_info``."""

    enable_user_role: bool | UnsetType = UNSET
    skip_unsupported_fields: bool | UnsetType = UNSET


class Task(ResponseObject, frozen=True):
    """A task, with the members that milvus-cdc shows and our own.

    ``as_of`` is the number of the event as of which a past state is shown, ``snapshot``
    is there where it is not ``auto``, ``consistency`` where it is not ``tick``. All that
    ticks have covered is at the target up to ``lag_seconds`` ago, either way. ``node`` is
    the service that has the task, where there may be several.
    """

    task_id: str
    milvus_connect_param: Target
    collection_infos: list[Named]
    state: str
    created_at: datetime
    health: Health
    lag_seconds: float | None
    rows_applied: int | None
    databases: list[Database]
    collections: list[Collection]
    operations_refused: RefusedOperations
    db_collections: dict[str, list[Named]] | UnsetType = UNSET
    name_mapping: list[NameMapping] | UnsetType = UNSET
    excludes: list[Excluded] | UnsetType = UNSET
    snapshot: str | UnsetType = UNSET
    consistency: str | UnsetType = UNSET
    extra_info: Extra | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    as_of: int | UnsetType = UNSET
    node: str | UnsetType = UNSET


class CreateResponse(ResponseObject, frozen=True):
    """The task that was created, or that existed already.

    ``warnings`` are sentences on members of the request that have no effect, or another
    than their name says, on databases of the source that the selection leaves out or that
    it takes nothing yet, and on collections that the target has otherwise.
    """

    task_id: str
    warnings: list[str] | UnsetType = UNSET


class UpdateResponse(ResponseObject, frozen=True):
    """The members that made a difference; none if the task was like this already.

    ``milvus_connect_param.token`` stands for the login, however it was given. ``warnings``
    are sentences on what the update does not do, and as those of ``create``.
    """

    task_id: str
    changed: list[str]
    warnings: list[str] | UnsetType = UNSET


class RetryResponse(ResponseObject, frozen=True):
    """The collections are to be taken up again. ``warnings`` say what that waits for."""

    warnings: list[str] | UnsetType = UNSET


class ResyncResponse(ResponseObject, frozen=True):
    """The collections are to be brought anew. ``warnings`` say what that waits for."""

    warnings: list[str] | UnsetType = UNSET


class ListResponse(ResponseObject, frozen=True):
    """All tasks, the oldest first."""

    tasks: list[Task]


class GetResponse(ResponseObject, frozen=True):
    """One task, under two names: milvus-cdc's manual says Task, its clients read task."""

    manual: Task = msgspec.field(name="Task")
    task: Task


class Position(ResponseObject, frozen=True):
    """The position up to which a channel is applied at the target.

    ``position`` is for people; ``msg_id`` is Milvus's own, the base64 of a
    ``MsgPosition``. ``time`` is in milliseconds since 1970, ``tt`` a hybrid timestamp.
    """

    task_id: str
    channel_name: str
    position: str
    time: int
    tt: int
    msg_id: str


class PositionResponse(ResponseObject, frozen=True):
    """Positions in the source's log, of rows and of clients' requests.

    ``target_positions`` is a member of milvus-cdc's; here it is always empty.
    """

    positions: list[Position]
    op_positions: list[Position]
    target_positions: list[Position] = []


class MaintenanceResponse(ResponseObject, frozen=True):
    """The result of the operation, in words."""

    state: str = msgspec.field(name="State")


class EmptyResponse(ResponseObject, frozen=True):
    """An empty object: the request was carried out."""


class CallerView(ResponseObject, frozen=True):
    """The caller's role, and the name of the token if tokens are asked for."""

    role: Role
    token_name: str | None


class NodeView(ResponseObject, frozen=True):
    """One service on the store.

    ``node_id`` is what to call it, empty where there can be one alone. ``url`` is where the
    others reach its API, empty if it does not say. One that ``drains`` gives its tasks to
    others, and gets no more; one that is ``silent`` has not been heard of for so long that
    it may be gone. ``tasks`` is how many it has, and ``load`` how much work these are: 1
    for each that runs and 1 for each megabyte a second of rows; by it they are spread.
    ``lag_seconds`` is the longest lag of these. All are null where they are unknown, and as
    of the last 15 seconds.
    """

    node_id: str
    url: str
    host: str
    pid: int
    since: str
    state: NodeState
    silent_seconds: float
    tasks: int | None
    load: float | None
    lag_seconds: float | None


class NodesView(ResponseObject, frozen=True):
    """The services on one store."""

    nodes: list[NodeView]


class LivezResponse(ResponseObject, frozen=True):
    """Whether the supervisor answers."""

    alive: bool


class ReadyzResponse(ResponseObject, frozen=True):
    """Whether the service can do its work, and what is missing, by name.

    ``tasks`` counts the tasks by the status of their health, which decides nothing here.
    Without a token, where tokens are asked for, there is ``ready`` alone.
    """

    ready: bool
    missing: dict[str, str] | UnsetType = UNSET
    tasks: dict[HealthStatus, int] | UnsetType = UNSET


def write_json(response: falcon.Response, status: int, value: Any) -> None:
    """Make ``value`` the response. Times become RFC 3339, NaN becomes null."""
    response.status = status
    response.content_type = "application/json"
    try:
        response.data = msgspec.json.encode(value)
    except UnicodeEncodeError:
        # A peer's words may hold half a character, which JSON can but UTF-8 cannot.
        response.data = json.dumps(msgspec.to_builtins(value)).encode()


def write_error(response: falcon.Response, status: int, message: str) -> None:
    """Make ``{"code", "message"}`` the response; the code repeats the status."""
    if len(message) > _MAX_MESSAGE:
        message = f"{message[:_MAX_MESSAGE]}..."
    # A path or a peer's words may hold what UTF-8 cannot.
    message = message.encode(errors="replace").decode()
    write_json(response, status, Error(code=status, message=message))


def task_object(view: TaskView) -> Task:
    """Return a task as the API shows it."""
    spec = view.spec
    by_database = {
        database: _named(names) for database, names in spec.db_collections.items()
    }
    mappings = [_mapping(each) for each in spec.name_mapping]
    excludes = [Excluded(database=db, name=name) for db, name in spec.excludes]
    return Task(
        task_id=spec.task_name or view.task_id,
        milvus_connect_param=Target(
            uri=spec.target.uri, connect_timeout=spec.target.connect_timeout
        ),
        collection_infos=_named(spec.collection_infos),
        state=view.state,
        created_at=view.created_at,
        health=view.health,
        lag_seconds=view.lag_seconds,
        rows_applied=view.rows_applied,
        databases=[_database(each) for each in view.databases],
        collections=[_collection(each) for each in view.collections],
        operations_refused=RefusedOperations(
            count=view.refused, newest=list(view.refusals)
        ),
        db_collections=by_database or UNSET,
        name_mapping=mappings or UNSET,
        excludes=excludes or UNSET,
        snapshot=UNSET if spec.snapshot == "auto" else spec.snapshot,
        consistency=UNSET if spec.consistency == "tick" else spec.consistency,
        extra_info=_extra_info(spec),
        reason=view.reason or UNSET,
        as_of=UNSET if view.as_of is None else view.as_of,
        node=view.node or UNSET,
    )


def _extra_info(spec: TaskSpec) -> Extra | UnsetType:
    members = Extra.__struct_fields__
    asked = {each: True for each in members if getattr(spec, each)}
    return Extra(**asked) if asked else UNSET


def _named(names: tuple[str, ...]) -> list[Named]:
    return [Named(name=name) for name in names]


def _mapping(rule: Any) -> NameMapping:
    return msgspec.convert(rule, NameMapping, from_attributes=True)


def _database(view: DatabaseView) -> Database:
    return Database(name=view.name, target_name=view.target, whole=view.whole)


def _snapshot(progress: SnapshotProgress | None) -> Snapshot | UnsetType:
    if progress is None:
        return UNSET
    return Snapshot(
        rows=progress.rows,
        total=progress.total,
        bytes=progress.size,
        total_bytes=progress.total_size,
        eta_seconds=progress.seconds_left,
        log_kept_until=progress.log_kept_until,
    )


def _collection(view: CollectionView) -> Collection:
    return Collection(
        database=view.database,
        name=view.name,
        target_database=view.target[0],
        target_name=view.target[1],
        collection_id=view.collection_id,
        state=view.state,
        reason=view.reason,
        resync_needed=view.resync_needed,
        snapshot=_snapshot(view.snapshot),
        skipped_fields=list(view.skipped_fields) or UNSET,
    )
