"""The words of a task's state, as its events set them and the API shows them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

    from cdc_actors.errors import FailureClass


class TaskState(StrEnum):
    """What a task is meant to do. Whether it moves is its health, not its state."""

    INITIAL = "Initial"
    RUNNING = "Running"
    PAUSED = "Paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a task does not move.

    ``attempt`` counts the failures since ``since``, the first of them; ``next_try`` is
    None if nothing is tried again by itself.
    """

    error: str
    failure_class: FailureClass
    attempt: int
    next_try: datetime | None
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Who asked for something: a client of the API, or the service itself.

    ``token_name`` is the name of an API token, never the token.
    """

    kind: Literal["client", "supervisor"]
    address: str | None = None
    token_name: str | None = None
