"""Send horizons: how far each channel's changes may have been sent to the target.

A checkpoint says what has arrived for certain; the horizon, which is moved before anything
beyond it is sent, what may have. After a kill only the stretch between the two is applied
again by key; everything newer is new to the target. Their table is ``fences``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from cdc_actors.store.channel_rows import ChannelRows

if TYPE_CHECKING:
    from collections.abc import Mapping


class SendHorizons(ChannelRows):
    """The send horizons of all tasks, hybrid timestamps; see ``ChannelRows``."""

    table = "{send_horizons}"
    columns: ClassVar = {"sent": "BIGINT"}

    def save(self, task_id: str, sent: Mapping[str, int]) -> None:
        """Set the horizons of the channels given, all or none of them."""
        self._save(task_id, sent.items())

    def load(self, task_id: str) -> dict[str, int]:
        """Return the horizons of a task by channel; empty if nothing was ever sent."""
        return {row["channel"]: row["sent"] for row in self._load(task_id)}
