"""Deletes that the source counts as written and that are in no file yet.

Milvus 2.3 and 2.2 move a shard's checkpoint past deletes that wait for a compaction (see
``snapshot_starts``). The log has them: what it says of the last minutes before the
checkpoint is taken as if files had it. Rows of a bulk import are in files alone, so that
nothing earlier than the checkpoint would do for them.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from cdc_actors.changes import Delete, Tick, physical_seconds, to_hybrid_ts
from cdc_actors.errors import CollectionError
from cdc_actors.pipeline.definitions import channels_of
from cdc_actors.pipeline.following import follow
from cdc_actors.pipeline.snapshot_starts import UNWRITTEN_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cdc_actors.changes import Checkpoint
    from cdc_actors.memory_budget import MemoryHold
    from cdc_actors.pipeline.source_files import Stored
    from cdc_actors.source.storage.rows import LoggedDeletes
    from cdc_actors.source.wal.base import WalReader

MEMORY_SHARE = 0.25
"""How much of the service's memory the keys of one collection may take."""

NUMBER_BYTES = 32
"""What a delete of a number takes, and its time, while they are put in order."""

TEXT_BYTES = 80
"""What one of a text takes beside twice the text."""

_Found = dict[tuple[str, str], tuple[Any, "array[int]"]]
"""Keys, numbers in an array and texts in a list, and times."""


def unwritten_deletes(
    stored: Stored,
    stood: Mapping[str, Checkpoint],
    since: int,
    open_log: Callable[[], WalReader],
    check: Callable[[], None],
    memory: MemoryHold,
    most: int,
) -> LoggedDeletes:
    """Return the deletes of a collection that its files may lack, as far as the log goes.

    Rows are read as they were where the collection ``stood``; those written before
    ``since``, a hybrid timestamp, are not. ``check``, called now and then, raises an error
    if the work is to end. The keys are counted in ``memory``, which may come to ``most``
    bytes. The snapshots' thread.

    Raises:
        CollectionError: There are more than that.
        CdcError: The log does not answer.
    """
    found: _Found = {}
    for shard in stored.meta.shards if stored.listing.segments else ():
        [channel] = channels_of([shard])
        at, written = stood[channel], stored.listing.checkpoints.get(shard)
        newest = written.timestamp if written else at.tick
        lowest = max(since, newest - to_hybrid_ts(UNWRITTEN_SECONDS))
        for delete in _between(channel, lowest, at.tick, open_log, check):
            if delete.shard == shard:
                memory.resize(memory.size + _take(found, delete))
                if memory.size > most:
                    raise _too_many(stored, most)
    return found


def _take(found: _Found, delete: Delete) -> int:
    """Note a delete; return the bytes that it takes."""
    is_number = isinstance(delete.keys[0], int) if delete.keys else True
    place = delete.shard, delete.partition
    if place not in found:
        found[place] = array("q") if is_number else [], array("Q")
    keys, times = found[place]
    keys.extend(delete.keys)
    times.extend([delete.timestamp] * len(delete.keys))
    if is_number:
        return NUMBER_BYTES * len(delete.keys)
    return sum(TEXT_BYTES + 2 * len(str(key)) for key in delete.keys)


def _too_many(stored: Stored, most: int) -> CollectionError:
    name = f"{stored.meta.database}.{stored.meta.name}"
    return CollectionError(
        f"the log has more deletes of {name} within {UNWRITTEN_SECONDS / 60:.0f} minutes "
        f"than a quarter of maxMemoryBytes, {most} bytes, holds, and its files may lack "
        "them: give more, or wait until fewer rows are deleted, then `retry`"
    )


def _between(
    channel: str,
    lowest: int,
    until: int,
    open_log: Callable[[], WalReader],
    check: Callable[[], None],
) -> Iterator[Delete]:
    """Yield the deletes of a channel from one hybrid timestamp on, up to another."""
    if lowest > until:
        return
    with open_log() as log:
        first = log.written_since(channel, physical_seconds(lowest))
        for change in follow(log, first, check) if first else ():
            if isinstance(change, Tick) and change.timestamp >= until:
                return
            if isinstance(change, Delete) and change.timestamp <= until:
                yield change
