"""The source's files in memory. Stands for ``SourceFiles``, and for who reads them."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from msgspec import structs

from cdc_actors.pipeline.source_files import Stored
from cdc_actors.source.storage.listing import (
    FileSet,
    Listing,
    Segment,
    ShardCheckpoint,
    StoredFile,
)
from tests.fakes.memory_log import MemoryReader
from tests.support.changes import insert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from cdc_actors.changes import Insert
    from cdc_actors.errors import CollectionError
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.source.storage.rows import LoggedDeletes
    from tests.fakes.fake_catalog import FakeCatalog
    from tests.fakes.fake_source import FakeSource


class FakeFiles:
    """Segments of one collection, with the keys of their rows. Any thread may use it.

    ``read`` are the segments that were read to the end, in order; ``before`` is called
    with each before its rows are given out. ``times`` says when rows of some segments were
    written, those of others at the moment that is read; ``unreadable`` is raised.
    """

    available = True

    def __init__(self, source: FakeSource, meta: CollectionMeta) -> None:
        self.source = source
        self.segments: dict[int, Sequence[int]] = {}
        self.read: list[int] = []
        self.before: Callable[[int], None] = lambda _segment: None
        self.meta = meta
        self.times: dict[int, int] = {}
        self.is_importing = False
        self.unreadable: CollectionError | None = None
        self._logged: LoggedDeletes = {}
        self._until = 0
        self._ends: dict[str, int] = {}

    def forget_log(self) -> None:
        """Have the log forget what came so far: the files have it."""
        self.flush()
        for channel in self.meta.channels:
            self.source.log.truncate(channel, self.source.log_end(channel))
        self.source.tick()

    def flush(self) -> None:
        """Have what came so far in the files: from here on the log goes on."""
        self._until = self.source.tick()
        for channel in self.meta.channels:
            end = self.source.log_end(channel)
            self._ends[channel] = int.from_bytes(end.id, "little")

    def open_log(self) -> MemoryReader:
        """Return another reader."""
        return MemoryReader(self.source.log)

    def open_catalog(self) -> FakeCatalog:
        """Return the catalog."""
        return self.source.catalog

    def check(self) -> None:
        """Answer always."""

    def without(self, catalog: FakeCatalog, collection_id: int) -> Stored | None:
        """Return the collection as though it had no files."""
        meta = catalog.collection(collection_id)
        return None if meta is None else Stored(meta, Listing((), {}), self)

    def find(self, catalog: FakeCatalog, collection_id: int) -> Stored | None:
        """Return what there is of the collection."""
        meta = catalog.collection(collection_id)
        if meta is None:
            return None
        at = {
            shard: ShardCheckpoint(
                self._ends[channel].to_bytes(8, "little"), self._until
            )
            for shard, channel in zip(meta.shards, meta.channels, strict=True)
        }
        [partition] = meta.partitions
        if self.unreadable:
            raise self.unreadable
        segments = tuple(
            Segment(
                id=number,
                partition=partition,
                shard=meta.shards[0],
                sets=(FileSet({1: StoredFile(str(number), len(keys), number)}),),
                deletes=(),
            )
            for number, keys in self.segments.items()
        )
        return Stored(meta, Listing(segments, at, self.is_importing), self)

    def written_until(self, _catalog: FakeCatalog, _meta: CollectionMeta) -> int:
        """Return up to when files have everything."""
        return self._until

    def knowing(self, logged: LoggedDeletes) -> FakeFiles:
        """Know of more deletes."""
        self._logged = logged
        return self

    def ahead(self, *_: Any, **__: Any) -> AbstractContextManager[FakeFiles]:
        """Read nothing ahead."""
        return nullcontext(self)

    def inserts(self, segment: Segment, until: int, since: int = 0) -> Iterator[Insert]:
        """Give out the rows of a segment."""
        self.before(segment.id)
        keys = self._living(segment, until)
        if keys and self.times.get(segment.id, until) >= since:
            rows = insert(until, keys, collection=self.meta.id)
            yield structs.replace(rows, shard=segment.shard)
        self.read.append(segment.id)

    def keys(self, segment: Segment, until: int) -> Iterator[list[int]]:
        """Give out the keys of a segment."""
        yield self._living(segment, until)

    def _living(self, segment: Segment, until: int) -> list[int]:
        written = self.times.get(segment.id, until)
        deleted = {
            key
            for (shard, _), said in self._logged.items()
            for key, time in zip(*said, strict=True)
            if shard == segment.shard and written < time <= until
        }
        keys = self.segments[segment.id] if written <= until else ()
        return [key for key in keys if key not in deleted]
