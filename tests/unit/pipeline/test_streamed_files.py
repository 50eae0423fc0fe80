"""Collections of a recorded 2.6.20 that are older than its log: from files made of it."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import count, cycle
from typing import TYPE_CHECKING, TypeVar

import pytest
from msgspec.structs import replace

from cdc_actors.config import Storage
from cdc_actors.pipeline import import_watch
from cdc_actors.pipeline.messages import ImportsWritten, SnapshotTaken
from cdc_actors.source.catalog import catalog_pb2
from cdc_actors.source.storage.rows import SegmentReader
from cdc_actors.source.wal.streaming import stream
from cdc_actors.tasks import CollectionState, snapshots
from tests.fakes.pipeline import WAIT_SECONDS
from tests.fakes.recorded_source import moments
from tests.fakes.streamed_files import StreamedFiles
from tests.fakes.streamed_source import StreamedPipeline
from tests.support.recorded_life import (
    CatalogWrite,
    NodeMessage,
    end,
    left_by_writers,
    life,
)
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cdc_actors.changes import Insert
    from cdc_actors.source.storage.listing import Segment
    from cdc_actors.tasks import TaskSpec
    from tests.support.recorded_life import Step

VERSION = "2.6.20"
WOODPECKER = "2.6.20-woodpecker"
NEWEST = "3.0.0"
WRITERS = "2.6.20-writers"
ALL = replace(SPEC, collection_infos=(), db_collections={"*": ("*",)})
MOMENT = 20_000
"""Milliseconds of the life that are played at once."""

INSERT = "2"
COMPLETED = 5
CHANGED = ("auto_dyn", "every_nullable")
"""Those that are truncated, and to which fields are added."""

_Told = TypeVar("_Told")

ASIDE = {
    VERSION: set(),
    WOODPECKER: set(),
    NEWEST: {"every_nullable", "ns", "ns_part"},
}
"""What neither log nor files bring: arrays of structs that may be null, and namespaces."""


class Older(StreamedPipeline):
    """A task of collections that are older than the log. The test's thread uses it."""

    def __init__(
        self,
        version: str,
        root: Path,
        queue: str,
        spec: TaskSpec = ALL,
        target: str = VERSION,
    ) -> None:
        super().__init__(version, spec, target, queue)
        self.files = StreamedFiles(self.source, root)
        self.storage = Storage(type="local", path=str(root))

    def forget(self) -> None:
        """Have what came so far in files alone."""
        self.files.flush()
        self.files.forget_log()

    def states(self) -> dict[str, CollectionState]:
        """Return where the collections stand, by name."""
        entries = self.task.task.collections.values()
        return {each.name: each.state for each in entries if each.schema or each.reason}

    def reasons(self) -> dict[str, str]:
        """Return why collections are set aside, by name."""
        return {
            each.name: each.reason or ""
            for each in self.task.task.collections.values()
            if each.state is CollectionState.SET_ASIDE
        }

    def complete(self) -> int:
        """Wait for all that comes from files, have the log follow; return how many."""
        self.wait_until(self.is_brought)
        taken = self._taken()
        self.stop()
        at = list(self.task.checkpoints.values())
        for each in taken:
            number, rows, seconds = each.collection_id, each.rows, each.seconds
            snapshots.complete(self.task.task, number, rows, seconds, at)
        self.start()
        return len(taken)

    def is_brought(self) -> bool:
        """Tell whether all that comes from files is there."""
        return self._from_files() <= {each.collection_id for each in self._taken()}

    def _from_files(self) -> set[int]:
        return {
            each.collection_id
            for each in self.task.task.collections.values()
            if each.state is CollectionState.SNAPSHOT
        }

    def _taken(self) -> list[SnapshotTaken]:
        return self.told(SnapshotTaken)

    def told(self, kind: type[_Told]) -> list[_Told]:
        """Return what the run has told of a kind."""
        return [each for each in self.task.told if isinstance(each, kind)]

    def check_end(self) -> None:
        """Check that every row that the life left is there, once."""
        for (database, name), rows in end(self.source.version).rows.items():
            if name not in ASIDE[self.source.version]:
                self.check_rows((database, name), rows)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no node taken for silent that ticks only when it did in the recording."""
    monkeypatch.setattr(stream, "SILENCE_SECONDS", 600.0)


@pytest.fixture
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Older]:
    """Yield a task of everything that the source has."""
    version, snapshot = getattr(request, "param", (VERSION, "auto"))
    queue = "woodpecker" if version == WOODPECKER else "rocksmq"
    spec = replace(ALL, snapshot=snapshot)
    target = NEWEST if version == NEWEST else VERSION
    with Older(version, tmp_path / "files", queue, spec, target) as older:
        yield older


@pytest.mark.parametrize(
    "older",
    [
        pytest.param((VERSION, "auto"), marks=pytest.mark.thorough),
        pytest.param((WOODPECKER, "auto"), marks=pytest.mark.thorough),
        (NEWEST, "auto"),
    ],
    indirect=True,
    ids=[VERSION, WOODPECKER, NEWEST],
)
def test_all_from_files(older: Older) -> None:
    """What was truncated, what fields were added to, and deletes: as it is in the end."""
    older.source.play()
    older.forget()
    older.start()
    assert older.complete() > 10
    older.settle()
    assert older.reasons().keys() == ASIDE[older.source.version]
    older.check_end()


DEFAULTED = {"arrays", "every_default", "every_nullable", "nullable_default"}


@pytest.mark.parametrize(
    ("target", "aside"),
    [("2.5.27", {"null_vectors"}), ("2.4.0", {"bm25", "null_vectors"})],
)
def test_files_for_a_target_that_cannot_hold_all(
    tmp_path: Path, target: str, aside: set[str]
) -> None:
    """Rows of files come without some fields, and what the log brings later, too."""
    spec = replace(ALL, skip_unsupported_fields=True)
    with Older(VERSION, tmp_path / "files", "rocksmq", spec, target) as older:
        older.source.play(until(INSERT, "966v"))
        older.forget()
        older.start()
        older.complete()
        older.source.play()
        older.settle()
        skipped = {n: e.skipped for n, e in older.task.entries.items() if e.skipped}
        assert skipped.keys() == DEFAULTED | {"structs"}
        older.wait_until(lambda: older.reasons().keys() == aside | {*CHANGED})
        assert older.task.task.refused == 0
        for (database, name), rows in end(VERSION).rows.items():
            if name not in older.reasons():
                left_out = skipped.get(name, ())
                wanted = {
                    key: (where, {f: v for f, v in row.items() if f not in left_out})
                    for key, (where, row) in rows.items()
                }
                older.check_rows((database, name), wanted)


def test_it_is_killed_while_files_are_read(
    older: Older, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again and again, each time further on: nothing is missing, nothing is there twice."""
    older.source.play()
    older.forget()
    kills = Kills(older, monkeypatch)
    while kills.next():
        pass
    assert kills.count > 2
    older.start()
    older.complete()
    older.settle()
    older.check_end()


