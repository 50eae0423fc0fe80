"""Work that is done beside what its caller does."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from contextvars import copy_context
from functools import partial, wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Arguments = ParamSpec("_Arguments")
_Done = TypeVar("_Done")

_LOOK_SECONDS = 0.5


def beside(work: Callable[[], _Done], name: str) -> Future[_Done]:
    """Begin work in a thread of that name; return what will hold its outcome.

    The thread keeps no process from ending; its log lines say what the caller's do.
    """
    outcome: Future[_Done] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except Exception as error:  # noqa: BLE001 - who asks for the outcome must hear
            outcome.set_exception(error)

    context = copy_context()
    threading.Thread(target=context.run, args=[run], name=name, daemon=True).start()
    return outcome


def uninterrupted(work: Callable[_Arguments, _Done]) -> Callable[_Arguments, _Done]:
    """Have a function do its work in a thread of its own, for which its caller waits.

    An exception that a signal raises, such as KeyboardInterrupt, ends the waiting at once;
    the work goes on. For calls by gRPC: where one is ended by such an exception as it
    begins, to close its channel may take for ever (seen with grpcio 1.85).
    """

    @wraps(work)
    def waiting(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Done:
        outcome = beside(partial(work, *args, **kwargs), work.__name__)
        # A signal that comes in the moment before a wait begins does not interrupt it.
        while not outcome.done():
            wait([outcome], _LOOK_SECONDS)
        return outcome.result()

    return waiting
