"""The keys under which RocksMQ keeps its records, and their order.

A record's key is ``<channel>/<id>``, the id in decimal without leading zeros, its value
the payload (Milvus 2.3.5: ``internal/mq/mqimpl/rocksmq/server/rocksmq_impl.go``). Ids
come from the clock (milliseconds, then 18 bits), one allocator for all channels: they
grow, with gaps. RocksDB orders keys as text, so that ids of another number of digits
stand before or behind all others instead of among them: the clock passed a power of ten,
or was set. At most two numbers of digits are kept at a time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cdc_actors.changes import Position, Record, physical_seconds
from cdc_actors.source.wal.positions import decode, encode

if TYPE_CHECKING:
    from rocksdict import RdictIter


def position_of(channel: str, number: int) -> Position:
    """Return the position of the record with an id."""
    return Position(channel, encode(number), str(number))


def number_of(position: Position) -> int:
    """Return the id of the record at ``position``; below 1 it is the beginning.

    No record has such an id, nor will: ids come from the clock, of which 0 is 1970. Of a
    channel without a record Milvus says -1 (2.3.5: ``DefaultMessageID``).

    Raises:
        OperatorError: The position comes from another kind of message queue.
    """
    return decode(position, "RocksMQ")


def age(number: int) -> float:
    """Return how many seconds ago the id was given, by the clock that gave it."""
    return abs(time.time() - physical_seconds(number))


class KeyedRecord(Record, frozen=True, gc=False):
    """A record and its key."""

    key: bytes

    @property
    def position(self) -> Position:
        """Where it stands."""
        return position_of(self.channel, Keys(self.channel).number(self.key))


class Keys:
    """The keys of one channel."""

    def __init__(self, channel: str) -> None:
        self.prefix = f"{channel}/".encode()
        # ``0`` follows ``/``.
        self._end = f"{channel}0".encode()

    def key(self, number: int) -> bytes:
        """Return the key of the record with an id."""
        return b"%b%d" % (self.prefix, number)

    def highest(self, length: int) -> bytes:
        """Return the highest key of so many bytes that a record may have."""
        return self.prefix.ljust(length, b"9")

    def number(self, key: bytes) -> int:
        """Return the id of the record with a key."""
        return int(key[len(self.prefix) :])

    def first(self, entries: RdictIter) -> int | None:
        """Return the lowest id there is."""
        front, back = self._outermost(entries)
        if front is None or back is None:
            return None
        if _digits(front) <= _digits(back):
            return front
        return self._first_with_digits(entries, _digits(back))

    def last(self, entries: RdictIter) -> int | None:
        """Return the highest id there is."""
        front, back = self._outermost(entries)
        if front is None or back is None or _digits(front) <= _digits(back):
            return back
        self._first_with_digits(entries, _digits(back))
        entries.prev()
        return self._at(entries)

    def since(self, entries: RdictIter, number: int) -> int | None:
        """Return the lowest id from ``number`` on.

        Of another number of digits, which ids get once in centuries, it is the first.
        """
        first = self.first(entries)
        if first is None or _digits(first) != _digits(number):
            return first
        return self._from(entries, number)

    def longer(self, entries: RdictIter, number: int) -> int | None:
        """Return the lowest id with more digits than ``number``, the last of its own."""
        found = [self._behind(entries, number), self._from(entries, _power(number))]
        return min(
            (each for each in found if each and _digits(each) > _digits(number)),
            default=None,
        )

    def _outermost(self, entries: RdictIter) -> tuple[int | None, int | None]:
        front = self._from(entries, 0)
        entries.seek_for_prev(self._end)
        return front, self._at(entries)

    def _first_with_digits(self, entries: RdictIter, digits: int) -> int | None:
        """Go to the first of the shorter ids, which stand behind the longer."""
        low, high = 10 ** (digits - 1), 10**digits
        while low < high:
            middle = (low + high) // 2
            found = self._from(entries, middle)
            if found is None or _digits(found) == digits:
                high = middle
            else:
                low = middle + 1
        return self._from(entries, low)

    def _behind(self, entries: RdictIter, number: int) -> int | None:
        entries.seek(self.key(number) + b"\x00")
        return self._at(entries)

    def _from(self, entries: RdictIter, number: int) -> int | None:
        entries.seek(self.key(number))
        return self._at(entries)

    def _at(self, entries: RdictIter) -> int | None:
        if not entries.valid():
            entries.status()
            return None
        key = entries.key()
        return self.number(key) if key.startswith(self.prefix) else None


def _digits(number: int) -> int:
    return len(str(number))


def _power(number: int) -> int:
    return int(10 ** _digits(number))
