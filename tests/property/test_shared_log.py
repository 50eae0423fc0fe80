"""Many readers of one log: each is given exactly what a reader of its own would give."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_actors.errors import PositionLostError, TransientError
from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.source.wal import head, shared, tail
from cdc_actors.source.wal.base import WalReader
from cdc_actors.source.wal.head import Head
from cdc_actors.source.wal.natsmq.positions import position_of
from cdc_actors.source.wal.shared import SharedLogs, SharedReader
from tests.fakes import memory_log
from tests.fakes.memory_log import MemoryLog, MemoryReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.changes import Record

CHANNELS = ("a", "b")
AT_END = 0.03
"""For so long nothing comes once a reader is at the end."""


@pytest.fixture(autouse=True, scope="module")
def _sooner_at_the_end() -> Iterator[None]:
    with patch.object(shared, "END_SECONDS", 0.02):
        yield


class Source:
    """A log in memory, and readers that share it."""

    def __init__(self, limit: int = 1 << 20, max_wait: float = 10.0) -> None:
        self._max_wait = max_wait
        self.log = MemoryLog()
        self.logs = SharedLogs()
        self.memory = MemoryBudget(limit)
        self._opened: list[MemoryReader] = []
        self._written: dict[str, list[bytes]] = {}

    def write(self, channel: str, size: int = 1) -> None:
        """Append a record that no other is like."""
        written = self._written.setdefault(channel, [])
        written.append(b"%d." % len(written) + bytes(size))
        self.log.append(channel, written[-1])

    def written(self, channel: str, first: int) -> list[bytes]:
        """Return what was written from a record on."""
        return self._written.get(channel, [])[first - 1 :]

    def reader(self) -> WalReader:
        """Open one."""
        quota = self.memory.quota(0.125)
        return self.logs.open("source", self._open, self.memory, quota)

    def last(self, channel: str) -> int:
        """Return the number of the last record."""
        return len(self._written.get(channel, ()))

    @property
    def readers(self) -> int:
        """How many readers of the log itself are open."""
        return sum(not each._closed for each in self._opened)

    @property
    def opened(self) -> int:
        """How many ever were."""
        return len(self._opened)

    def _open(self, _quota: object) -> WalReader:
        self._opened.append(MemoryReader(self.log, self._max_wait))
        return self._opened[-1]


class Task:
    """One that reads from some record of each channel on, and keeps what it was given."""

    def __init__(self, source: Source, starts: dict[str, int | None]) -> None:
        self._source = source
        self.reader = source.reader()
        self.starts = {c: number or 1 for c, number in starts.items()}
        self.given: dict[str, list[Record]] = {c: [] for c in starts}
        for channel, number in starts.items():
            start = None if number is None else position_of(channel, number)
            self.reader.subscribe(channel, start)

    def poll(self, channels: tuple[str, ...] | None = None, timeout: float = 0) -> int:
        """Read some more; return how much it was."""
        records = self.reader.poll(timeout, channels)
        for record in records:
            self.given[record.channel].append(record)
        return len(records)

    def poll_on(self) -> None:
        """Read until it fails, or for seconds."""
        for _ in range(100):
            self.poll(timeout=AT_END)

    @property
    def has_all(self) -> bool:
        """Whether it has as many records as there are."""
        return all(
            len(self.given[channel]) == self._source.last(channel) - first + 1
            for channel, first in self.starts.items()
        )

    def finish(self) -> None:
        """Read all that there is."""
        for _ in range(1000):
            if self.has_all:
                return
            self.poll(timeout=AT_END)

    def check(self) -> None:
        """It has all: nothing twice, nothing left out, in order."""
        for channel, first in self.starts.items():
            given = self.given[channel]
            assert [r.payload for r in given] == self._source.written(channel, first)
            positions = [position_of(channel, first + n) for n in range(len(given))]
            assert [r.position for r in given] == positions


class StillHead(Head):
    """One without a thread, which reads when it is told to."""

    every: ClassVar[list[StillHead]] = []

    def start(self) -> None:
        """Only be known."""
        self.every.append(self)

    def join(self, _seconds: float) -> None:
        """End."""
        self._run()

    @classmethod
    def fill_all(cls) -> None:
        """Have each read a bit."""
        for each in cls.every:
            if not each.is_over:
                each._fill()


@contextmanager
def still_tails(data: st.DataObject) -> Iterator[None]:
    """Have tails be filled when told, and little or much be kept in them."""
    kept = data.draw(st.sampled_from([0, 5_000, 1 << 20]))
    with (
        patch.object(shared, "Head", StillHead),
        patch.object(shared, "END_SECONDS", 0.0),
        patch.object(head, "POLL_SECONDS", 0.0),
        patch.object(tail, "KEPT_BYTES", kept),
    ):
        yield


class Steps:
    """What tasks do, and what is written meanwhile, one step after another."""

    def __init__(self, data: st.DataObject) -> None:
        StillHead.every.clear()
        self._draw = data.draw
        limit = self._draw(st.sampled_from([1, 20_000, 1 << 20]))
        self.source = Source(limit, max_wait=0.0)
        self.tasks: list[Task] = []
        self.fill = StillHead.fill_all
        for channel in CHANNELS:
            self.write(channel)

    def write_some(self) -> None:
        """Write records, some of them large."""
        for _ in range(self._draw(st.integers(1, 5))):
            self.write(self._draw(st.sampled_from(CHANNELS)))

    def write(self, channel: str) -> None:
        """Write a record."""
        self.source.write(channel, self._draw(st.sampled_from([1, 3000])))

    def begin(self) -> None:
        """Begin to read, anywhere."""
        starts: dict[str, int | None] = {}
        for channel in CHANNELS:
            _, end = self.source.log.bounds(channel) or (1, 1)
            starts[channel] = self._draw(st.one_of(st.none(), st.integers(1, end)))
        self.tasks.append(Task(self.source, starts))

    def poll(self) -> None:
        """Have a task read what there is, of all channels or of one."""
        if self.tasks:
            some = self._draw(st.sampled_from([None, ("a",), ("b",)]))
            self._draw(st.sampled_from(self.tasks)).poll(some)

    def close(self) -> None:
        """End a task."""
        if self.tasks:
            number = self._draw(st.integers(0, len(self.tasks) - 1))
            self.tasks.pop(number).reader.close()

    def finish(self) -> None:
        """Have all tasks read all that there is."""
        for _ in range(1000):
            if all(task.has_all for task in self.tasks):
                break
            self.fill()
            for task in self.tasks:
                task.poll()


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_each_is_given_every_record_once_and_in_order(data: st.DataObject) -> None:
    """Whoever begins where and when, however slow, whatever the tails have room for.

    A reader goes on in a tail as soon as it can; nothing is waited for.
    """
    with still_tails(data), patch.object(memory_log, "_POLL_BYTES", 3_500):
        steps = Steps(data)
        kinds = [steps.write_some, steps.begin, steps.poll, steps.fill, steps.close]
        often = [*kinds, steps.poll, steps.fill]
        for step in data.draw(
            st.lists(st.sampled_from(often), min_size=15, max_size=40)
        ):
            step()
        steps.finish()
        for task in steps.tasks:
            task.check()
            task.reader.close()
        assert steps.source.memory.used == 0


@pytest.fixture
def source() -> Source:
    """A log with a record in each channel."""
    source = Source()
    for channel in CHANNELS:
        source.write(channel)
    return source


def at_the_end(source: Source, count: int) -> list[Task]:
    """Return tasks that have come to the end of the log."""
    tasks = [Task(source, dict.fromkeys(CHANNELS)) for _ in range(count)]
    for task in tasks:
        task.finish()
        for _ in range(3):
            task.poll(timeout=AT_END)
    return tasks


def test_who_is_at_the_end_shares_one_reader_and_what_it_reads(source: Source) -> None:
    """No other is open, and a record is one object for all, decoded at most once."""
    tasks = at_the_end(source, 3)
    source.write("a")
    for task in tasks:
        task.finish()
    assert source.readers == 1
    records = [task.given["a"][-1] for task in tasks]
    assert records[0] is records[1] is records[2]
    for task in tasks:
        task.reader.close()
    assert source.readers == 0


def test_who_does_not_keep_up_reads_by_itself_and_comes_back() -> None:
    """It holds up nobody, and misses nothing."""
    source = Source(limit=40_000)
    for channel in CHANNELS:
        source.write(channel)
    fast, slow = at_the_end(source, 2)
    opened = source.opened
    for _ in range(20):
        source.write("a", 3000)
        fast.finish()
    assert source.opened == opened
    slow.finish()
    assert source.opened == opened + 1
    for _ in range(3):
        slow.poll(timeout=AT_END)
    source.write("a")
    for task in (fast, slow):
        task.finish()
        task.check()
    assert source.readers == 1
    for task in (fast, slow):
        task.reader.close()


def test_a_queue_that_is_away_is_so_for_all_and_can_be_opened_again(
    source: Source,
) -> None:
    """Each is told; a reader that is opened then goes on from where it was."""
    tasks = at_the_end(source, 2)
    source.log.stop()
    for task in tasks:
        with pytest.raises(TransientError, match="away"):
            task.poll_on()
        task.reader.close()
    source.log.start()
    source.write("a")
    (again,) = at_the_end(source, 1)
    again.check()
    assert len(again.given["a"]) == 2
    again.reader.close()


def test_a_channel_that_is_lost_is_lost_to_those_who_read_it(source: Source) -> None:
    """Another task reads on."""
    one = Task(source, {"a": None})
    other = Task(source, {"b": None})
    for task in (one, other):
        for _ in range(3):
            task.poll(timeout=AT_END)
    with source.log.changed:
        for _ in range(3):
            source.write("a")
        source.log.truncate("a", position_of("a", 4))
    with pytest.raises(PositionLostError):
        one.poll_on()
    source.write("b")
    other.finish()
    other.check()
    assert len(other.given["b"]) == 2
    for task in (one, other):
        task.reader.close()


def test_a_channel_that_is_silent_is_shared_beside_one_that_is_not() -> None:
    """A reader that waits for both comes to the end of both."""
    source = Source()
    tasks = [Task(source, {"a": None, "silent": None}) for _ in range(2)]
    for _ in range(20):
        source.write("a")
        for task in tasks:
            task.poll(timeout=AT_END)
    for task in tasks:
        task.poll(timeout=AT_END)
        task.poll(timeout=AT_END)
    source.write("silent")
    for task in tasks:
        task.finish()
        task.check()
    assert source.readers == 1
    for task in tasks:
        task.reader.close()


def test_nothing_that_a_reader_is_asked_is_answered_by_the_interface_alone() -> None:
    """What a queue can tell is told by a reader that others share, too."""
    asked = {name for name in vars(WalReader) if name[0] != "_"} - {"is_streamed"}
    assert asked <= vars(SharedReader).keys()
