"""Send horizons: how far each channel's changes may have been sent to the target.

A checkpoint says what has arrived for certain; the horizon, which is moved before anything
beyond it is sent, what may have. After a kill only the stretch between the two is applied
again by key; everything newer is new to the target. Their table is ``fences``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_actors.store.event_log import TaskLog

_TABLE = (
    "CREATE TABLE IF NOT EXISTS {send_horizons} ("
    "task_id TEXT NOT NULL, channel TEXT NOT NULL, sent BIGINT NOT NULL, "
    "PRIMARY KEY (task_id, channel))"
)
_SAVE = (
    "INSERT INTO {send_horizons} VALUES ({p}, {p}, {p}) "
    "ON CONFLICT (task_id, channel) DO UPDATE SET sent = excluded.sent"
)
_LOAD = "SELECT channel, sent FROM {send_horizons} WHERE task_id = {p}"
_DELETE = "DELETE FROM {send_horizons} WHERE task_id = {p}"


class SendHorizons:
    """The send horizons of all tasks. Any thread may use it.

    Every method raises ``UnavailableError``, in the database's words, if that is away,
    locked or full.
    """

    def __init__(self, log: TaskLog) -> None:
        """Use the database of ``log``, which also closes it."""
        self._database = log.database
        self._database.write(_TABLE)

    def save(self, task_id: str, sent: Mapping[str, int]) -> None:
        """Set the horizons of the channels given, hybrid timestamps, all or none."""
        rows = [(task_id, channel, timestamp) for channel, timestamp in sent.items()]
        self._database.write_rows(_SAVE, rows)

    def load(self, task_id: str) -> dict[str, int]:
        """Return the horizons of a task by channel; empty if nothing was ever sent."""
        rows = self._database.read(_LOAD, task_id)
        return {row["channel"]: row["sent"] for row in rows}

    def delete(self, task_id: str) -> None:
        """Forget the horizons of a task."""
        self._database.write_rows(_DELETE, [(task_id,)])
