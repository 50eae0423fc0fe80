"""The newest records of one channel, for all tasks that have come to the end of the log."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from cdc_actors.changes import Record, Tick
from cdc_actors.errors import CdcError
from cdc_actors.source.decode import decode
from cdc_actors.source.wal.buffer import RECORD_OVERHEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from cdc_actors.changes import Change, Position
    from cdc_actors.memory_budget import Quota

KEPT_BYTES = 128 << 10
"""Bytes that are kept, though all have read them, for one who comes to the log's end."""

AHEAD_BYTES = 32 << 20
"""Bytes that are read ahead of the one who has come furthest, at most."""


class Point(NamedTuple):
    """Where reading goes on, as ``WalReader.subscribe`` takes it."""

    position: Position | None
    inclusive: bool


class Passed(NamedTuple):
    """What somebody has passed over at rest: where reading goes on, and the newest tick."""

    point: Point
    tick: SharedRecord | None


class _Rest(NamedTuple):
    """Since which record somebody rests, and what does not end it."""

    since: int
    lets_pass: Callable[[SharedRecord], bool]


class _Found:
    """What was found out of a record so far."""

    __slots__ = ("change", "position")

    def __init__(self) -> None:
        self.change: Change | Tick | None = None
        self.position: Position | None = None


class SharedRecord(Record, frozen=True, gc=False):
    """A record that several tasks read. What it says is found out once, by any thread."""

    record: Record
    found: _Found

    @property
    def position(self) -> Position:
        """Where it stands."""
        if self.found.position is None:
            self.found.position = self.record.position
        return self.found.position

    @property
    def change(self) -> Change | Tick:
        """What it says; raises as ``decode`` does."""
        if self.found.change is None:
            self.found.change = decode(self.payload)
        return self.found.change

    @property
    def readable(self) -> Change | Tick | None:
        """The same, None if it cannot be read: that is for those to find out who read."""
        try:
            return self.change
        except CdcError:
            return None


def shared(record: Record) -> SharedRecord:
    """Return a record as several tasks read it."""
    return SharedRecord(record.channel, record.payload, record, _Found())


