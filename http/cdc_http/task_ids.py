"""Ids of tasks as clients write them, and as tasks have them."""

from __future__ import annotations

import re
from uuid import UUID

from cdc_actors.errors import InvalidRequestError

_TASK_ID = re.compile(
    r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE
)


def new_task_id(given: str | None) -> str | None:
    """Return a client's own id for a new task as 32 hex digits, None for none."""
    if given is None:
        return None
    if not _TASK_ID.fullmatch(given):
        raise InvalidRequestError(
            "task_id is not 32 hex digits or a UUID, leave it out to be given one"
        )
    return UUID(given).hex


def known_task_id(given: str) -> str:
    """Return the id of a task that should exist in the form in which tasks have it."""
    if not given:
        raise InvalidRequestError("task_id is empty")
    return UUID(given).hex if _TASK_ID.fullmatch(given) else given
