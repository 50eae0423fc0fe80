"""Files that are fetched before they are asked for."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_actors.config import Storage
from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.pipeline.snapshot_jobs import LeftError
from cdc_actors.pipeline.work_queue import RunBudget
from cdc_actors.source.storage import ahead
from cdc_actors.source.storage.ahead import FilesAhead
from cdc_actors.source.storage.envelope import READ_BYTES
from cdc_actors.source.storage.files import FileGoneError, Files
from cdc_actors.source.storage.listing import FileSet, Segment, StoredFile
from cdc_actors.source.storage.rows import SegmentReader
from tests.fakes.pipeline import WAIT_SECONDS
from tests.support.object_store import ObjectStore
from tests.unit.source.storage.test_rows import MemoryFiles, found, meta, segment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UNTIL = 9
LIMIT = 256 << 20


class FarFiles(Files):
    """Files of a folder that count as far away, and who has opened which."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Storage(type="local", path=str(folder)))
        self.is_far = True
        self.folder = folder
        self.opened: list[str] = []
        self.ahead: list[str] = []
        self.before: Callable[[str], None] = lambda _path: None

    def open(self, path: str) -> Any:
        """Open a file."""
        self.before(path)
        self.opened.append(path)
        if threading.current_thread().name == "files-ahead":
            self.ahead.append(path)
        return super().open(path)

    def add(self, path: str, content: bytes) -> None:
        """Write a file."""
        whole = self.folder / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(content)


@pytest.fixture
def far(tmp_path: Path) -> FarFiles:
    """Return a storage with nothing in it."""
    (tmp_path / "insert_log").mkdir()
    return FarFiles(tmp_path)


def memory_of(limit: int = LIMIT) -> tuple[MemoryBudget, RunBudget]:
    """Return a memory, and one run's part of it."""
    memory = MemoryBudget(limit)
    return memory, RunBudget(memory.quota(2.0))


def segments(count: int) -> tuple[list[Segment], dict[str, bytes]]:
    """Return segments of two rows, of which the first is deleted, and their files."""
    files = MemoryFiles()
    made = [
        segment(files, [(2 * n, 1), (2 * n + 1, 1)], deletes=[(2 * n, 2)])
        for n in range(count)
    ]
    return made, files.found


def told_in_memory(made: Segment) -> Segment:
    """Return a segment of whose files the catalog tells what their two values take."""
    told = {i: replace(each, size=16) for i, each in made.sets[0].files.items()}
    return replace(made, sets=(FileSet(told),))


def rows(count: int) -> Counter[tuple[int, int]]:
    """Return what is left of so many segments."""
    return Counter((2 * n + 1, 0) for n in range(count))


def test_requests_are_under_way_at_once() -> None:
    """All that may be are; the rows are those of the files, and nothing is held then."""
    made, files = segments(20)
    memory, run = memory_of()
    is_full = threading.Event()
    under_way = threading.Semaphore(0)

    def wait() -> None:
        under_way.release()
        if under_way._value >= ahead.AT_ONCE:
            is_full.set()
        assert is_full.wait(WAIT_SECONDS)

    with ObjectStore() as store:
        store.found, store.before = files, wait
        made = [told_in_memory(each) for each in made]
        reader = SegmentReader(meta(), Files(Storage(**store.settings)))
        with reader.ahead(made, run, lambda: None, whole=True) as fast:
            assert found(fast, *made, until=UNTIL) == rows(20)
    assert is_full.is_set()
    assert store.requests == 2 * len(files)
    assert memory.used == 0


def test_a_segment_that_lacks_a_file(far: FarFiles) -> None:
    """Those before it are read; it is said when it is asked for, and nothing is held."""
    made, files = segments(3)
    lost = made[1].sets[0].files[100].path
    for path, content in files.items():
        if path != lost:
            far.add(path, content)
    memory, run = memory_of()
    reader = SegmentReader(meta(), far)
    with reader.ahead(made, run, lambda: None, whole=True) as fast:
        assert found(fast, made[0], until=UNTIL) == rows(1)
        with pytest.raises(FileGoneError, match=lost):
            found(fast, made[1], until=UNTIL)
    assert memory.used == 0


