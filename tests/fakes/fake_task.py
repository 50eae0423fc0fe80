"""A task actor in memory: it takes down whatever a run asks and tells it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from cdc_actors.pipeline.messages import RunFailed

if TYPE_CHECKING:
    from collections.abc import Callable


class _Answer:
    def get(self, timeout: float | None = None) -> None:
        """Every write is durable at once."""


class FakeTask:
    """Stands for the task's ``ActorRef``. Any thread may use it."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.asked: list[object] = []
        self.told: list[object] = []

    def ask(self, message: object, *, block: bool = True) -> _Answer:
        """Take down what is to be written; it is at once."""
        assert not block
        with self.changed:
            self.asked.append(message)
            self.changed.notify_all()
        return _Answer()

    def tell(self, message: object) -> None:
        """Take down what needs no answer."""
        with self.changed:
            self.told.append(message)
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], timeout: float = 10) -> bool:
        """Wait until something is true of what was asked and told."""
        with self.changed:
            return self.changed.wait_for(condition, timeout)

    @property
    def failures(self) -> list[Exception]:
        """Why the runs failed that did."""
        return [each.error for each in self.told if isinstance(each, RunFailed)]
