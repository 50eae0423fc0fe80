"""Ids of tasks as clients write them, and as the service knows them.

The service knows a task by 32 hex digits, a UUID. A client may choose any text: the same
text always stands for the same UUID, and answers say it as the client did.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from cdc_actors.errors import InvalidRequestError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

_UUID = re.compile(
    r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE
)
_NAMESPACE = UUID("6f0d3c52-2b0c-4f0e-9d2f-6a1b9f0c7e11")
"""Of the UUIDs that are made of texts. A change would make every such task unknown."""


def is_name(given: str) -> bool:
    """Tell whether an id is a text of the client's own, and not a UUID."""
    return not _UUID.fullmatch(given)


def check_name_length(given: str, limit: int) -> None:
    """Raise InvalidRequestError if an id has more than ``limit`` characters."""
    if len(given) > limit:
        raise InvalidRequestError(f"the task id length exceeds {limit} characters")


def shown_task_id(given: str) -> str:
    """Return the id of a task as answers say it."""
    return given if is_name(given) else UUID(given).hex


@contextmanager
def known_task_id(given: str) -> Iterator[str]:
    """Yield the id by which the service knows a task; errors say it as the client did.

    Raises:
        InvalidRequestError: It is empty.
    """
    if not given:
        raise InvalidRequestError("task_id is empty")
    known = uuid5(_NAMESPACE, given).hex if is_name(given) else UUID(given).hex
    try:
        yield known
    except RequestError as error:
        words = str(error).replace(known, shown_task_id(given))
        raise type(error)(words) from error