def some_steps(number: int) -> Callable[[Step], bool]:
    """Return what tells that so many steps are over."""
    numbers = count(1)
    return lambda _: next(numbers) % number == 0


def is_imported(step: Step) -> bool:
    """Tell whether a bulk import is complete."""
    if not isinstance(step, CatalogWrite) or "import-job/" not in step.key:
        return False
    job = catalog_pb2.ImportJob.FromString(step.value or b"")
    return job.state == COMPLETED


def until(kind: str, name: str) -> Callable[[Step], bool]:
    """Return what tells of a message to a shard whose name has something in it."""

    def is_it(step: Step) -> bool:
        return (
            isinstance(step, NodeMessage)
            and step.properties["_t"] == kind
            and name in step.properties.get("_vc", "")
        )

    return is_it


def test_a_life_goes_on_after_its_files(older: Older) -> None:
    """What changes a collection's shape later sets it aside, until it is brought anew.

    Its run is ended again and again.
    """
    endings = cycle([older.kill, older.stop])
    older.source.play(until(INSERT, "966v"))
    older.forget()
    older.start()
    assert older.complete() > 5
    while older.source.play(moments(MOMENT)):
        older.wait_for_steps()
        next(endings)()
        older.start()
    older.settle()
    older.wait_until(lambda: older.reasons().keys() == {*CHANGED})
    older.forget()
    older.resync(*CHANGED, drop_target=True)
    assert older.complete() == len(CHANGED)
    older.settle()
    assert older.reasons() == {}
    older.check_end()


@pytest.mark.parametrize("older", [(VERSION, "always")], indirect=True)
def test_files_are_read_where_the_log_has_everything_too(older: Older) -> None:
    """What is there by then comes from files, and what follows from the log."""
    older.source.play(until(INSERT, "966v"))
    older.files.flush()
    older.start()
    assert older.complete() > 10
    older.source.play()
    older.settle()
    older.wait_until(lambda: older.reasons().keys() == {*CHANGED})
    for (database, name), rows in end(VERSION).rows.items():
        if name not in {*CHANGED}:
            older.check_rows((database, name), rows)


