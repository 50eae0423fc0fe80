"""The answers of the API as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import falcon

    from cdc_actors.actors.views import (
        CollectionView,
        DatabaseView,
        Health,
        TaskView,
    )

_MAX_MESSAGE = 2000


def write_json(response: falcon.Response, status: int, value: Any) -> None:
    """Make ``value`` the answer. Times become RFC 3339, NaN becomes null."""
    response.status = status
    response.content_type = "application/json"
    response.data = msgspec.json.encode(value)


def write_error(response: falcon.Response, status: int, message: str) -> None:
    """Make ``{"code", "message"}`` the answer; the code repeats the status."""
    if len(message) > _MAX_MESSAGE:
        message = f"{message[:_MAX_MESSAGE]}..."
    # A path or a peer's words may hold what UTF-8 cannot.
    message = message.encode(errors="replace").decode()
    write_json(response, status, {"code": status, "message": message})


def task_object(view: TaskView) -> dict[str, Any]:
    """Return a task as milvus-cdc shows one, with what we say beside it."""
    spec = view.spec
    task: dict[str, Any] = {
        "task_id": view.task_id,
        "milvus_connect_param": {
            "uri": spec.target.uri,
            "connect_timeout": spec.target.connect_timeout,
        },
        "collection_infos": _infos(spec.collection_infos),
        "state": view.state,
        "created_at": view.created_at,
        "health": _health(view.health),
        "lag_seconds": view.lag_seconds,
        "rows_applied": view.rows_applied,
        "databases": [_database(each) for each in view.databases],
        "collections": [_collection(each) for each in view.collections],
    }
    if spec.db_collections:
        task["db_collections"] = {
            database: _infos(names) for database, names in spec.db_collections.items()
        }
    if spec.name_mapping:
        task["name_mapping"] = spec.name_mapping
    if spec.excludes:
        task["excludes"] = [
            {"database": database, "name": name} for database, name in spec.excludes
        ]
    if view.reason:
        task["reason"] = view.reason
    if view.as_of is not None:
        task["as_of"] = view.as_of
    return task


def _infos(names: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


def _health(health: Health) -> dict[str, Any]:
    return {
        "status": health.status,
        "since": health.since,
        "error": health.error,
        "failure_class": health.failure_class,
        "attempt": health.attempt,
        "next_try": health.next_try,
    }


def _database(view: DatabaseView) -> dict[str, Any]:
    return {"name": view.name, "target_name": view.target, "whole": view.whole}


def _collection(view: CollectionView) -> dict[str, Any]:
    return {
        "database": view.database,
        "name": view.name,
        "target_database": view.target[0],
        "target_name": view.target[1],
        "collection_id": view.collection_id,
        "state": view.state,
        "reason": view.reason,
    }
