"""Checkpoints: how far each channel of a task is applied at its target.

They stand beside the event log in the same database, one row a channel, because the log
holds decisions and a checkpoint moves every second.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from cdc_actors.changes import Checkpoint, Position
from cdc_actors.store.channel_rows import ChannelRows

if TYPE_CHECKING:
    from collections.abc import Iterable


class Checkpoints(ChannelRows):
    """The checkpoints of all tasks; see ``ChannelRows``."""

    table = "{checkpoints}"
    columns: ClassVar = {
        "position_id": "{binary}",
        "position_text": "TEXT",
        "inclusive": "INTEGER",
        "tick": "BIGINT",
        "saved_at": "TEXT",
    }

    def save(self, task_id: str, checkpoints: Iterable[Checkpoint]) -> None:
        """Replace the checkpoints of the channels given, all or none of them."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._save(
            task_id,
            (
                (
                    checkpoint.position.channel,
                    checkpoint.position.id,
                    checkpoint.position.text,
                    int(checkpoint.inclusive),
                    checkpoint.tick,
                    now,
                )
                for checkpoint in checkpoints
            ),
        )

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
            for row in self._load(task_id)
        }
