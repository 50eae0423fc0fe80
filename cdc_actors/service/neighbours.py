"""What the other tasks of a target are, where they are of several services.

The log has it: each service reads what was created, updated and deleted since it last
looked. Whoever creates or updates a task looks first; if another has done so for the same
target before that is in the log, or has taken the last place for a task, it is refused, and
looks again.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from cdc_actors.errors import UnavailableError
from cdc_actors.grpc_common import address
from cdc_actors.tasks import TaskSpec
from cdc_actors.tasks.events import TaskCreated, TaskDeleted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cdc_actors.changes import FullName
    from cdc_actors.service.stored_names import StoredNames
    from cdc_actors.store.event_log import TaskLog


class BesideChangedError(UnavailableError):
    """Other tasks were created or updated at the same time: look again."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What other tasks have of a target: their specifications, and names there.

    The former are with the ids that clients know. ``tasks`` counts all there are of the
    store. ``check`` raises ``BesideChangedError`` if that is not so any more, by a cursor
    of the transaction in which it has to be; or if ``room`` for so many more tasks is gone.
    """

    specs: Sequence[tuple[str, TaskSpec]]
    names: Sequence[FullName]
    tasks: int
    check: Callable[..., None]


class Neighbours:
    """All tasks' specifications, as the log has them. Any thread may use it."""

    def __init__(self, log: TaskLog, names: StoredNames) -> None:
        self._log = log
        self._names = names
        self._lock = threading.Lock()
        self._read = 0
        self._specs: dict[str, TaskSpec] = {}

    def beside(self, target_uri: str, task_id: str) -> Beside:
        """Return what other tasks than this one have of a target.

        Raises:
            UnavailableError: The log does not answer.
        """
        target = address(target_uri)
        with self._lock:
            self._follow()
            read, specs = self._read, dict(self._specs)
        others = [
            (spec.task_name or each, spec)
            for each, spec in specs.items()
            if each != task_id and address(spec.target.uri) == target
        ]
        names = self._names.of_others(target, task_id)
        return Beside(others, names, len(specs), partial(self._check, read, target))

    def _follow(self) -> None:
        for number, event in self._log.lives(self._read):
            task_id = event.originator_id.hex
            if isinstance(event, TaskDeleted):
                self._specs.pop(task_id, None)
            else:
                self._specs[task_id] = _spec(event)
            self._read = number

    def _check(
        self, read: int, target: str, cursor: Any, room: float = math.inf
    ) -> None:
        for _, event in self._log.lives(read, cursor):
            room += isinstance(event, TaskDeleted) - isinstance(event, TaskCreated)
            of_target = not isinstance(event, TaskDeleted)
            if of_target and address(_spec(event).target.uri) == target:
                raise BesideChangedError(
                    "another task of that target was just created or changed, try again"
                )
        if room <= 0:
            raise BesideChangedError("another task was just created, try again")


def _spec(event: Any) -> TaskSpec:
    """Return the specification that a creation or an update has made."""
    return TaskSpec.from_json(event.spec)