def test_what_need_not_be_waited_for(far: FarFiles) -> None:
    """A storage that does not answer holds nobody up who is to end."""
    made, files = segments(1)
    for path, content in files.items():
        far.add(path, content)
    memory, run = memory_of()
    go_on = threading.Event()
    far.before = lambda _path: go_on.wait(WAIT_SECONDS)

    def check() -> None:
        raise LeftError

    with (
        SegmentReader(meta(), far).ahead(made, run, check, whole=True) as fast,
        pytest.raises(LeftError),
    ):
        found(fast, *made, until=UNTIL)
    assert memory.used == 0
    go_on.set()


def test_other_columns_that_are_hardly_needed(far: FarFiles) -> None:
    """Where few rows are new enough, their other columns are read once it is known."""
    files = MemoryFiles()
    made = [segment(files, [(key, key)]) for key in range(1, 4)]
    for path, content in files.found.items():
        far.add(path, content)
    _, run = memory_of()
    reader = SegmentReader(meta(), far)
    with reader.ahead(made, run, lambda: None, whole=False) as fast:
        assert found(fast, *made, until=UNTIL, since=3) == Counter([(3, 0)])
    vectors = [each.sets[0].files[101].path for each in made]
    assert [path for path in vectors if path in far.opened] == [vectors[2]]
    assert vectors[2] not in far.ahead


def test_near_files_are_not_fetched_before(far: FarFiles) -> None:
    """Nothing would be won."""
    far.is_far = False
    reader = SegmentReader(meta(), far)
    with reader.ahead([], memory_of()[1], lambda: None, whole=True) as same:
        assert same.files is far


def test_what_is_not_asked_for_makes_room() -> None:
    """Files that turned out not to be needed do not keep others from being fetched."""
    fetched: set[str] = set()

    class Counted(MemoryFiles):
        def read_small(self, path: str, _most: int) -> Any:
            fetched.add(path)
            return self.read(path)

    files: Any = Counted()
    groups = [[f"{number}/{each}" for each in range(2)] for number in range(100)]
    files.found = {path: b"" for group in groups for path in group}
    wanted = [[(StoredFile(path, 0, 1), True) for path in group] for group in groups]
    with closing(FilesAhead(files, wanted, memory_of()[1], lambda: None)) as early:
        for asked, _ in groups:
            early.read(asked)
    assert fetched >= {asked for asked, _ in groups}


SIZES = st.sampled_from([0, 1, READ_BYTES - 1, READ_BYTES, READ_BYTES + 1])
FILES = st.tuples(SIZES, st.booleans(), st.booleans())
"""What the catalog says of its size; whether it is likely asked for; whether it is."""


@settings(deadline=None)
@given(st.data())
def test_memory_has_a_ceiling(data: st.DataObject) -> None:
    """Whatever is asked for, each file is given, and what is fetched has room."""
    groups = data.draw(st.lists(st.lists(FILES, max_size=4), max_size=12))
    limit = data.draw(st.integers(0, 80 * READ_BYTES))
    taken = data.draw(st.integers(0, limit))
    memory, run = memory_of(limit)
    memory.change(taken)
    held: list[int] = []

    class Counted(MemoryFiles):
        def read_small(self, path: str, most: int) -> Any:
            held.append(memory.used - taken)
            content = self.read(path)
            return content if content.size <= most else None

    files: Any = Counted()
    named = [
        [
            (StoredFile(f"{n}/{m}", 0, size), is_likely, is_asked)
            for m, (size, is_likely, is_asked) in enumerate(group)
        ]
        for n, group in enumerate(groups)
    ]
    files.found = {f.path: f.path.encode() for group in named for f, _, _ in group}
    wanted = [[(file, likely) for file, likely, _ in group] for group in named]
    with closing(FilesAhead(files, wanted, run, lambda: None)) as early:
        for group in named:
            for file, _, is_asked in data.draw(st.permutations(group)):
                if is_asked:
                    assert early.read(file.path).to_pybytes() == file.path.encode()
                    held.append(memory.used - taken)
    assert memory.used == taken
    assert max(held, default=0) <= limit * ahead.MEMORY_SHARE
