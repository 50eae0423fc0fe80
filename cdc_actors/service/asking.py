"""Asking the supervisor, and the task behind it if it passes the message on."""

from __future__ import annotations

from typing import Any

import pykka

from cdc_actors.errors import UnavailableError

ANSWER_SECONDS = 5.0
"""How long to wait for the supervisor, and then for the task."""


def ask(supervisor: pykka.ActorRef[Any], message: object) -> Any:
    """Return the answer to a message; any thread but an actor's.

    Raises:
        UnavailableError: There is none in time.
        pykka.ActorDeadError: The supervisor, or the task, has ended.
        CdcError: The supervisor's, or the task's.
    """
    try:
        answer = supervisor.ask(message, timeout=ANSWER_SECONDS)
        if isinstance(answer, pykka.Future):
            answer = answer.get(timeout=ANSWER_SECONDS)
    except pykka.Timeout as error:
        raise UnavailableError(
            f"no answer within {ANSWER_SECONDS:.0f} seconds; whether it was done "
            "will be seen: ask again"
        ) from error
    return answer
