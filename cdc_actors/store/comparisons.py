"""How far comparisons have come: one for each task, in the database of the event log.

The event log has what they came to; this is what one goes on from after a kill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cdc_actors.store.event_log import TaskLog


class ComparisonRows:
    """The newest comparison of each task, as bytes. Any thread may use it.

    Every method raises ``UnavailableError``, in the database's words, if that is away,
    locked or full.
    """

    def __init__(self, log: TaskLog) -> None:
        """Use the database of ``log``, which also closes it."""
        self._database = log.database
        self._database.write(
            "CREATE TABLE IF NOT EXISTS {comparisons} "
            "(task_id TEXT PRIMARY KEY, state {binary} NOT NULL)"
        )

    def save(self, task_id: str, state: bytes) -> None:
        """Replace what there is of a task."""
        self._database.write_rows(
            "INSERT INTO {comparisons} VALUES ({p}, {p}) "
            "ON CONFLICT (task_id) DO UPDATE SET state = excluded.state",
            [(task_id, state)],
            task_id,
        )

    def load_all(self) -> dict[str, bytes]:
        """Return what there is, by task."""
        rows = self._database.read("SELECT task_id, state FROM {comparisons}")
        return {row["task_id"]: bytes(row["state"]) for row in rows}

    def delete(self, task_id: str) -> None:
        """Forget the comparison of a task."""
        statement = "DELETE FROM {comparisons} WHERE task_id = {p}"
        self._database.write_rows(statement, [(task_id,)], task_id)
