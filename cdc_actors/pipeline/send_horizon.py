"""Up to where changes may have been sent to the target: written down before they are.

A checkpoint says what has arrived for certain. After a kill, what lies between it and the
send horizon may be at the target or not, and is applied again by key. So is what an earlier
owner of the store may have sent without that this store knows; see ``OwnerStart``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.changes import LOGICAL_BITS
from cdc_actors.pipeline.messages import AdvanceSendHorizons

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_actors.pipeline.channels import Channels
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.owner_start import OwnerStart

HORIZON_STEP = 5_000 << LOGICAL_BITS
"""How far a horizon is moved ahead, as a hybrid timestamp: five seconds."""


class SendHorizon:
    """Keeps every channel's send horizon ahead of what is sent. The reader's thread."""

    def __init__(
        self,
        context: RunContext,
        channels: Channels,
        earlier: Mapping[str, int],
        owner_start: OwnerStart | None = None,
    ) -> None:
        """``earlier`` are the horizons that earlier runs left, by channel.

        Raises:
            CdcError: The source does not say what time it is.
        """
        self._context = context
        self._channels = channels
        self._earlier = earlier
        self._inherited = (
            owner_start.timestamp(context.source_time) if owner_start else 0
        )
        self._horizons = dict(earlier)
        for channel, horizon in earlier.items():
            context.note_sent(channel, horizon)

    def may_exist(self, channel: str, timestamp: int) -> bool:
        """Tell whether an earlier run may have sent the channel's change of a time."""
        return timestamp <= max(self._inherited, self._earlier.get(channel, 0))

    def reach(self, channel: str, timestamp: int) -> None:
        """Return once the channel's changes up to a time may be sent.

        Raises:
            CdcError: The horizon cannot be written down.
        """
        if timestamp > self._horizons.get(channel, 0):
            self._advance(channel, timestamp)
        self._context.note_sent(channel, timestamp)

    def _advance(self, channel: str, timestamp: int) -> None:
        """Move the horizons of all channels in one write, as the others come soon."""
        reached = {each: self._channels.tick(each) for each in self._channels}
        reached[channel] = max(timestamp, reached.get(channel, 0))
        ahead = {each: at + HORIZON_STEP for each, at in reached.items() if at}
        moved = {c: at for c, at in ahead.items() if at > self._horizons.get(c, 0)}
        self._context.record(AdvanceSendHorizons(self._context.run_number, moved))
        self._horizons |= moved
        # A clean end of the run takes the horizons of all these back to what was sent.
        for each in moved:
            self._context.note_sent(each, 0)
