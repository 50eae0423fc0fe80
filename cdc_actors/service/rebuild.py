"""What the event log knows, told to the supervisor task by task when a service starts.

In a thread of its own: a log that is slow or away holds up no request, and a task that
cannot be read holds up no other.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import pykka
import structlog

from cdc_actors.errors import (
    CdcError,
    OperatorError,
    UnavailableError,
    UnknownTaskError,
)
from cdc_actors.grpc_common import address
from cdc_actors.pipeline.owner_start import OwnerStart
from cdc_actors.service import backoff
from cdc_actors.service.messages import RebuildEnded, TaskLoaded
from cdc_actors.service.snapshot import TaskSnapshot
from cdc_actors.tasks import SUPERVISOR, TaskState
from cdc_actors.tasks.updates import names_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.service.stores import Stores
    from cdc_actors.tasks import Task

NOT_STARTED = "the task is disabled auto start"
"""Why such a task is paused, in milvus-cdc's words."""

_T = TypeVar("_T")
_log = structlog.get_logger()


def start(supervisor: pykka.ActorRef[Any], stores: Stores) -> None:
    """Begin to send a ``TaskLoaded`` for each task, and ``RebuildEnded`` after the last.

    A log that does not answer is asked again until it does or the supervisor has ended.
    """
    threading.Thread(
        target=_rebuild, args=[supervisor, stores], name="rebuild", daemon=True
    ).start()


def _rebuild(supervisor: pykka.ActorRef[Any], stores: Stores) -> None:
    # What is left to do when the supervisor has ended is nothing.
    with suppress(pykka.ActorDeadError):
        owner_start = OwnerStart()
        for task_id in answer(stores.log.alive_ids, supervisor):
            if snapshot := load(task_id, stores, supervisor):
                supervisor.tell(TaskLoaded(snapshot, owner_start))
        supervisor.tell(RebuildEnded())


def load(
    task_id: str,
    stores: Stores,
    supervisor: pykka.ActorRef[Any],
    *,
    was_moved: bool = False,
) -> TaskSnapshot | None:
    """Return a task of the log, None if it was deleted meanwhile.

    One that ``was_moved`` from a service that lives goes on as it was.

    Raises:
        pykka.ActorDeadError: The supervisor has ended, and the log has not answered.
    """
    return answer(lambda: _snapshot(task_id, stores, was_moved), supervisor)


def answer(question: Callable[[], _T], supervisor: pykka.ActorRef[Any]) -> _T:
    """Ask the log until it answers; ActorDeadError if the supervisor has ended."""
    attempt = 0
    while True:
        try:
            return question()
        except UnavailableError as error:
            attempt += 1
            _log.error("event_log_error", error=str(error), attempt=attempt)
            if not supervisor.is_alive():
                raise pykka.ActorDeadError from error
            time.sleep(backoff.delay(attempt))


def _snapshot(
    task_id: str,
    stores: Stores,
    was_moved: bool,  # noqa: FBT001
) -> TaskSnapshot | None:
    """Return a task of the log with its names held, None if there is none any more.

    Raises:
        UnavailableError: The log does not answer.
    """
    try:
        task = _loaded(task_id, stores, was_moved)
        target = address(task.spec.target.uri)
        stores.names.hold_only([(target, name) for name in names_of(task)], task_id)
        return TaskSnapshot(task=task)
    except UnknownTaskError:
        return None
    except UnavailableError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever an event holds, the others start
        reason = str(error) if isinstance(error, CdcError) else repr(error)
        _log.error("task_unreadable", task_id=task_id, error=reason)
        readable = stores.log.load_readable(task_id)
        return TaskSnapshot(task=readable, unreadable=reason)


def _loaded(task_id: str, stores: Stores, was_moved: bool) -> Task:  # noqa: FBT001
    """Return a task of the log, its secret encrypted with the newest key.

    One that is not to start by itself is paused, unless it goes on.
    """
    task, secrets = stores.log.load(task_id), stores.secrets
    # Where no key fits, the task says so as soon as it needs the secret.
    with suppress(OperatorError):
        if secrets.is_outdated(task.secret):
            secret = secrets.encrypt(secrets.decrypt(task.secret))
            task.rekey(secret, who=SUPERVISOR, why="there is a newer key")
    stays = task.spec.disable_auto_start and not was_moved
    if stays and task.state is TaskState.RUNNING:
        checkpoints = stores.checkpoints.load(task_id).values()
        why = "the service has started"
        task.pause(NOT_STARTED, checkpoints, who=SUPERVISOR, why=why)
    if task.pending_events:
        stores.log.save(task)
    return task
