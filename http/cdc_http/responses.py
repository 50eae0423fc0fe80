"""The answers of the API as JSON, field by field."""

from __future__ import annotations

import json
from datetime import datetime  # noqa: TC003 - msgspec evaluates the annotations
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, UnsetType

from cdc_actors.service.views import Health, Refusal  # noqa: TC001
from cdc_http.requests import ExtraInfo, NameMapping

if TYPE_CHECKING:
    import falcon

    from cdc_actors.service.views import CollectionView, DatabaseView, TaskView

_MAX_MESSAGE = 2000


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An object of an answer."""


class Error(Answer, frozen=True):
    """What was wrong; ``code`` is the HTTP status."""

    code: int
    message: str


class Target(Answer, frozen=True):
    """Where a target is, never how to log in."""

    uri: str
    connect_timeout: int


class Named(Answer, frozen=True):
    """A collection by its name, or all of them as ``*``."""

    name: str


class Excluded(Answer, frozen=True):
    """Collections that another task has."""

    database: str
    name: str


class Database(Answer, frozen=True):
    """A database and what the target calls it; ``whole``: created and dropped there."""

    name: str
    target_name: str
    whole: bool


class Collection(Answer, frozen=True):
    """A collection: where it stands, and why if it was set aside, or waits for a name.

    ``resync_needed`` says why rows of it are missing at the target, if some are.
    """

    database: str
    name: str
    target_database: str
    target_name: str
    collection_id: int
    state: str
    reason: str | None
    resync_needed: str | None


class RefusedOperations(Answer, frozen=True):
    """How many operations the target refused, and the newest of them."""

    count: int
    newest: list[Refusal]


class Task(Answer, frozen=True):
    """A task as milvus-cdc shows one, with what we say beside it.

    ``as_of`` is there where the past was asked for: the number of an event.
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
    extra_info: ExtraInfo | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    as_of: int | UnsetType = UNSET


class Created(Answer, frozen=True):
    """The task that was created, or was there already."""

    task_id: str


class Listed(Answer, frozen=True):
    """Every task, the oldest first."""

    tasks: list[Task]


class Got(Answer, frozen=True):
    """One task, twice: milvus-cdc's manual says Task, its own clients read task."""

    manual: Task = msgspec.field(name="Task")
    task: Task


class Position(Answer, frozen=True):
    """Up to where a channel has been brought to the target.

    ``position`` is for people, ``msg_id`` Milvus's own (base64 of a ``MsgPosition``);
    ``time`` is in milliseconds since 1970, ``tt`` a hybrid timestamp.
    """

    task_id: str
    channel_name: str
    position: str
    time: int
    tt: int
    msg_id: str


class Positions(Answer, frozen=True):
    """Positions in the source's log: of rows, and of clients' requests.

    ``target_positions`` is milvus-cdc's; an ordinary target has none.
    """

    positions: list[Position]
    op_positions: list[Position]
    target_positions: list[Position] = []


class Maintained(Answer, frozen=True):
    """What became of it, in words: milvus-cdc always says so with success."""

    state: str = msgspec.field(name="State")


class Done(Answer, frozen=True):
    """It is done."""


class Alive(Answer, frozen=True):
    """Whether the supervisor works."""

    alive: bool


class Ready(Answer, frozen=True):
    """Whether the service can do its work, and what is missing by name."""

    ready: bool
    missing: dict[str, str] | UnsetType = UNSET


def write_json(response: falcon.Response, status: int, value: Any) -> None:
    """Make ``value`` the answer. Times become RFC 3339, NaN becomes null."""
    response.status = status
    response.content_type = "application/json"
    try:
        response.data = msgspec.json.encode(value)
    except UnicodeEncodeError:
        # A peer's words may hold half a character, which JSON can but UTF-8 cannot.
        response.data = json.dumps(msgspec.to_builtins(value)).encode()


def write_error(response: falcon.Response, status: int, message: str) -> None:
    """Make ``{"code", "message"}`` the answer; the code repeats the status."""
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
        task_id=view.task_id,
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
        extra_info=ExtraInfo(enable_user_role=True) if spec.enable_user_role else UNSET,
        reason=view.reason or UNSET,
        as_of=UNSET if view.as_of is None else view.as_of,
    )


def _named(names: tuple[str, ...]) -> list[Named]:
    return [Named(name=name) for name in names]


def _mapping(rule: Any) -> NameMapping:
    return msgspec.convert(rule, NameMapping, from_attributes=True)


def _database(view: DatabaseView) -> Database:
    return Database(name=view.name, target_name=view.target, whole=view.whole)


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
    )
