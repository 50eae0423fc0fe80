"""Whether what a streaming node delivers begins where it was asked to begin.

An id that the queue no longer has is no error: the node begins somewhere else, often at the
oldest message (2.6.20, 3.0.0). So the message itself must come, before any that is later.
Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.errors import PositionLostError
from cdc_actors.source.wal.streaming.positions import rank

if TYPE_CHECKING:
    from cdc_actors.source.wal.streaming.positions import Place


class Arrival:
    """Waits for the message at ``start``, which is delivered if ``inclusive``.

    ``has_come`` tells that it was there, once that ``is_over``.
    """

    def __init__(self, channel: str, start: Place | None, *, inclusive: bool) -> None:
        """Without ``start`` everything is delivered."""
        self._channel = channel
        self._start = start
        self._inclusive = inclusive
        self.is_over = start is None
        self.has_come = False

    def admits(self, place: Place, *, stored: bool) -> bool:
        """Tell whether the next message is to be delivered.

        Raises:
            PositionLostError: It comes behind the start, which has not come.
        """
        if self._start is None or self.is_over:
            return True
        start = self._start
        if stored and place.id == start.id and start.time in (0, place.time):
            self.is_over = self.has_come = True
            return self._inclusive
        if _is_behind(place, start, stored=stored):
            raise PositionLostError(
                f"{self._channel}: the log no longer holds the message "
                f"{start.id or 'that was its first'}: what the streaming node began with "
                f"has come to {place.id or 'the first one'} without it"
            )
        self.is_over = not start.time and stored and place.rank > start.rank
        return self.is_over


def _is_behind(place: Place, start: Place, *, stored: bool) -> bool:
    """Tell whether the start would have come before what is at ``place``.

    Where its time is not known: all that stands before what a message calls confirmed has
    a smaller time than the message; a tick that is not stored has the log's last id.
    """
    if place.queue != start.queue:
        return True
    if start.time:
        return place.time > start.time
    if stored:
        return rank(place.queue, place.confirmed) > start.rank
    return place.rank < start.rank