class Tail:
    """Records of a channel without a gap, and how far each who reads here has come.

    Who is at the end may rest there: then ticks pass at no cost, however many rest.

    Records are counted from 0 on. One thread at a time uses it. ``error`` is why nothing
    follows any more.

    Args:
        start: What the first record comes after.
        quota: What the records may take of the memory. Each counts twice: for its bytes,
            and for what they say.
        reached: As that of the channel's ``WalReader``.
    """

    def __init__(
        self,
        start: Point,
        quota: Quota,
        reached: Callable[[Position, Position], bool],
    ) -> None:
        self.error: CdcError | None = None
        self._start = start
        self._quota = quota
        self._reached = reached
        self._records: deque[SharedRecord] = deque()
        self._held = 0
        self._first = 0
        self._places: dict[object, int] = {}
        self._resting: dict[object, _Rest] = {}
        self._passed: dict[object, Passed] = {}
        self._tick: tuple[int, SharedRecord] | None = None

    @property
    def readers(self) -> Collection[object]:
        """Who reads here."""
        return self._places.keys() | self._resting.keys()

    @property
    def awake(self) -> Collection[object]:
        """Who of them does not rest."""
        return self._places.keys()

    @property
    def end(self) -> Point:
        """What the next record comes after."""
        return (
            Point(self._records[-1].position, False) if self._records else self._start
        )

    def may_grow(self) -> bool:
        """Tell whether more is to be read: whoever has come furthest sets the pace.

        A channel of which nothing is there always may: see ``RecordBuffer.may_fetch``.
        """
        if self._resting:
            return True
        ahead = sum(map(_size, self._from(self._furthest)))
        return not ahead or (self._quota.has_room() and ahead < AHEAD_BYTES)

    def append(self, records: Iterable[Record]) -> None:
        """Add what comes next; who is to have any of it rests no more."""
        for record in records:
            item = shared(record)
            if self._resting:
                self._pass(item)
            self._records.append(item)
            self._count(_size(item))
        self._trim()

    def join(self, who: object, point: Point) -> bool:
        """Have somebody read on here from a point; tell whether that can be."""
        place = self._place_behind(point)
        if place is not None:
            self._places[who] = place
        return place is not None

    def leave(self, who: object) -> None:
        """Have somebody read here no more. Idempotent."""
        self._places.pop(who, None)
        self._resting.pop(who, None)
        self._passed.pop(who, None)

    def rest(self, who: object, lets_pass: Callable[[SharedRecord], bool]) -> None:
        """Have somebody at the end rest until something comes but ticks and what passes."""
        del self._places[who]
        self._resting[who] = _Rest(self._end, lets_pass)

    def rise(self, who: object) -> Passed:
        """Have somebody who was put to rest read on; return what was passed over."""
        if who in self._resting:
            self._rouse(who)
        return self._passed.pop(who)

    def passing(self, who: object) -> SharedRecord | None:
        """Return the newest tick that has passed since somebody was put to rest."""
        if who in self._passed:
            return self._passed[who].tick
        rest = self._resting.get(who)
        if rest is None or self._tick is None or self._tick[0] < rest.since:
            return None
        return self._tick[1]

    def has_news(self, who: object) -> bool:
        """Tell whether there is something to take, or nothing follows any more."""
        return self.error is not None or self._places[who] < self._end

    def take(self, who: object, at_most: int) -> list[SharedRecord] | None:
        """Return what comes next for somebody, up to some bytes and one record beyond.

        None if it is not here any more.
        """
        place = self._places[who]
        if place < self._first:
            return None
        taken: list[SharedRecord] = []
        for record in self._from(place):
            if at_most <= 0:
                break
            taken.append(record)
            at_most -= len(record.payload) + RECORD_OVERHEAD
        self._places[who] = place + len(taken)
        return taken

    def clear(self) -> None:
        """Keep nothing."""
        while self._records:
            self._drop_first()

    @property
    def _end(self) -> int:
        return self._first + len(self._records)

    @property
    def _furthest(self) -> int:
        return self._end if self._resting else max(self._places.values(), default=0)

    def _pass(self, item: SharedRecord) -> None:
        if isinstance(item.readable, Tick):
            self._tick = self._end, item
            return
        for who, rest in tuple(self._resting.items()):
            if not rest.lets_pass(item):
                self._rouse(who)

    def _rouse(self, who: object) -> None:
        self._passed[who] = Passed(self.end, self.passing(who))
        self._places[who] = self._end
        del self._resting[who]

    def _from(self, number: int) -> Iterator[SharedRecord]:
        """Go through what is there from a number on, the end of which is near."""
        count = len(self._records) - max(0, number - self._first)
        return reversed(list(islice(reversed(self._records), max(0, count))))

    def _place_behind(self, point: Point) -> int | None:
        if point == self._start:
            return self._first
        if point.position is None or point.inclusive:
            return None
        low, high = 0, len(self._records)
        while low < high:
            middle = (low + high) // 2
            if self._reached(self._records[middle].position, point.position):
                high = middle
            else:
                low = middle + 1
        is_here = low < len(self._records)
        if is_here and self._records[low].position == point.position:
            return self._first + low + 1
        return None

    def _trim(self) -> None:
        """Forget what all have read but for some, and what there is no room for.

        What nobody has read yet stays: it is not read ahead without room.
        """
        slowest = min(self._places.values(), default=self._end)
        furthest = self._furthest if self._places else self._end
        while (self._held > KEPT_BYTES and self._first < slowest) or (
            not self._quota.has_room() and self._first < furthest
        ):
            self._drop_first()

    def _drop_first(self) -> None:
        record = self._records.popleft()
        self._start = Point(record.position, False)
        self._first += 1
        self._count(-_size(record))

    def _count(self, size: int) -> None:
        self._held += size
        self._quota.change(size)


def _size(record: Record) -> int:
    return 2 * (len(record.payload) + RECORD_OVERHEAD)
