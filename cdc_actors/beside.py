"""Work that is done beside what its caller does."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Done = TypeVar("_Done")


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
