"""Which rows are sent before their tick: those of a task that asked for it, if it is safe.

How they are put in order is said in ``replication/early.py``. A collection's rows wait for
their ticks, all of them,

- while its channel reads what was in the log at the start, and until a tick has passed
  whatever an earlier run or owner may have sent: that is applied by key;
- while an operation on it is read, or waits for its time (behind one that waits for the
  other channels, early rows stand in line as all do);
- while it is created, has no name yet, comes from files, or is set aside;
- where more keys would have to be remembered, or more memory held, than there is room for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.changes import (
    CreateCollection,
    Delete,
    DropPartition,
    Insert,
    Unreplicated,
)
from cdc_actors.pipeline.collection_table import Status

if TYPE_CHECKING:
    from cdc_actors.changes import Change, Checkpoint, Tick
    from cdc_actors.pipeline.channels import Channels
    from cdc_actors.pipeline.collection_table import Collection
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.expiry import Expiry
    from cdc_actors.pipeline.metadata_sync import MetadataSync
    from cdc_actors.pipeline.router import Router
    from cdc_actors.pipeline.send_horizon import SendHorizon

MAX_KEYS = 50_000
"""How many keys of a shard are remembered between two ticks: what comes faster waits for
its tick, which is not long then."""

Shard = tuple[str, int]
"""A channel, and the id of a collection."""


class EarlyRows:
    """Sends one run's rows early. The reader's thread."""

    def __init__(
        self,
        context: RunContext,
        router: Router,
        channels: Channels,
        metadata: MetadataSync,
        horizon: SendHorizon,
        expiry: Expiry,
    ) -> None:
        self._context = context
        self._router = router
        self._channels = channels
        self._metadata = metadata
        self._horizon = horizon
        self._expiry = expiry
        self._arrived: dict[Shard, list[Insert | Delete]] = {}
        self._operations: dict[Shard, int] = {}
        self._covered: dict[str, Checkpoint] = {}

    @property
    def has_arrived(self) -> bool:
        """Whether anything has come since the last time."""
        return bool(self._arrived)

    def take(self, channel: str, change: Change | Tick) -> None:
        """Know a change that waits for its tick."""
        match change:
            case Insert() | Delete():
                shard = channel, change.collection
                self._arrived.setdefault(shard, []).append(change)
            case CreateCollection() | DropPartition() | Unreplicated():
                shard = channel, change.collection
                until = max(change.timestamp, self._operations.get(shard, 0))
                self._operations[shard] = until

    def cover(self, channel: str, checkpoint: Checkpoint) -> None:
        """Know that a window of a channel is on its way, up to a checkpoint."""
        self._covered[channel] = checkpoint
        self._router.early.cover(channel, checkpoint.tick)
        self._operations = {
            shard: until
            for shard, until in self._operations.items()
            if shard[0] != channel or until > checkpoint.tick
        }

    def send(self) -> None:
        """Send what has come since the last time, as far as it may be early.

        Raises:
            CdcError: The send horizon cannot be written down.
        """
        arrived, self._arrived = self._arrived, {}
        for (channel, collection_id), changes in arrived.items():
            collection = self._router.collections.get(collection_id)
            if collection is not None and self._may_send(channel, collection):
                self._send(channel, collection, changes)

    def _may_send(self, channel: str, collection: Collection) -> bool:
        collection_id = collection.entry.collection_id
        return (
            collection.status is Status.LIVE
            and channel in self._covered
            and not self._channels.is_behind(channel)
            and not self._horizon.may_exist(channel, self._channels.tick(channel))
            and (channel, collection_id) not in self._operations
            and not collection.waits_for
            and not self._metadata.has_pending(collection_id)
            and self._context.budget.has_room(0)
        )

    def _send(
        self, channel: str, collection: Collection, arrived: list[Insert | Delete]
    ) -> None:
        changes = self._relevant(channel, collection, arrived)
        collection_id, early = collection.entry.collection_id, self._router.early
        keys = early.keys(channel, collection_id) + sum(map(_keys, changes))
        if not changes or keys > MAX_KEYS:
            return
        self._horizon.reach(channel, max(each.timestamp for each in changes))
        schema = collection.entry.schema
        rows = early.add(channel, collection_id, schema, changes)
        # Nothing is confirmed by it, but nothing later is before it.
        checkpoint = self._context.begin_checkpoint(channel, self._covered[channel])
        self._router.deliver_rows(channel, collection, rows, checkpoint)
        self._context.release([checkpoint])

    def _relevant(
        self, channel: str, collection: Collection, arrived: list[Insert | Delete]
    ) -> list[Insert | Delete]:
        """Return what no tick has covered meanwhile, and what the source still has."""
        tick = self._channels.tick(channel)
        return [
            each
            for each in self._expiry.living(tuple(arrived))
            if isinstance(each, Insert | Delete)
            and each.timestamp > tick
            and collection.barriers.is_relevant(channel, each)
        ]


def _keys(change: Insert | Delete) -> int:
    return change.rows if isinstance(change, Insert) else len(change.keys)
