"""Actors that have a thread only while they have something to do."""

from __future__ import annotations

import contextvars
import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import pykka

from cdc_actors.shared_threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable

_THREADS = Threads("actors")


class PooledActor(pykka.Actor):
    """An actor whose messages any thread handles, one after another.

    Context variables that it binds, such as those of log lines, it finds again: all that it
    does is done in one context of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self._context_variables = contextvars.Context()
        self._has_started = False

    @staticmethod
    def _create_actor_inbox() -> _Inbox:
        return _Inbox()

    @staticmethod
    def _create_future() -> pykka.Future[Any]:
        return pykka.ThreadingFuture()

    def _start_actor_loop(self) -> None:
        self._inbox.begin(self._serve)

    @property
    def _inbox(self) -> _Inbox:
        return cast("_Inbox", self.actor_inbox)

    def _serve(self) -> None:
        while True:
            self._context_variables.run(self._handle_all)
            if self._inbox.has_ended():
                return

    def _handle_all(self) -> None:
        if not self._has_started:
            self._has_started = True
            self._actor_loop_setup()
        with suppress(queue.Empty):
            self._actor_loop_running()
        if self.actor_stopped.is_set():
            self._actor_loop_teardown()


class _Inbox(queue.Queue[Any]):
    """Messages of one actor, which ask for a thread while none handles them."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._serve: Callable[[], None] | None = None
        self._is_served = False

    def begin(self, serve: Callable[[], None]) -> None:
        """Have ``serve`` called now, and whenever there are messages."""
        self._serve = serve
        self._ask()

    def put(self, *message: Any, **how: Any) -> None:
        """Add a message."""
        super().put(*message, **how)
        self._ask()

    def get(self, *_: Any, **__: Any) -> Any:
        """Return the next message; never wait for one.

        Raises:
            queue.Empty: There is none.
        """
        return super().get(block=False)

    def has_ended(self) -> bool:
        """Be served no more if there is nothing; tell whether that is so."""
        with self._lock:
            self._is_served = not self.empty()
            return not self._is_served

    def _ask(self) -> None:
        with self._lock:
            if self._serve is None or self._is_served:
                return
            self._is_served = True
        _THREADS.submit(self._serve)
