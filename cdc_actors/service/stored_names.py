"""Which task has which name at a target, where tasks are of several services.

One table in PostgreSQL, in which no two tasks have a name; see ``NameReservations``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.pipeline.reservations import NameReservations

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.changes import FullName
    from cdc_actors.pipeline.reservations import Key
    from cdc_actors.store.database import Database

_RESERVE = (
    "INSERT INTO {target_names} AS names VALUES (%s, %s, %s, %s) "
    "ON CONFLICT (target, database, name) DO UPDATE SET task_id = names.task_id "
    "RETURNING task_id"
)
_HOLDER = (
    "SELECT task_id FROM {target_names} "
    "WHERE target = %s AND database = %s AND name = %s"
)
_RELEASE = (
    "DELETE FROM {target_names} "
    "WHERE target = %s AND database = %s AND name = %s AND task_id = %s"
)
_HELD = "SELECT target, database, name FROM {target_names} WHERE task_id = %s"
_RELEASE_ALL = "DELETE FROM {target_names} WHERE task_id = %s"
_OF_OTHERS = (
    "SELECT database, name FROM {target_names} WHERE target = %s AND task_id <> %s"
)


class StoredNames(NameReservations):
    """The names that all tasks of a store hold. Any thread may use it.

    Every method raises ``UnavailableError`` if the database is away, or our lease lost.
    """

    def __init__(self, database: Database) -> None:
        """Use a database in which the lease has made the table."""
        super().__init__()
        self._database = database

    def reserve(self, key: Key, task_id: str) -> str:
        """Hold a name for a task unless it is held; return the id of who holds it."""
        (row,) = self._database.change(_RESERVE, *_row(key), task_id)
        return str(row["task_id"])

    def holder(self, key: Key) -> str | None:
        """Return the id of the task that holds a name, None if there is none."""
        rows = self._database.read(_HOLDER, *_row(key))
        return rows[0]["task_id"] if rows else None

    def release(self, key: Key, task_id: str) -> None:
        """Let go of a name, if it is that task's."""
        self._database.change(_RELEASE, *_row(key), task_id)

    def hold_only(self, keys: Iterable[Key], task_id: str) -> None:
        """Let go of all names of a task but these, and hold these unless they are held."""
        rows = self._database.read(_HELD, task_id)
        held = {(row["target"], (row["database"], row["name"])) for row in rows}
        wanted = set(keys)
        for key in held - wanted:
            self.release(key, task_id)
        for key in wanted - held:
            self.reserve(key, task_id)

    def release_all(self, task_id: str) -> None:
        """Let go of all names of a task."""
        self._database.change(_RELEASE_ALL, task_id)

    def of_others(self, target: str, task_id: str) -> list[FullName]:
        """Return the names at a target that other tasks than this one hold."""
        rows = self._database.read(_OF_OTHERS, target, task_id)
        return [(row["database"], row["name"]) for row in rows]


def _row(key: Key) -> tuple[str, str, str]:
    target, (database, name) = key
    return target, database, name
