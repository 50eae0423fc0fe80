"""Collections whose rows a backup has brought to the target, up to positions of the log.

From there on the log says what came since. What is written until the task comes to it is
applied so that doing it twice is the same as once: a backup may hold newer rows as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.changes import Checkpoint
from cdc_actors.errors import CollectionError
from cdc_actors.pipeline.definitions import channels_of
from cdc_actors.pipeline.skipping import schema_there
from cdc_actors.source.wal.beginnings import not_held, places
from cdc_actors.target import collections

if TYPE_CHECKING:
    from cdc_actors.changes import FullName
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.source.wal.base import WalReader
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import CollectionEntry, TaskSpec


def starts(
    meta: CollectionMeta, spec: TaskSpec, wal: WalReader
) -> dict[str, Checkpoint]:
    """Return where the log goes on by channel, of a collection with positions.

    Raises:
        CollectionError: They are not those of all its shards, the queue has no such
            positions, or the log does not hold them.
        TransientError: The log does not answer.
    """
    name = f"{meta.database}.{meta.name}"
    given = spec.positions_of(meta.shards)
    if len(given) < len(meta.shards):
        raise CollectionError(
            f"positions are given of [{' '.join(given)}], and the shards of {name} are "
            f"[{' '.join(meta.shards)}]"
        )
    found: dict[str, Checkpoint] = {}
    for shard, at in given.items():
        [channel] = channels_of([shard])
        position = wal.position(channel, at.message_id)
        begin = Checkpoint(position, inclusive=True, tick=at.timestamp)
        known = found.get(channel)
        found[channel] = begin if known is None else min(known, begin, key=_tick_of)
    if gone := not_held(wal, found.values()):
        where = places(each.position for each in gone)
        raise CollectionError(
            f"the log no longer holds the positions of {name} ({where}): make a newer "
            "backup, or leave the positions out"
        )
    return found


def is_seeded(entry: CollectionEntry, spec: TaskSpec) -> bool:
    """Tell whether the target has had a collection's rows before the task."""
    return entry.resync is None and bool(spec.positions_of(entry.shards))


def refuse_absent(target: Connection, name: FullName, entry: CollectionEntry) -> None:
    """Raise CollectionError if the target lacks what is to be there."""
    if not collections.is_there(target, name, schema_there(entry)):
        raise CollectionError(
            f"the target has no {'.'.join(name)}, which was to have all rows up to the "
            "positions that were given: restore the backup there, then `retry`; or "
            "`resync` it from the source's files"
        )


def _tick_of(checkpoint: Checkpoint) -> int:
    return checkpoint.tick
