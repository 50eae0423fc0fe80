"""Tables of one row for each channel of a task, in the database of the event log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cdc_actors.store.event_log import TaskLog


class ChannelRows:
    """One such table, for all tasks. Any thread may use it.

    Every method raises ``UnavailableError``, in the database's words, if that is away,
    locked or full.
    """

    table: ClassVar[str]
    """What a statement's text calls it, in braces."""
    columns: ClassVar[dict[str, str]]
    """The type of each column behind ``task_id`` and ``channel``."""

    def __init__(self, log: TaskLog) -> None:
        """Use the database of ``log``, which also closes it."""
        self._database = log.database
        columns = ", ".join(
            f"{name} {kind} NOT NULL" for name, kind in self.columns.items()
        )
        self._database.write(
            f"CREATE TABLE IF NOT EXISTS {self.table} (task_id TEXT NOT NULL, "
            f"channel TEXT NOT NULL, {columns}, PRIMARY KEY (task_id, channel))"
        )

    def delete(self, task_id: str) -> None:
        """Forget the rows of a task."""
        statement = f"DELETE FROM {self.table} WHERE task_id = {{p}}"  # noqa: S608
        self._database.write_rows(statement, [(task_id,)], task_id)

    def _save(self, task_id: str, rows: Iterable[Sequence[Any]]) -> None:
        """Replace rows, all or none of them; each begins with the channel."""
        marks = ", ".join(["{p}"] * (2 + len(self.columns)))
        values = ", ".join(f"{name} = excluded.{name}" for name in self.columns)
        self._database.write_rows(
            f"INSERT INTO {self.table} VALUES ({marks}) "  # noqa: S608
            f"ON CONFLICT (task_id, channel) DO UPDATE SET {values}",
            [(task_id, *row) for row in rows],
            task_id,
        )

    def _load(self, task_id: str) -> list[Any]:
        """Return the rows of a task, each to be read by column name."""
        statement = f"SELECT * FROM {self.table} WHERE task_id = {{p}}"  # noqa: S608
        return self._database.read(statement, task_id)