@pytest.mark.parametrize("older", [(VERSION, "never")], indirect=True)
def test_files_that_are_not_to_be_read(older: Older) -> None:
    """What the log no longer holds is set aside, and says so."""
    older.source.play()
    older.forget()
    older.start()
    older.settle()
    reasons = older.reasons()
    assert len(reasons) > 10
    assert all("log" in reason for reason in reasons.values())


def test_a_bulk_import(older: Older, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows, which the log never had, come once files have all that came before."""
    monkeypatch.setattr(import_watch, "LOOK_SECONDS", 0.0)
    older.source.play(is_imported)
    older.start()
    entries = older.task.task.collections
    older.wait_until(lambda: any(e.missing_imports for e in [*entries.values()]))
    older.source.play()
    older.settle()
    imported = older.files.add_import(older.task.entries["wide"].shards[0])
    older.files.flush()
    older.wait_until(lambda: older.told(ImportsWritten))
    written = older.told(ImportsWritten)[0]
    older.stop()
    snapshots.bring_imports(older.task.task, written.collections)
    older.start()
    assert older.complete() == 1
    older.settle()
    assert not older.task.entries["wide"].missing_imports
    found = older.target.found(("default", "wide"))
    assert found is not None
    there = {key: len(rows) for key, rows in found.items() if rows}
    wanted = {*end(VERSION).rows["default", "wide"], *imported}
    assert there == dict.fromkeys(wanted, 1)


@pytest.mark.parametrize("older", [(WRITERS, "auto")], indirect=True)
@pytest.mark.parametrize("is_killed", [False, True], ids=["follows", "killed"])
def test_ten_writers_at_once(
    older: Older,
    is_killed: bool,  # noqa: FBT001 - a parameter of the test
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Files end between transactions that are under way: each row is there once.

    Of a key that was inserted twice one remains at least: the run that follows the log
    deletes what may be there before it inserts.
    """
    older.source.play(some_steps(len(life(WRITERS)) * 7 // 10))
    older.forget()
    if is_killed:
        kills = Kills(older, monkeypatch)
        assert kills.next()
        assert kills.next()
    older.start()
    assert older.complete() == 2
    while older.source.play(some_steps(100)):
        older.wait_for_steps()
    older.settle()
    for name, wanted in left_by_writers().items():
        found = older.target.found(("default", name)) or {}
        there = {k: Counter(row["w"] for _, row in r) for k, r in found.items() if r}
        assert there.keys() == wanted.keys()
        for key, values in there.items():
            left = Counter(wanted[key])
            assert values <= left, (name, key)


def test_files_that_are_merged_meanwhile(
    older: Older, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was listed is gone, what was done is in others: no row is there twice."""
    older.source.play()
    older.forget()
    numbers = count(1)

    def merge() -> None:
        if next(numbers) in {4, 20}:
            older.files.compact()

    after_each_insert(monkeypatch, merge)
    older.start()
    older.complete()
    assert next(numbers) > 20
    older.settle()
    older.check_end()


def after_each_insert(patch: pytest.MonkeyPatch, then: Callable[[], None]) -> None:
    """Have something done whenever rows of files were taken."""
    inserts = SegmentReader.inserts

    def watched(
        reader: SegmentReader, segment: Segment, until: int, since: int = 0
    ) -> Iterator[Insert]:
        for each in inserts(reader, segment, until, since):
            yield each
            then()

    patch.setattr(SegmentReader, "inserts", watched)


class Kills:
    """Kills one run after the other while it reads files."""

    def __init__(self, older: Older, patch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._older = older
        self._left = 0
        self._reached, self._go_on = threading.Event(), threading.Event()
        after_each_insert(patch, self._count)

    def next(self) -> bool:
        """Begin a run and kill it after some inserts; tell whether there were so many."""
        self._left = 5 * (self.count + 1)
        self._reached.clear()
        self._go_on.clear()
        self._older.start()
        self._older.wait_until(
            lambda: self._reached.is_set() or self._older.is_brought()
        )
        is_reached = self._reached.is_set()
        self._older.run._context.stop()
        self._go_on.set()
        self._older.kill()
        self.count += is_reached
        return is_reached

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._reached.set()
            self._go_on.wait(WAIT_SECONDS)
