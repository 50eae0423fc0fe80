"""Collections that come from files, on doubles: what a kill, or an operator, leaves."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import pytest
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.errors import CollectionError
from cdc_actors.marks import Mark
from cdc_actors.pipeline import segments_sent, sources
from cdc_actors.pipeline.messages import RunProgressed
from cdc_actors.source.storage.files import FileGoneError, StorageError
from cdc_actors.tasks import CollectionState, snapshots
from tests.fakes.fake_files import FakeFiles
from tests.fakes.fake_source import A
from tests.fakes.fake_target import StoredCollection
from tests.fakes.pipeline import STORE, WAIT_SECONDS, Pipeline
from tests.fakes.snapshot_task import SnapshotTask

if TYPE_CHECKING:
    from collections.abc import Iterator


class Older(SnapshotTask):
    """A task of a collection that is older than the log. One thread uses it."""

    def __init__(self, pipeline: Pipeline, files: FakeFiles) -> None:
        self.pipeline, self.files = pipeline, files

    @property
    def state(self) -> CollectionState | None:
        """Where the collection stands."""
        entry = self.pipeline.task.entries.get("c")
        return entry.state if entry else None

    def stop_before(self, segment: int, *, is_paused: bool = False) -> None:
        """Begin a run, and kill or pause it when it is about to read a segment."""
        reached, go_on = threading.Event(), threading.Event()

        def wait(number: int) -> None:
            if number == segment:
                reached.set()
                go_on.wait(WAIT_SECONDS)

        self.files.before = wait
        self.pipeline.begin()
        assert reached.wait(WAIT_SECONDS)
        self.pipeline.run._context.stop()
        go_on.set()
        if is_paused:
            self.pipeline.stop()
        else:
            self.pipeline.kill()
        self.files.before = lambda _segment: None


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> Iterator[Older]:
    """Yield a task whose collection has three segments, and rows in the log as well."""
    with Pipeline() as pipeline:
        meta = pipeline.source.create("c", A)
        pipeline.source.insert(meta, range(1, 7))
        files = FakeFiles(pipeline.source, meta)
        files.segments = {1: (1, 2), 2: (3, 4), 3: (5, 6)}
        files.forget_log()
        pipeline.source.insert(meta, (7,))
        pipeline.source.delete(meta, (6,))
        pipeline.source.tick()
        monkeypatch.setattr(sources, "_files", lambda *_: files)
        monkeypatch.setattr(segments_sent, "RECORD_SECONDS", 0.0)
        yield Older(pipeline, files)


def once(*keys: int) -> dict[int, int]:
    """Return keys as a target has them, each once."""
    return dict.fromkeys(keys, 1)


def test_rows_come_from_files_and_then_from_the_log(older):
    """Each row comes once; what the log says after the files is done."""
    older.pipeline.start()
    assert older.state is CollectionState.SNAPSHOT
    older.complete()
    assert older.pipeline.target.rows("c") == once(1, 2, 3, 4, 5, 7)
    assert older.files.read == [1, 2, 3]
    assert older.state is CollectionState.LIVE


@pytest.mark.parametrize(
    ("mode", "remedy"),
    [
        ("auto", "give sourceConfig.storage, and they come from the source's files"),
        ("never", 'the task has "snapshot": "never"'),
    ],
)
def test_without_files_the_reason_says_what_to_do(older, mode, remedy):
    """Nothing else can bring the rows: the collection is set aside, and says so."""
    older.files.available = mode == "never"
    task = older.pipeline.task.task
    task.spec = msgspec.structs.replace(task.spec, snapshot=mode)
    older.pipeline.start()
    older.pipeline.wait_until(lambda: older.state is CollectionState.SET_ASIDE)
    reason = older.pipeline.task.entries["c"].reason
    assert "the log no longer holds the beginning of default.c" in reason
    assert remedy in reason


@pytest.mark.parametrize("is_paused", [False, True])
def test_killed_or_paused_between_two_segments(older, is_paused):
    """What is done is not done again, and the rest comes."""
    older.stop_before(2, is_paused=is_paused)
    older.pipeline.start()
    older.complete()
    assert older.files.read == [1, 2, 3]
    assert older.pipeline.target.rows("c") == once(1, 2, 3, 4, 5, 7)


def test_killed_before_its_channels_were_written_down(older):
    """The first thing that is written down of a snapshot is enough to go on with it."""
    older.stop_before(1)
    older.pipeline.task.checkpoints.clear()
    older.pipeline.start()
    older.complete()
    assert older.pipeline.target.rows("c") == once(1, 2, 3, 4, 5, 7)


def test_target_that_lost_the_collection_between_two_runs(older):
    """All of it comes again: what was done is there no longer."""
    older.stop_before(3)
    older.pipeline.target.collections.clear()
    older.pipeline.start()
    older.complete()
    assert older.files.read == [1, 2, 1, 2, 3]
    assert older.pipeline.target.rows("c") == once(1, 2, 3, 4, 5, 7)


def test_target_that_has_a_former_collection_of_the_name(older):
    """What a store that was restored no longer knows of makes room, with its rows."""
    mark = Mark(
        store=STORE,
        task=older.pipeline.task.task.task_id,
        collection_id=12345,
        source="default.c",
    )
    [meta] = older.pipeline.source.catalog.snapshot().collections.values()
    schema = schema_pb2.CollectionSchema.FromString(meta.schema)
    schema.name = "c"
    rows = {"_default": Counter({99: 1})}
    former = StoredCollection(schema, mark.to_properties(), partitions=rows)
    older.pipeline.target.collections["default", "c"] = former
    older.pipeline.start()
    older.complete()
    assert older.pipeline.target.rows("c") == once(1, 2, 3, 4, 5, 7)


def test_files_that_were_merged_meanwhile(older):
    """A file that is gone is looked for in a new listing, where each row comes once."""

    def merge(segment: int) -> None:
        if segment == 2 and 9 not in older.files.segments:
            older.files.segments = {3: (5, 6), 9: (1, 2, 3, 4)}
            raise FileGoneError("2 is not there any more")

    older.files.before = merge
    older.pipeline.start()
    older.complete()
    assert older.files.read == [1, 3, 9]
    assert older.pipeline.target.rows("c") == once(1, 2, 3, 4, 5, 7)


def test_files_that_cannot_be_read(older):
    """The collection is set aside with the reason, and a retry goes on with the files."""

    def refuse(_segment: int) -> None:
        raise CollectionError("the files are in a form that cannot be read")

    older.files.before = refuse
    older.pipeline.start()
    older.pipeline.wait_until(lambda: older.state is CollectionState.SET_ASIDE)
    assert "in a form" in older.pipeline.task.entries["c"].reason
    older.files.before = lambda _segment: None
    older.pipeline.retry("c")
    older.complete()
    assert older.pipeline.target.rows("c") == once(1, 2, 3, 4, 5, 7)


@pytest.mark.parametrize("error", [StorageError("no folder"), TypeError("not bytes")])
def test_trouble_with_files_is_of_one_collection(older, error):
    """The others go on, and the run with them; it is shown, and tried again."""

    def fail(_segment: int) -> None:
        raise error

    other = older.pipeline.source.create("other", A)
    older.files.before = fail
    older.pipeline.start()
    older.pipeline.wait_until(lambda: older.state is CollectionState.SET_ASIDE)
    assert str(error) in older.pipeline.task.entries["c"].reason
    older.pipeline.source.insert(other, (1, 2))
    older.pipeline.source.tick()
    older.pipeline.wait_until(lambda: older.pipeline.target.rows("other") == once(1, 2))
    older.files.before = lambda _segment: None
    older.pipeline.retry("c")
    older.complete()
    assert older.pipeline.target.rows("c") == once(1, 2, 3, 4, 5, 7)


def test_dropped_while_files_are_read(older):
    """Nothing of it stays at the target."""
    older.stop_before(3)
    meta = next(iter(older.pipeline.source.catalog.snapshot().collections.values()))
    older.pipeline.source.drop(meta)
    older.pipeline.source.tick()
    older.pipeline.start()
    older.pipeline.wait_until(lambda: older.pipeline.target.rows("c") is None)
    older.pipeline.wait_until(lambda: older.state is CollectionState.DROPPED)


def test_renamed_while_rows_of_files_are_sent(older):
    """No row meets the old name, and no collection of that name is made again."""
    older.rename_meanwhile("d")
    older.complete()
    assert older.pipeline.target.rows("d") == once(1, 2, 3, 4, 5, 7)
    assert older.pipeline.target.rows("c") is None
    assert older.pipeline.task.entries["d"].state is CollectionState.LIVE


@pytest.mark.parametrize("is_done", [False, True])
def test_killed_in_a_rename_while_rows_of_files_are_sent(older, is_done):
    """The rename is finished before the next run sends rows of files."""
    older.pipeline.target.fail("RenameCollection", is_done=is_done)
    older.rename_meanwhile("d")
    older.pipeline.wait_for_crash()
    older.pipeline.start()
    older.complete()
    assert older.pipeline.target.rows("d") == once(1, 2, 3, 4, 5, 7)
    assert older.pipeline.target.rows("c") is None
    assert older.pipeline.target.asked.count("create c") == 1


def test_rename_that_is_refused_while_rows_of_files_are_sent(older):
    """The files go on by the name that the collection has; the next run renames it."""
    older.pipeline.target.refuse("RenameCollection")
    older.rename_meanwhile("d")
    older.complete()
    right = once(1, 2, 3, 4, 5, 7)
    older.pipeline.wait_until(lambda: older.pipeline.target.rows("d") == right)
    assert older.pipeline.target.rows("c") is None


def test_the_log_forgets_what_follows_while_files_are_read(older):
    """The race is lost: the collection is set aside, and the reason is the true one."""
    [channel] = older.files.meta.channels
    older.pipeline.start()
    older.pipeline.wait_until(older.taken)
    taken = older.taken()
    newest = older.pipeline.source.tick()

    def has_read_on() -> bool:
        at = older.pipeline.run.checkpoints().get(channel)
        return at is not None and at.tick >= newest

    older.pipeline.wait_until(has_read_on)
    older.pipeline.stop()
    at = older.pipeline.task.checkpoints
    older.pipeline.source.log.truncate(channel, at[channel].position)
    task = older.pipeline.task.task
    done = (taken.collection_id, taken.rows, taken.seconds, list(at.values()))
    snapshots.complete(task, *done)
    older.pipeline.begin()
    older.pipeline.wait_until(lambda: older.state is CollectionState.SET_ASIDE)
    reason = older.pipeline.task.entries["c"].reason
    assert "the log no longer holds what came after them" in reason
    assert older.pipeline.target.rows("c") == once(1, 2, 3, 4, 5, 6)


def test_how_far_the_files_are_is_told(older):
    """By rows and by bytes of the files, also of those that an earlier run has done."""
    older.stop_before(2)
    reached, go_on = threading.Event(), threading.Event()

    def wait(segment: int) -> None:
        if segment == 3:
            reached.set()
            go_on.wait(WAIT_SECONDS)

    older.files.before = wait
    older.pipeline.start()
    assert reached.wait(WAIT_SECONDS)

    def told() -> bool:
        """The third segment of three bytes is left of six."""
        runs = [t for t in older.pipeline.task.told if isinstance(t, RunProgressed)]
        seen = [each for t in runs for each in t.snapshots.values()]
        return any(
            (each.size, each.total_size, each.rows) == (3, 6, 2) for each in seen
        )

    try:
        older.pipeline.wait_until(told)
    finally:
        go_on.set()
    older.complete()


def test_made_anew_by_its_name_before_the_target_has_dropped_it(older):
    """Its files wait until the log has brought the drop: the name is free only then."""
    pipeline, files = older.pipeline, older.files
    pipeline.start()
    older.complete()
    pipeline.stop()
    pipeline.source.drop(files.meta)
    pipeline.source.tick()
    files.meta = pipeline.source.create("c", A)
    pipeline.source.insert(files.meta, (8, 9))
    files.segments = {4: (8, 9)}
    files.flush()
    spec = pipeline.task.task.spec
    pipeline.task.task.spec = msgspec.structs.replace(spec, snapshot="always")
    there: list[dict[int, int] | None] = []
    files.before = lambda _segment: there.append(pipeline.target.rows("c"))
    pipeline.target.silence("DropCollection")
    pipeline.begin()
    pipeline.wait_until(lambda: pipeline.target.waiting)
    pipeline.target.speak()
    older.complete()
    assert older.state is CollectionState.LIVE
    assert pipeline.target.rows("c") == once(8, 9)
    assert there == [{}]
