"""Collections that a backup brought to the target, on doubles."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.tasks import CollectionState
from cdc_actors.tasks.spec import StartPosition
from tests.fakes.fake_source import A, B
from tests.fakes.fake_target import StoredCollection
from tests.fakes.pipeline import Pipeline
from tests.fakes.snapshot_task import SnapshotTask
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Seeded(SnapshotTask):
    """A task of a collection with positions, and one that is older on its channels."""

    def __init__(self, pipeline: Pipeline) -> None:
        source = pipeline.source
        self.pipeline = pipeline
        self.older = source.create("older", A, B)
        source.insert(self.older, (1,))
        self.meta = source.create("c", A, B)
        source.insert(self.meta, (1, 2, 3))
        source.delete(self.meta, (3,))
        until = source.tick()
        self.positions = {
            shard: StartPosition(message_id=source.log_end(c).id, timestamp=until)
            for shard, c in zip(self.meta.shards, self.meta.channels, strict=True)
        }
        source.insert(self.meta, (4, 5))
        source.delete(self.meta, (1,))
        source.insert(self.older, (2,))
        source.tick()
        self.give(self.positions)

    def give(self, positions: dict[str, StartPosition]) -> None:
        """Have the task begin with these positions."""
        task = self.pipeline.task.task
        task.spec = replace(SPEC, positions=positions)

    def restore(self, keys: Sequence[int]) -> None:
        """Have the target what a backup has brought: it may be newer than its positions."""
        schema = schema_pb2.CollectionSchema.FromString(self.meta.schema)
        schema.name = "c"
        rows = {"_default": Counter(keys)}
        stored = StoredCollection(schema, {}, partitions=rows)
        self.pipeline.target.collections["default", "c"] = stored

    @property
    def state(self) -> CollectionState | None:
        """Where the collection stands."""
        entry = self.pipeline.task.entries.get("c")
        return entry.state if entry else None

    def wait_aside(self) -> str:
        """Return why it is set aside, once it is."""
        self.pipeline.wait_until(lambda: self.state is CollectionState.SET_ASIDE)
        return self.pipeline.task.entries["c"].reason or ""


@pytest.fixture
def seeded() -> Iterator[Seeded]:
    """Yield a task that has not begun."""
    with Pipeline() as pipeline:
        yield Seeded(pipeline)


@pytest.mark.parametrize("keys", [(1, 2), (1, 2, 4)])
def test_the_log_goes_on_from_the_positions(seeded, keys):
    """What came since comes once, whether the backup had it or not."""
    seeded.restore(keys)
    seeded.pipeline.start()
    seeded.complete()
    seeded.pipeline.source.insert(seeded.meta, (6,))
    seeded.pipeline.source.tick()
    seeded.pipeline.settle()
    assert seeded.pipeline.target.rows("c") == dict.fromkeys((2, 4, 5, 6), 1)
    assert seeded.pipeline.target.rows("older") == {1: 1, 2: 1}
    assert seeded.state is CollectionState.LIVE


def test_what_came_before_the_positions_is_not_read(seeded):
    """Neither rows that the target lost meanwhile, nor what the log lost."""
    seeded.restore((2,))
    for channel in (A, B):
        shard = next(each for each in seeded.positions if each.startswith(channel))
        start = int.from_bytes(seeded.positions[shard].message_id, "little")
        at = seeded.pipeline.source.log_end(channel)
        begin = type(at)(channel, start.to_bytes(8, "little"), str(start))
        seeded.pipeline.source.log.truncate(channel, begin)
    seeded.pipeline.start()
    seeded.complete()
    assert seeded.pipeline.target.rows("c") == dict.fromkeys((2, 4, 5), 1)


def test_killed_before_the_log_goes_on(seeded):
    """The next run goes on from the positions, too."""
    seeded.restore((1, 2))
    seeded.pipeline.start()
    seeded.pipeline.wait_until(seeded.taken)
    seeded.pipeline.kill()
    seeded.pipeline.start()
    seeded.complete()
    assert seeded.pipeline.target.rows("c") == dict.fromkeys((2, 4, 5), 1)


def test_a_target_without_the_collection(seeded):
    """Nothing is made that would lack rows; once it is restored, a retry goes on."""
    seeded.pipeline.start()
    assert "restore the backup there" in seeded.wait_aside()
    assert seeded.pipeline.target.rows("c") is None
    seeded.restore((1, 2))
    seeded.pipeline.retry("c")
    seeded.complete()
    assert seeded.pipeline.target.rows("c") == dict.fromkeys((2, 4, 5), 1)


def test_positions_that_the_log_lost(seeded):
    """The collection is set aside with the reason; the others go on."""
    seeded.restore((1, 2))
    for channel in (A, B):
        end = seeded.pipeline.source.log_end(channel)
        seeded.pipeline.source.log.truncate(channel, end)
    seeded.pipeline.source.tick()
    seeded.pipeline.start()
    assert "no longer holds the positions of default.c" in seeded.wait_aside()


def test_positions_of_one_shard_alone(seeded):
    """A shard without one would have a gap: the collection is set aside."""
    seeded.restore((1, 2))
    [first, *_] = seeded.positions
    seeded.give({first: seeded.positions[first]})
    seeded.pipeline.start()
    assert "positions are given of" in seeded.wait_aside()


def test_made_anew_by_its_name(seeded):
    """Positions are of one collection: another of its name comes from its beginning."""
    source = seeded.pipeline.source
    source.drop(seeded.meta)
    another = source.create("c", A, B)
    source.insert(another, (9,))
    source.tick()
    seeded.pipeline.start()
    seeded.pipeline.settle()
    assert seeded.pipeline.target.rows("c") == {9: 1}
