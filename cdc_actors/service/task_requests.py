"""Requests to the supervisor, by way of whatever tenure there is."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pykka

from cdc_actors.errors import TaskMovesError, UnavailableError, UnknownTaskError
from cdc_actors.service.asking import ask
from cdc_actors.service.neighbours import BesideChangedError
from cdc_actors.service.tenure import MOVING_POLL_SECONDS, MOVING_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.service.messages import CreateTask, UpdateTask
    from cdc_actors.service.tenure import Ownership

TRIES = 5
"""How often a task is fitted in beside others that change meanwhile."""


class TaskRequests:
    """Asks the supervisor. Any thread but an actor's may use it."""

    def __init__(self, ownership: Callable[[], Ownership]) -> None:
        """``ownership`` raises ``UnavailableError`` before the service has begun."""
        self._ownership = ownership

    def ask(self, message: object) -> Any:
        """Ask the supervisor, and the task behind it if it passes the message on.

        A task that ends while it is asked may be gone: then the supervisor knows by now.

        Raises:
            UnavailableError: There is no supervisor or no answer, or the task is moving.
            CdcError: The supervisor's, or the task's.
        """
        with suppress(pykka.ActorDeadError):
            return self._ask_once(message)
        try:
            return self._ask_once(message)
        except pykka.ActorDeadError as error:
            raise UnavailableError("the task is just starting again") from error

    def ask_beside(
        self, message: CreateTask | UpdateTask, target_uri: str, task_id: str
    ) -> Any:
        """Ask for what must fit beside all other tasks of a target."""
        neighbours = self._ownership().tenure.stores.neighbours
        if neighbours is None:
            return self.ask(message)
        for left in reversed(range(TRIES)):
            beside = neighbours.beside(target_uri, task_id)
            try:
                return self.ask(replace(message, beside=beside))
            except BesideChangedError:
                if not left:
                    raise
        return None

    def _ask_once(self, message: Any) -> Any:
        """Ask for a task that is about to be here as soon as it is."""
        ownership = self._ownership()
        deadline = time.monotonic() + MOVING_SECONDS
        while True:
            try:
                return ask(ownership.tenure.supervisor, message)
            except UnknownTaskError:
                try:
                    ownership.refuse_moving(message.task_id)
                except TaskMovesError:
                    if time.monotonic() > deadline:
                        raise
                else:
                    raise
            time.sleep(MOVING_POLL_SECONDS)
