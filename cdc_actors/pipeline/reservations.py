"""Which task has which name at a target, so that no two write into one collection.

Tasks of one target have no collection of the source in common (``tasks.conflicts``), yet
their name mappings may call two collections the same. A name is held from a collection's
creation on until its drop is done or its task deleted, while the task is paused, too.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.changes import FullName

    Key = tuple[str, FullName]


class NameReservations:
    """The names that all tasks of the service hold. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[Key, str] = {}

    def of(self, task_id: str, target: str) -> TaskReservations:
        """Return one task's view of them; ``target`` is the target's address."""
        return TaskReservations(self, task_id, target)

    def reserve(self, key: Key, task_id: str) -> str:
        """Hold a name for a task unless it is held; return the id of who holds it."""
        with self._lock:
            return self._held.setdefault(key, task_id)

    def holder(self, key: Key) -> str | None:
        """Return the id of the task that holds a name, None if there is none."""
        return self._held.get(key)

    def release(self, key: Key, task_id: str) -> None:
        """Let go of a name, if it is that task's."""
        with self._lock:
            if self._held.get(key) == task_id:
                del self._held[key]

    def hold_only(self, keys: Iterable[Key], task_id: str) -> None:
        """Let go of all names of a task but these, and hold these unless they are held."""
        with self._lock:
            self._held = {k: who for k, who in self._held.items() if who != task_id}
            for key in keys:
                self._held.setdefault(key, task_id)

    def release_all(self, task_id: str) -> None:
        """Let go of all names of a task."""
        with self._lock:
            self._held = {k: who for k, who in self._held.items() if who != task_id}


class TaskReservations:
    """The names at one target that one task holds. Any thread may use it."""

    def __init__(
        self, reservations: NameReservations, task_id: str, target: str
    ) -> None:
        self._reservations = reservations
        self._task_id = task_id
        self._target = target

    def reserve(self, name: FullName) -> str | None:
        """Hold a name; return the id of another task that has it, None if there is none."""
        holder = self._reservations.reserve((self._target, name), self._task_id)
        return None if holder == self._task_id else holder

    def moved(self, target: str, names: Iterable[FullName]) -> TaskReservations:
        """Hold just these names, at a target of that address; what was held is free."""
        keys = [(target, name) for name in names]
        self._reservations.hold_only(keys, self._task_id)
        return self._reservations.of(self._task_id, target)

    def held_by_another(self, name: FullName) -> str | None:
        """Return the id of another task that has a name, None if there is none."""
        holder = self._reservations.holder((self._target, name))
        return None if holder == self._task_id else holder

    def release(self, name: FullName) -> None:
        """Let go of a name, if it is this task's."""
        self._reservations.release((self._target, name), self._task_id)
