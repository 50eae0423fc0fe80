"""Deletes that the source counts as written and that are in no file yet.

Milvus 2.3 and 2.2 move a shard's checkpoint past deletes that wait for a compaction (see
``snapshot_starts``). The log has them: what it says of the last minutes before the
checkpoint is taken as if files had it. Rows of a bulk import are in files alone, so that
nothing earlier than the checkpoint would do for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.changes import Delete, Tick, physical_seconds, to_hybrid_ts
from cdc_actors.pipeline.definitions import channels_of
from cdc_actors.pipeline.snapshot_starts import UNWRITTEN_SECONDS
from cdc_actors.source.streamed import decode_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cdc_actors.changes import Change, Checkpoint, Key
    from cdc_actors.pipeline.source_files import Stored
    from cdc_actors.source.storage.rows import LoggedDeletes
    from cdc_actors.source.wal.base import WalReader

_POLL_SECONDS = 0.25


def unwritten_deletes(
    stored: Stored,
    stood: Mapping[str, Checkpoint],
    since: int,
    open_log: Callable[[], WalReader],
    check: Callable[[], None],
) -> LoggedDeletes:
    """Return the deletes of a collection that its files may lack, as far as the log goes.

    Rows are read as they were where the collection ``stood``; those written before
    ``since``, a hybrid timestamp, are not. ``check``, called now and then, raises an error
    if the work is to end. The snapshots' thread; all keys are held.

    Raises:
        CdcError: The log does not answer.
    """
    found: dict[tuple[str, str], dict[Key, int]] = {}
    for shard in stored.meta.shards if stored.listing.segments else ():
        [channel] = channels_of([shard])
        at, written = stood[channel], stored.listing.checkpoints.get(shard)
        newest = written.timestamp if written else at.tick
        lowest = max(since, newest - to_hybrid_ts(UNWRITTEN_SECONDS))
        for change in _between(channel, lowest, at.tick, open_log, check):
            if isinstance(change, Delete) and change.shard == shard:
                keys = found.setdefault((shard, change.partition), {})
                for key in change.keys:
                    keys[key] = max(keys.get(key, 0), change.timestamp)
    return found


def _between(
    channel: str,
    lowest: int,
    until: int,
    open_log: Callable[[], WalReader],
    check: Callable[[], None],
) -> Iterator[Change]:
    """Yield what a channel says from one hybrid timestamp on, up to another."""
    if lowest > until:
        return
    with open_log() as log:
        first = log.written_since(channel, physical_seconds(lowest))
        if first is None:
            return
        log.subscribe(channel, first)
        while True:
            check()
            for record in log.poll(_POLL_SECONDS):
                change = decode_record(record)
                if isinstance(change, Tick) and change.timestamp >= until:
                    return
                if not isinstance(change, Tick) and change.timestamp <= until:
                    yield change
