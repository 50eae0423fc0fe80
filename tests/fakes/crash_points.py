"""Runs on doubles that are killed wherever they ask the target or write something down."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from cdc_actors.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.pipeline import Pipeline


class KilledError(TransientError):
    """The run was killed: nothing that it begins from then on is done."""


class CrashPoints:
    """Kills a task's run at each point once, on whatever way it takes.

    A point is before or after a request to the target, by its method, or something that is
    written down, by its kind; ``passed`` are those at which a run was killed. The test's
    thread calls.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.passed: set[str] = set()
        self._pipeline = pipeline
        self._killed = False
        self._lock = threading.Lock()
        target, task = pipeline.target, pipeline.task
        answer, record = target.answer, task._record

        def wired_answer(method: str, *args: Any) -> Any:
            return self._pass(method, lambda: answer(method, *args))

        def wired_record(message: Any) -> None:
            kind = getattr(getattr(message, "operation", None), "kind", "")
            what = f"{type(message).__name__} {kind}".strip()
            self._pass(what, lambda: record(message))

        target.answer, task._record = wired_answer, wired_record

    def survive(self, wait: Callable[[], None]) -> None:
        """Wait for something, and begin another run whenever one is killed."""
        while True:
            try:
                wait()
            except KilledError:
                self._pipeline.kill()
                self._killed = False
                self._pipeline.begin()
            else:
                return

    def _pass(self, what: str, act: Callable[[], Any]) -> Any:
        with self._lock:
            self._die_at(f"before {what}")
            answer = act()
            self._die_at(f"after {what}")
            return answer

    def _die_at(self, point: str) -> None:
        if self._killed:
            raise KilledError("killed before")
        if point not in self.passed:
            self.passed.add(point)
            self._killed = True
            raise KilledError(f"killed {point}")
