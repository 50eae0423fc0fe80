"""Readers that rest at the end of a log they share: nothing that matters passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_actors.changes import Insert, Tick
from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.source.decode import decode
from cdc_actors.source.wal.shared import SharedLogs
from tests.fakes.fake_source import A, B, FakeSource
from tests.fakes.memory_log import MemoryReader
from tests.property.test_shared_log import StillHead, still_tails

if TYPE_CHECKING:
    from cdc_actors.source.catalog.client import CollectionMeta

CHANNELS = (A, B)


class Reading:
    """One that reads both channels, and ignores some collections while it rests."""

    def __init__(self, run: Run, ignored: set[int]) -> None:
        quota = run.memory.quota(0.125)
        self.reader = run.logs.open("source", run.open, run.memory, quota)
        self.ignored = ignored
        self.rows: dict[str, list[int]] = {channel: [] for channel in CHANNELS}
        self.ticks: dict[str, list[int]] = {channel: [] for channel in CHANNELS}
        self.is_woken = self.rests = False
        for channel in CHANNELS:
            self.reader.subscribe(channel, None)

    def poll(self) -> None:
        """Take what there is."""
        self.rests = False
        for record in self.reader.poll(0):
            change = decode(record.payload)
            if isinstance(change, Tick):
                self.ticks[record.channel].append(change.timestamp)
            elif isinstance(change, Insert) and change.collection not in self.ignored:
                self.rows[record.channel].append(change.timestamp)

    def rest(self) -> None:
        """Rest, if nothing is to be polled."""
        self.is_woken = False
        self.rests = self.reader.rest(self.wake, self.ignored.__contains__)

    def wake(self) -> None:
        """Be woken, once."""
        assert self.rests
        assert not self.is_woken
        self.is_woken = True


class Run:
    """What readers do, and what is written meanwhile, one step after another."""

    def __init__(self, data: st.DataObject) -> None:
        StillHead.every.clear()
        self._draw = data.draw
        self.source = FakeSource()
        self.memory = MemoryBudget(self._draw(st.sampled_from([1, 20_000, 1 << 20])))
        self.logs = SharedLogs()
        self.collections = [self.source.declare(name) for name in ("one", "two")]
        self.written: list[tuple[str, CollectionMeta, int]] = []
        ids = [each.id for each in self.collections]
        chosen = st.lists(st.sets(st.sampled_from(ids)), min_size=1, max_size=4)
        self.readings = [Reading(self, ignored) for ignored in self._draw(chosen)]

    def open(self, _quota: object) -> MemoryReader:
        """Open a reader that is not shared."""
        return MemoryReader(self.source.log, max_wait=0.0)

    def insert(self) -> None:
        """Write rows of a collection to a channel, few or many."""
        channel = self._draw(st.sampled_from(CHANNELS))
        meta = self._draw(st.sampled_from(self.collections))
        keys = range(self._draw(st.sampled_from([1, 300])))
        self.written.append((channel, meta, self.source.insert(meta, keys, channel)))

    def tick(self) -> None:
        """Write a tick to a channel."""
        self.source.tick(self._draw(st.sampled_from(CHANNELS)))

    def fill(self) -> None:
        """Have the one that reads for all read what there is."""
        StillHead.fill_all()

    def poll(self) -> None:
        """Have a reader take what there is."""
        self._draw(st.sampled_from(self.readings)).poll()

    def rest(self) -> None:
        """Have a reader rest."""
        each = self._draw(st.sampled_from(self.readings))
        each.poll()
        each.rest()

    def own(self, reading: Reading, channel: str) -> list[int]:
        """Return what a reading is to be given of a channel."""
        return [
            at
            for where, meta, at in self.written
            if where == channel and meta.id not in reading.ignored
        ]

    def check(self) -> None:
        """Whatever has passed a reader, no row of its own was before it."""
        for each in self.readings:
            for channel, tick in each.reader.passed().items():
                due = [at for at in self.own(each, channel) if at <= tick]
                assert each.rows[channel][: len(due)] == due

    def finish(self) -> None:
        """Have all that is written read: who rests on has been given all of its own."""
        self.source.tick()
        for _ in range(10):
            self.fill()
        for each in self.readings:
            for channel in CHANNELS if each.rests and not each.is_woken else ():
                assert each.rows[channel] == self.own(each, channel)
        for _ in range(30):
            self.fill()
            for each in self.readings:
                each.poll()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_who_rests_is_woken_for_all_that_is_its_own_and_told_the_newest_tick(
    data: st.DataObject,
) -> None:
    """Whoever rests when, whatever comes, and however little the tails have room for.

    Rows of ignored collections may pass and come to nobody; of the ticks each channel's
    newest is never left out, and a tick that has passed is behind nothing that was not
    given.
    """
    with still_tails(data):
        run = Run(data)
        kinds = [run.insert, run.tick, run.fill, run.poll, run.rest]
        often = st.sampled_from([*kinds, run.fill, run.rest])
        for step in data.draw(st.lists(often, min_size=20, max_size=60)):
            step()
            run.check()
        run.finish()
        run.check()
        for each in run.readings:
            for channel in CHANNELS:
                assert each.rows[channel] == run.own(each, channel)
                assert each.ticks[channel] == sorted(each.ticks[channel])
                assert each.ticks[channel][-1] == run.source.ticks[channel]
            each.reader.close()
        assert run.memory.used == 0
