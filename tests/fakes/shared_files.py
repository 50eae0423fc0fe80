"""The source's files in memory, of several collections that share a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from cdc_actors.errors import RowsLostError
from cdc_actors.pipeline.messages import SnapshotTaken
from cdc_actors.tasks import CollectionState, snapshots
from tests.fakes.fake_files import FakeFiles
from tests.fakes.fake_source import A
from tests.support.changes import insert

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.changes import Insert
    from cdc_actors.pipeline.source_files import Stored
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.source.storage.listing import Segment
    from tests.fakes.fake_catalog import FakeCatalog
    from tests.fakes.pipeline import Pipeline


class History(FakeFiles):
    """Files of one collection on one channel, which follow from what was written, and when.

    Its only segment has the collection's id.
    """

    def __init__(self, pipeline: Pipeline, meta: CollectionMeta) -> None:
        super().__init__(pipeline.source, meta)
        self.segments = {meta.id: (0,)}
        self.written: list[tuple[int, int, bool]] = []

    def insert(self, key: int) -> None:
        """Write a row."""
        self.written.append((self.source.insert(self.meta, (key,)), key, True))

    def delete(self, key: int) -> None:
        """Delete a key."""
        self.written.append((self.source.delete(self.meta, (key,)), key, False))

    def keys_until(self, time: int) -> set[int]:
        """Return the keys that are there at a time."""
        living = {key: is_there for at, key, is_there in self.written if at <= time}
        return {key for key, is_there in living.items() if is_there}

    def flush_until(self, position: bytes, tick: int) -> None:
        """Have what was written up to a tick in files; from a place on the log goes on."""
        self._ends[A], self._until = int.from_bytes(position, "little"), tick

    def inserts(self, segment: Segment, until: int, since: int = 0) -> Iterator[Insert]:
        """Give out the rows of a moment."""
        if keys := self.keys_until(until):
            rows = insert(until, sorted(keys), collection=self.meta.id)
            yield structs.replace(rows, shard=segment.shard)

    def keys(self, segment: Segment, until: int) -> Iterator[list[int]]:
        """Give out the keys of a moment."""
        yield sorted(self.keys_until(until))


class SharedFiles(FakeFiles):
    """Files of several collections of one channel. Stands for ``SourceFiles``."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.source = pipeline.source
        self.of: dict[int, History] = {}

    def find(self, catalog: FakeCatalog, collection_id: int) -> Stored | None:
        """Return what there is of one of them.

        Raises:
            RowsLostError: Nothing of it is in files yet.
        """
        files = self.of[collection_id]
        if not files._ends:
            raise RowsLostError("nothing is in files yet")
        return files.find(catalog, collection_id)


class SharedChannel:
    """A task of collections that share a channel. One thread uses it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.source = pipeline.source
        self.files = SharedFiles(pipeline)

    def create(self, name: str, *channels: str) -> History:
        """Create a collection at the source; return its files, which have nothing yet."""
        made = History(self.pipeline, self.source.create(name, *channels or (A,)))
        self.files.of[made.meta.id] = made
        return made

    def forget(self) -> None:
        """Have the log forget what came so far."""
        self.source.log.truncate(A, self.source.log_end(A))

    @property
    def comes_from_files(self) -> bool:
        """Whether files are to bring any collection."""
        entries = self.pipeline.task.entries.values()
        return any(each.state is CollectionState.SNAPSHOT for each in entries)

    def complete(self) -> None:
        """Wait until files have brought one of them; end its run by a kill.

        So nothing is known of how far the log was read meanwhile.
        """
        self.pipeline.wait_until(lambda: self._taken() or not self.comes_from_files)
        taken = self._taken()
        self.pipeline.kill()
        if taken is not None:
            at = list(self.pipeline.task.checkpoints.values())
            done = taken.collection_id, taken.rows, taken.seconds, at
            snapshots.complete(self.pipeline.task.task, *done)

    def complete_all(self) -> None:
        """Have all of them brought that come from files, then the log followed."""
        self.pipeline.start()
        while self.comes_from_files:
            self.complete()
            self.pipeline.start()
        self.source.tick()
        self.pipeline.settle()

    def _taken(self) -> SnapshotTaken | None:
        told = self.pipeline.task.told
        return next((each for each in told if isinstance(each, SnapshotTaken)), None)
