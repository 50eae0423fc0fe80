"""The newest records of one channel, for all tasks that have come to the end of the log."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from cdc_actors.changes import Record
from cdc_actors.source.decode import decode
from cdc_actors.source.wal.buffer import RECORD_OVERHEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from cdc_actors.changes import Change, Position, Tick
    from cdc_actors.errors import CdcError
    from cdc_actors.memory_budget import Quota

KEPT_BYTES = 128 << 10
"""Bytes that are kept, though all have read them, for one who comes to the log's end."""

AHEAD_BYTES = 32 << 20
"""Bytes that are read ahead of the one who has come furthest, at most."""


class Point(NamedTuple):
    """Where reading goes on, as ``WalReader.subscribe`` takes it."""

    position: Position | None
    inclusive: bool


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


def shared(record: Record) -> SharedRecord:
    """Return a record as several tasks read it."""
    return SharedRecord(record.channel, record.payload, record, _Found())


class Tail:
    """Records of a channel without a gap, and how far each who reads here has come.

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

    @property
    def readers(self) -> Collection[object]:
        """Who reads here."""
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
        ahead = sum(map(_size, self._from(max(self._places.values(), default=0))))
        return not ahead or (self._quota.has_room() and ahead < AHEAD_BYTES)

    def append(self, records: Iterable[Record]) -> None:
        """Add what comes next."""
        for record in records:
            item = shared(record)
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

    def _from(self, number: int) -> Iterator[SharedRecord]:
        return islice(self._records, max(0, number - self._first), None)

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
        furthest = max(self._places.values(), default=self._end)
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
