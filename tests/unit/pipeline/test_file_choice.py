"""Files are chosen where they are much cheaper to read than a log that has everything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from structlog.testing import capture_logs

from cdc_actors.errors import RowsLostError
from cdc_actors.pipeline import segments_sent, sources
from cdc_actors.pipeline.file_choice import LEAST_SAVED, FileChoice
from cdc_actors.pipeline.snapshot_starts import SnapshotStarts
from cdc_actors.source.storage.files import StorageError
from cdc_actors.tasks import CollectionState
from cdc_actors.tasks.events import SnapshotStarted
from tests.fakes.fake_files import FakeFiles
from tests.fakes.fake_source import A, B, FakeSource
from tests.fakes.memory_log import MemoryReader
from tests.fakes.pipeline import Pipeline
from tests.fakes.snapshot_task import SnapshotTask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.source.catalog.client import CollectionMeta

MB = 1 << 20
SMALL = 20 * MB
"""A segment's id in the double, and the bytes of its files."""


class Overwritten(SnapshotTask):
    """A task of a collection whose rows were written four times. One thread uses it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        source = pipeline.source
        source.catalog.source_version = (2, 5, 0)
        self.meta = source.create("c", A)
        source.insert(self.meta, range(1, 5))
        for _ in range(3):
            source.tick()
            source.upsert(self.meta, range(1, 5))
        self.files = FakeFiles(source, self.meta)
        self.files.segments = {SMALL: (1, 2), SMALL + 1: (3, 4)}
        self.files.flush()
        source.insert(self.meta, (5,))
        source.delete(self.meta, (4,))
        source.tick()
        source.log.record_bytes = 16 * MB

    def start(self) -> list[dict[str, Any]]:
        """Begin a run; return what it logs of the choice."""
        with capture_logs() as logs:
            self.pipeline.start()
        return [each for each in logs if each["event"].startswith("rows_from_")]

    @property
    def state(self) -> CollectionState:
        """Where the collection stands."""
        return self.pipeline.task.entries["c"].state

    def settles_from_log(self) -> bool:
        """Tell whether all rows come, without a file being read."""
        self.pipeline.wait_until(lambda: "c" in self.pipeline.task.entries)
        self.pipeline.settle()
        assert self.pipeline.target.rows("c") == dict.fromkeys((1, 2, 3, 5), 1)
        return self.files.read == []


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Iterator[Overwritten]:
    """Yield it; its log has ten records before where files end."""
    with Pipeline() as pipeline:
        made = Overwritten(pipeline)
        monkeypatch.setattr(sources, "_files", lambda *_: made.files)
        monkeypatch.setattr(segments_sent, "RECORD_SECONDS", 0.0)
        yield made


def test_what_was_overwritten_comes_from_files(task: Overwritten) -> None:
    """The log has it all, and is not read; what was decided is shown with its figures."""
    [said] = task.start()
    assert task.state is CollectionState.SNAPSHOT
    assert said["event"] == "rows_from_files"
    assert said["log_bytes"] >= 10 * 16 * MB
    assert said["file_bytes"] == 2 * SMALL + 1
    written = task.pipeline.task.task.pending_events
    [why] = [e.why for e in written if isinstance(e, SnapshotStarted)]
    assert why.startswith("its files are cheaper to read: 41.9 MB, not ")
    task.complete()
    assert task.pipeline.target.rows("c") == dict.fromkeys((1, 2, 3, 5), 1)


def test_killed_when_it_was_decided(task: Overwritten) -> None:
    """What is written down first is enough: each row comes once."""
    task.start()
    task.pipeline.kill()
    task.pipeline.task.checkpoints.clear()
    task.files.read.clear()
    task.pipeline.source.log.record_bytes = None
    task.pipeline.start()
    task.complete()
    assert task.pipeline.target.rows("c") == dict.fromkeys((1, 2, 3, 5), 1)


def test_files_that_hold_as_much_are_not_read(task: Overwritten) -> None:
    """Nothing was merged yet: the log is read, and the figures are logged."""
    task.files.segments = {90 * MB: (1, 2), 91 * MB: (3, 4)}
    [said] = task.start()
    assert (said["event"], said["file_bytes"]) == ("rows_from_log", 181 * MB)
    assert task.settles_from_log()


@pytest.mark.parametrize("each", [None, LEAST_SAVED // 100])
def test_a_log_that_is_short_or_cannot_tell(
    task: Overwritten, each: int | None
) -> None:
    """It is read, and nobody looks for files."""
    task.pipeline.source.log.record_bytes = each
    assert task.start() == []
    assert task.settles_from_log()


def test_without_leave_files_are_not_read(task: Overwritten) -> None:
    """``"snapshot": "never"`` stands."""
    spec = task.pipeline.task.task.spec
    task.pipeline.task.task.spec = msgspec.structs.replace(spec, snapshot="never")
    assert task.start() == []
    assert task.settles_from_log()


def test_the_last_minutes_of_an_older_source_are_not_saved(task: Overwritten) -> None:
    """Before 2.4 the log is read from twenty minutes before where files end."""
    task.pipeline.source.catalog.source_version = (2, 3, 5)
    task.pipeline.source.now += 90_000 << 18
    task.pipeline.source.tick()
    task.files.flush()
    [said] = task.start()
    assert said["event"] == "rows_from_log"
    assert said["log_bytes"] < LEAST_SAVED
    assert task.settles_from_log()


def test_files_that_are_away_do_not_hold_the_log_up(
    task: Overwritten, monkeypatch
) -> None:
    """A storage that does not answer is no reason not to read the log."""

    def refuse(_files: FakeFiles) -> None:
        raise StorageError("the bucket is away")

    monkeypatch.setattr(FakeFiles, "check", refuse)
    [said] = task.start()
    assert (said["event"], said["files"]) == ("rows_from_log", "the bucket is away")
    assert task.settles_from_log()


class Group:
    """Some collections and their files, all of one size. One thread uses it."""

    def __init__(self) -> None:
        self.source = FakeSource()
        self.source.catalog.source_version = (2, 5, 0)
        self.source.log.record_bytes = 16 * MB
        self.read: set[str] = set()
        self.refused: set[int] = set()

    def write(self, *metas: CollectionMeta) -> None:
        """Write something of each, many times; and have files go on behind it."""
        for _ in range(8):
            for meta in metas:
                for channel in meta.channels:
                    self.source.insert(meta, (1,), channel)
        self.metas = metas
        self.stored = {meta.id: FakeFiles(self.source, meta) for meta in metas}
        for each in self.stored.values():
            each.segments = {SMALL: (1,)}
            each.flush()

    def chosen(self) -> set[str]:
        """Return the names of those that come from files."""
        log = MemoryReader(self.source.log)
        catalog = self.source.catalog
        starts = SnapshotStarts(log, lambda: log, catalog)
        snapshots: Any = SimpleNamespace(preferred=False, available=True, starts=starts)
        files = SimpleNamespace(find=self._find, check=lambda: None)
        made: Any = SimpleNamespace(wal=log, catalog=catalog, files=files)
        choice = FileChoice(made, snapshots, self._beginnings)
        return {meta.name for meta, _ in choice.from_files(self.metas)}

    def _find(self, catalog: Any, collection_id: int) -> Any:
        if collection_id in self.refused:
            raise RowsLostError("not flushed yet")
        return self.stored[collection_id].find(catalog, collection_id)

    def _beginnings(self, meta: CollectionMeta) -> Any:
        found = meta.start_positions.items()
        log = MemoryReader(self.source.log)
        return [log.position(*each) for each in found if each[0] not in self.read]


def test_a_channel_that_another_needs_is_not_saved() -> None:
    """Together with one that only the log can bring, by any shard, all come by the log."""
    group = Group()
    source = group.source
    alone, joined, needy = (
        source.create("a", A),
        source.create("j"),
        source.create("n", B),
    )
    group.write(alone, joined, needy)
    assert group.chosen() == {"a", "j", "n"}
    group.refused = {needy.id}
    assert group.chosen() == set()
    group.write(alone, needy)
    assert group.chosen() == {"a"}


def test_what_is_read_already_is_not_saved() -> None:
    """Of a channel that the run reads nothing counts."""
    group = Group()
    group.write(group.source.create("c"))
    assert group.chosen() == {"c"}
    group.read = {A, B}
    assert group.chosen() == set()


def test_what_the_log_has_lost_is_no_choice() -> None:
    """It comes from files in any case, and does not keep others from them."""
    group = Group()
    lost = group.source.create("lost", A)
    group.source.log.truncate(A, group.source.log_end(A))
    group.write(lost, group.source.create("held", A))
    group.refused = {lost.id}
    assert group.chosen() == {"held"}
