"""Collections of one channel, each from where its own files or its own beginning are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from cdc_actors.errors import RowsLostError
from cdc_actors.pipeline import sources
from cdc_actors.tasks import CollectionState, snapshots
from tests.fakes.fake_files import FakeFiles
from tests.fakes.fake_source import A
from tests.fakes.pipeline import Pipeline
from tests.fakes.snapshot_task import SnapshotTask
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.pipeline.source_files import Stored
    from cdc_actors.source.catalog.client import CollectionMeta
    from tests.fakes.fake_catalog import FakeCatalog


class SharedFiles(FakeFiles):
    """Files of several collections, each as ``FakeFiles`` has those of one."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__(pipeline.source, pipeline.source.create("first", A))
        self._each: dict[int, FakeFiles] = {}

    def have(self, meta: CollectionMeta, *keys: int, ahead: int = 0) -> None:
        """Have what came so far of a collection in files, up to a tick ``ahead``."""
        self._each[meta.id] = files = FakeFiles(self.source, meta)
        files.segments = {meta.id: keys}
        files.flush()
        files._until += ahead

    def find(self, catalog: FakeCatalog, collection_id: int) -> Stored | None:
        """Return what there is of one of them.

        Raises:
            RowsLostError: Nothing of it is in files yet.
        """
        if collection_id not in self._each:
            raise RowsLostError("nothing is in files yet")
        return self._each[collection_id].find(catalog, collection_id)


class Shared(SnapshotTask):
    """A task of collections that share a channel. One thread uses it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.source = pipeline.source
        self.files = SharedFiles(pipeline)
        self.first = self.files.meta

    def forget(self) -> None:
        """Have the log forget what came so far."""
        self.source.log.truncate(A, self.source.log_end(A))

    def complete_all(self) -> None:
        """Have all brought that come from files, each by a run that is killed then.

        So nothing is known of how far the log was read meanwhile. Then follow the log.
        """
        self.pipeline.start()
        while self._from_files():
            self.pipeline.wait_until(self.taken)
            taken = self.taken()
            self.pipeline.kill()
            at = list(self.pipeline.task.checkpoints.values())
            done = taken.collection_id, taken.rows, taken.seconds, at
            snapshots.complete(self.pipeline.task.task, *done)
            self.pipeline.start()
        self.source.tick()
        self.pipeline.settle()

    def _from_files(self) -> bool:
        states = {each.state for each in self.pipeline.task.entries.values()}
        return CollectionState.SNAPSHOT in states

    def keys(self, name: str) -> list[int]:
        """Return what the target has, each key as often as it does."""
        return sorted((self.pipeline.target.rows(name) or {}).items())


@pytest.fixture
def shared(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shared]:
    """Yield a task; its parameter says what it takes from files."""
    wanted = getattr(request, "param", "auto")
    with Pipeline(replace(SPEC, snapshot=wanted)) as pipeline:
        found = Shared(pipeline)
        monkeypatch.setattr(sources, "_files", lambda *_: found.files)
        yield found


def once(*keys: int) -> list[tuple[int, int]]:
    """Return keys as the target is to have them."""
    return [(key, 1) for key in keys]


AHEAD = 100


def test_files_of_one_reach_further_than_where_its_log_goes_on(shared: Shared) -> None:
    """Another's rows up to there come from the log, and none of its own twice.

    The files of the first end at a tick that is ahead of their place in the log, so that
    the place is the earlier one and the tick the later one.
    """
    second = shared.source.create("second", A)
    shared.source.insert(shared.first, (1,))
    shared.forget()
    shared.files.have(shared.first, 1, 2, ahead=AHEAD)
    shared.source.insert(shared.first, (2,))
    shared.files.have(second)
    shared.source.insert(second, (11, 12))
    shared.source.tick()
    shared.source.insert(second, (13,))
    shared.source.now += AHEAD
    shared.source.insert(shared.first, (3,))
    shared.source.insert(second, (14,))
    shared.source.tick()
    shared.complete_all()
    assert shared.keys("first") == once(1, 2, 3)
    assert shared.keys("second") == once(11, 12, 13, 14)


@pytest.mark.parametrize("shared", ["always"], indirect=True)
@pytest.mark.parametrize("turn", ["before", "after"])
def test_one_without_files_yet_begins_before_anothers_end(
    shared: Shared, turn: str
) -> None:
    """It comes from the log, whole; whichever of them is looked at before."""
    second = shared.source.create("second", A)
    young, old = (shared.first, second) if turn == "before" else (second, shared.first)
    shared.source.insert(young, (11, 12))
    shared.source.tick()
    shared.files.have(old, 21)
    shared.source.insert(young, (13,))
    shared.source.insert(old, (22,))
    shared.source.tick()
    shared.complete_all()
    assert shared.keys(young.name) == once(11, 12, 13)
    assert shared.keys(old.name) == once(21, 22)
