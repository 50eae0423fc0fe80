"""How far each collection was brought by earlier runs.

A channel that is set back for the sake of one collection says again what the others have.
They take nothing at or below their floors, or old rows would come back for a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cdc_actors.changes import Checkpoint, Position
    from cdc_actors.pipeline.channels import Channels
    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.source.wal.base import WalReader


class Floors:
    """The floors of one run, by collection and channel. The reader's thread."""

    def __init__(self, spec: RunSpec, channels: Channels, wal: WalReader) -> None:
        self._requests = spec.source.replicate_chan
        self._reached = spec.reached
        self._stood = {e.collection_id: e.stood for e in spec.entries if e.stood}
        self._channels = channels
        self._wal = wal

    def applied(self, collection_id: int, channel: str) -> int:
        """Return up to which timestamp a collection had its changes of a channel."""
        floor = self._floor(collection_id, channel)
        begun = self._channels.applied(channel)
        return max(begun, floor.tick) if floor else begun

    def has_request(self, collection_id: int, at: Position) -> bool:
        """Tell whether a client's request was done for a collection; they have no ticks."""
        floor = self._floor(collection_id, self._requests)
        if floor is None or not self._wal.reached(floor.position, at):
            return False
        return not floor.inclusive or not self._wal.reached(at, floor.position)

    def _floor(self, collection_id: int, channel: str) -> Checkpoint | None:
        """One that stood somewhere before any request was read has had none of them."""
        own = self._stood.get(collection_id, {})
        if channel in own or (own and channel == self._requests):
            return own.get(channel)
        return self._reached.get(channel)
