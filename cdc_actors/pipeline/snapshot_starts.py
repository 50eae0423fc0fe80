"""Up to when a collection's rows are taken from files, and where the log goes on.

That is the checkpoint that Milvus has written down for each shard, with one exception:
2.3 counts deletes as written that are only about to be, while it compacts (seen on 2.3.5;
``internal/datanode/channel_meta.go``, ``removeSegments``), and 2.2 is no better. There
everything of the last minutes before comes from the log, as far as the log has it. And
what was truncated later (2.6) is passed over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cdc_actors.changes import Checkpoint, Tick, physical_seconds, to_hybrid_ts
from cdc_actors.errors import RowsLostError
from cdc_actors.pipeline.definitions import channels_of
from cdc_actors.pipeline.following import follow
from cdc_actors.source.wal.beginnings import not_held, places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cdc_actors.changes import Position
    from cdc_actors.pipeline.source_files import Stored
    from cdc_actors.source.catalog.client import Catalog
    from cdc_actors.source.wal.base import WalReader

UNWRITTEN_SECONDS = 1200.0
"""How long a delete may take to be in a file: it waits for ten minutes (``syncPeriod``),
and for a compaction."""

ALL_WRITTEN_SINCE = (2, 4)
"""From which version of Milvus on a checkpoint counts no delete that is not in a file."""

LATE_SECONDS = 60.0
"""How far a tick may be behind a message that stands before it, at most. Messages stand in
the order of writing, and a tick waits for the slowest of those that are being written."""

_SHARED_SECONDS = 60.0
"""What is found for one collection is taken for all others of so many seconds, too."""


@dataclass(frozen=True, slots=True)
class SnapshotStarts:
    """Finds it out. The reader's thread."""

    wal: WalReader
    open_log: Callable[[], WalReader]
    catalog: Catalog
    _found: dict[Position, Checkpoint] = field(default_factory=dict)

    def find(
        self, stored: Stored, *, of_imports: bool = False
    ) -> dict[str, Checkpoint]:
        """Return where the log goes on, by channel: the earliest of its shards.

        ``of_imports`` tells that rows are to be brought that came past the log.

        Raises:
            RowsLostError: It does not.
            CdcError: Log or catalog do not answer.
        """
        name = f"{stored.meta.database}.{stored.meta.name}"
        starts: dict[str, Checkpoint] = {}
        for shard in stored.meta.shards:
            begin = self._written(stored, shard, name)
            known = starts.get(begin.position.channel)
            if known is None or begin.tick < known.tick:
                starts[begin.position.channel] = begin
        refuse_lost(self.wal, name, starts.values())
        if of_imports or self.catalog.version() >= ALL_WRITTEN_SINCE:
            return starts
        earlier = {channel: self._earlier(at) for channel, at in starts.items()}
        # Rows of a bulk import are in files alone.
        first = min(physical_seconds(each.tick) for each in earlier.values())
        imports = self.catalog.imports()
        own = [each for each in imports if each.collection_id == stored.meta.id]
        return starts if any(each.created >= first for each in own) else earlier

    def _written(self, stored: Stored, shard: str, name: str) -> Checkpoint:
        at = stored.listing.checkpoints.get(shard)
        if at is None:
            raise RowsLostError(
                f"the source has not written down yet up to where the rows of {name} are "
                "in files: flush it there, then pause and resume the task"
            )
        [channel] = channels_of([shard])
        position = self.wal.position(channel, at.message_id)
        tick = max(at.timestamp, stored.meta.truncated_until(shard))
        return Checkpoint(position, inclusive=True, tick=tick)

    def _earlier(self, written: Checkpoint) -> Checkpoint:
        """Return a checkpoint some minutes earlier, or the same where the log has none."""
        channel = written.position.channel
        since = physical_seconds(written.tick) - UNWRITTEN_SECONDS
        shared = since // _SHARED_SECONDS * _SHARED_SECONDS
        first = self.wal.written_since(channel, shared)
        if first is None or self.wal.reached(first, written.position):
            return written
        if first not in self._found:
            tick = self._tick_behind(first, written.tick)
            if tick is None:
                return written
            self._found[first] = Checkpoint(first, inclusive=True, tick=tick)
        earlier = self._found[first]
        return earlier if earlier.tick < written.tick else written

    def _tick_behind(self, start: Position, until: int) -> int | None:
        """Return a tick that is newer than all that stands before ``start``.

        None if there is none before that of ``until``.
        """
        newer = 0
        with self.open_log() as log:
            for change in follow(log, start, lambda: None):
                if not isinstance(change, Tick):
                    continue
                if change.timestamp >= until:
                    break
                newer = newer or change.timestamp + to_hybrid_ts(LATE_SECONDS)
                if change.timestamp >= newer:
                    return change.timestamp
        return None


def refuse_lost(wal: WalReader, name: str, starts: Iterable[Checkpoint]) -> None:
    """See that the log goes on where the files of a collection end.

    Raises:
        RowsLostError: It does not.
    """
    if gone := not_held(wal, starts):
        where = places(each.position for each in gone)
        raise RowsLostError(
            f"the log no longer goes on where the files of {name} end ({where}): flush it "
            "at the source, and lengthen the retention of its message queue; then pause "
            "and resume the task"
        )
