"""Work that is done beside what its caller does."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, wait
from contextvars import copy_context
from functools import partial, wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Given = ParamSpec("_Given")
_Done = TypeVar("_Done")

_LOOK_SECONDS = 0.5

LINGER_SECONDS = 2.0
"""How long a thread waits for more to do."""


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


def uninterrupted(work: Callable[_Given, _Done]) -> Callable[_Given, _Done]:
    """Have a function do its work in a thread of its own, for which its caller waits.

    An exception that a signal raises, such as KeyboardInterrupt, ends the waiting at once;
    the work goes on. For calls by gRPC: where one is ended by such an exception as it
    begins, to close its channel may take for ever (seen with grpcio 1.85).
    """

    @wraps(work)
    def waiting(*args: _Given.args, **kwargs: _Given.kwargs) -> _Done:
        outcome = beside(partial(work, *args, **kwargs), work.__name__)
        # A signal that comes in the moment before a wait begins does not interrupt it.
        while not outcome.done():
            wait([outcome], _LOOK_SECONDS)
        return outcome.result()

    return waiting


class Threads:
    """As many threads as have work: none waits for another to end. For any thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._line: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._idle = 0

    def submit(self, work: Callable[[], None]) -> None:
        """Have something done soon, by a thread that is free, or by a new one."""
        with self._changed:
            self._line.append(work)
            if self._idle >= len(self._line):
                self._changed.notify()
                return
            self._idle += 1
        threading.Thread(target=self._serve, name=self._name, daemon=True).start()

    def _serve(self) -> None:
        while (work := self._next()) is not None:
            work()
            del work  # It may hold much, and the next be long in coming.
            with self._changed:
                self._idle += 1

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._line, LINGER_SECONDS)
            self._idle -= 1
            return self._line.popleft() if self._line else None
