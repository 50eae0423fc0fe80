"""How far one channel of RocksMQ has been read."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from cdc_actors.errors import PositionLostError
from cdc_actors.source.wal.buffer import RECORD_OVERHEAD
from cdc_actors.source.wal.rocksmq.positions import KeyedRecord, Keys, age

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.changes import Record
    from cdc_actors.source.wal.rocksmq.database import RocksView


# Milvus's shortest time of retention; a limit of size removes sooner what is beyond it.
_KEPT = 60.0


class RocksCursor:
    """Reads on from a record of ``channel``, or from the oldest one if ``number`` is 0.

    Ids have gaps, and Milvus deletes from the oldest record on. So nothing behind a
    record is missing as long as the record itself is there. ``at_end`` says that there
    was nothing behind it a moment ago: then it may go, and what comes next is new. It may
    not while it is young: what removes a young record may have removed younger ones, too.
    """

    def __init__(self, channel: str, number: int, *, inclusive: bool) -> None:
        self.at_end = False
        self._channel = channel
        self._keys = Keys(channel)
        self._number = max(0, number)
        self._inclusive = inclusive
        self._items: Iterator[tuple[bytes, bytes]] | None = None
        self._length = 0

    def read(self, view: RocksView, room: int, records: list[Record]) -> int:
        """Append what follows, up to ``room`` bytes and one record; return the bytes.

        Raises:
            PositionLostError: What follows has been deleted, in part at least.
        """
        if not self._number and not self._begin(view):
            return 0
        if self._items is None:
            self._items = self._resume(view)
        return room - self._take(self._items, room, records)

    def renew(self) -> None:
        """Read on in what RocksDB holds now, not in what it held when reading began."""
        self._items = None

    def skip_to_longer(self, view: RocksView) -> bool:
        """Go to the first id of more digits, of which there are some when True."""
        if not self._number:
            return False
        longer = self._keys.longer(view.entries(), self._number)
        if longer is None:
            return False
        self._number, self._inclusive, self.at_end = longer, True, False
        self.renew()
        return True

    def _begin(self, view: RocksView) -> bool:
        self._number = self._keys.first(view.entries()) or 0
        self._inclusive = True
        return bool(self._number)

    def _resume(self, view: RocksView) -> Iterator[tuple[bytes, bytes]]:
        here = self._keys.key(self._number)
        self._length = len(here)
        items = view.items(here)
        first = next(items, None)
        gone = first is None or first[0] != here
        if gone and not (self.at_end and age(self._number) >= _KEPT):
            raise record_gone(self._channel, self._number)
        if first is not None and (gone or self._inclusive):
            return chain((first,), items)
        return items

    def _take(
        self,
        items: Iterator[tuple[bytes, bytes]],
        room: int,
        records: list[Record],
    ) -> int:
        channel, length = self._channel, self._length
        highest, newest = self._keys.highest(length), b""
        self.at_end = False
        for key, payload in items:
            if len(key) != length or key > highest:
                self._finish()
                break
            newest = key
            records.append(KeyedRecord(channel, payload, key))
            room -= len(payload) + RECORD_OVERHEAD
            if room <= 0:
                break
        else:
            self._finish()
        if newest:
            self._number, self._inclusive = self._keys.number(newest), False
        return room

    def _finish(self) -> None:
        self.at_end = True
        self._items = None


def record_gone(channel: str, number: int) -> PositionLostError:
    """Return the error for a record that is not there (any more)."""
    return PositionLostError(
        f"{channel}: RocksMQ no longer holds record {number}, so that it is unknown "
        "whether later ones are missing too"
    )
