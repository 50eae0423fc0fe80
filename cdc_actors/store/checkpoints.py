"""Checkpoints: how far each channel of a task is applied at its target.

They stand beside the event log in the same database, one row a channel, because the log
holds decisions and a checkpoint moves every second.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cdc_actors.changes import Checkpoint, Position

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.store.event_log import TaskLog

_TABLE = (
    "CREATE TABLE IF NOT EXISTS {checkpoints} ("
    "task_id TEXT NOT NULL, channel TEXT NOT NULL, "
    "position_id {binary} NOT NULL, position_text TEXT NOT NULL, "
    "inclusive INTEGER NOT NULL, tick BIGINT NOT NULL, saved_at TEXT NOT NULL, "
    "PRIMARY KEY (task_id, channel))"
)
_SAVE = (
    "INSERT INTO {checkpoints} VALUES ({p}, {p}, {p}, {p}, {p}, {p}, {p}) "
    "ON CONFLICT (task_id, channel) DO UPDATE SET "
    "position_id = excluded.position_id, position_text = excluded.position_text, "
    "inclusive = excluded.inclusive, tick = excluded.tick, saved_at = excluded.saved_at"
)
_LOAD = "SELECT * FROM {checkpoints} WHERE task_id = {p}"
_DELETE = "DELETE FROM {checkpoints} WHERE task_id = {p}"


class Checkpoints:
    """The checkpoints of all tasks. Any thread may use it.

    Every method raises ``UnavailableError``, in the database's words, if that is away,
    locked or full.
    """

    def __init__(self, log: TaskLog) -> None:
        """Use the database of ``log``, which also closes it."""
        self._database = log.database
        self._database.write(_TABLE)

    def save(self, task_id: str, checkpoints: Iterable[Checkpoint]) -> None:
        """Replace the checkpoints of the channels given, all or none of them."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        rows = [
            (
                task_id,
                checkpoint.position.channel,
                checkpoint.position.id,
                checkpoint.position.text,
                int(checkpoint.inclusive),
                checkpoint.tick,
                now,
            )
            for checkpoint in checkpoints
        ]
        self._database.write_rows(_SAVE, rows)

    def load(self, task_id: str) -> dict[str, Checkpoint]:
        """Return the checkpoints of a task by channel; empty if there are none."""
        return {
            row["channel"]: Checkpoint(
                position=Position(
                    row["channel"], bytes(row["position_id"]), row["position_text"]
                ),
                inclusive=bool(row["inclusive"]),
                tick=row["tick"],
            )
            for row in self._database.read(_LOAD, task_id)
        }

    def delete(self, task_id: str) -> None:
        """Forget the checkpoints of a task."""
        self._database.write_rows(_DELETE, [(task_id,)])
