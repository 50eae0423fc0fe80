"""Changes that are applied before the tick that covers them.

Messages of one channel stand out of order only where different proxies wrote them, or
concurrent requests of one proxy. An upsert writes two messages of one timestamp, the insert
first (2.3.5, 2.5). A tick T promises that no message up to T comes after it. So until then
an older message may still come, and its timestamp says where it belongs.

The rule keeps one thing true of every key, after each step: **the target has what comes of
everything that was applied before, and then of the early changes sorted by timestamp.** For
a change that comes late that takes one step:

- an insert is added, unless a newer delete of its key was applied: its row is gone already;
- a delete is applied, unless a newer one was, which removed as much. Rows of early inserts
  that are newer go with it, and are inserted again behind it.

Once a tick covers everything up to T, this is what applying all by timestamp gives at T,
with what is newer and early on top; an early change has nothing left to be done. What was
not applied early is added when its tick comes, by the same rule. Two inserts of a key
without a delete between them stay two: no step removes anything but by a delete of the log.

The checkpoint stays that of the ticks. After a kill everything behind it that may have been
sent is applied by key in the order of timestamps, which is right whatever the target has of
it; nothing is early until a tick has passed all that (``pipeline/early_rows.py``). There,
too, collections with operations under way wait for their ticks: rows of a partition that is
dropped would be taken for those of its successor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from cdc_actors.changes import Delete, Insert, Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cdc_actors.changes import Key, RowChange

KEY_BYTES = 256
"""Bytes that one remembered key takes."""


class EarlyChanges:
    """What of one shard was applied before its tick. Pure.

    Changes are told apart by identity: each is to be the same object at its arrival and at
    its tick.
    """

    def __init__(self, keys_of: Callable[[Insert], Sequence[Key]]) -> None:
        """``keys_of`` reads an insert's keys; not called before there are deletes."""
        self._keys_of = keys_of
        self._begin(())

    @property
    def keys(self) -> int:
        """How many keys are remembered, one of several changes so many times."""
        return self._keys

    @property
    def memory_cost(self) -> int:
        """How many bytes that takes, beside the changes themselves."""
        return KEY_BYTES * self._keys

    def has(self, change: Insert | Delete) -> bool:
        """Tell whether a change is applied."""
        return id(change) in self._applied

    def add(self, changes: Iterable[Insert | Delete]) -> tuple[RowChange, ...]:
        """Apply changes, in whichever order; return what is to be done, in order.

        Where nothing is early that is the changes by timestamp, deletes first where equal.
        """
        ordered = sorted(changes, key=_rank)
        inserts = [each for each in ordered if isinstance(each, Insert)]
        deletes = [each for each in ordered if isinstance(each, Delete)]
        effective = list(filter(None, map(self._effective_part, deletes)))
        for delete in deletes:
            self._remember(delete)
        again = self._rows_under(effective)
        for insert in inserts:
            self._remember(insert)
        rows = [left for each in inserts if (left := self._survivors(each))]
        done: list[RowChange] = [*effective, *rows, *again]
        return tuple(sorted(done, key=_rank))

    def cover(self, tick: int) -> None:
        """Forget what a tick covers, once all that it covers was added."""
        left = [c for c in self._applied.values() if c.timestamp > tick]
        if len(left) < len(self._applied):
            self._begin(left)

    def rows_beyond(self, partition: str, timestamp: int) -> tuple[RowChange, ...]:
        """Return the rows of a partition that are newer than a drop of its name.

        The partition that was dropped had none of them: they are to be written once more.
        """
        found = [
            each
            for each in self._applied.values()
            if isinstance(each, Insert)
            and each.partition == partition
            and each.timestamp > timestamp
        ]
        return tuple(filter(None, map(self._survivors, found)))

    def _begin(self, changes: Iterable[Insert | Delete]) -> None:
        self._keys = 0
        self._applied: dict[int, Insert | Delete] = {}
        self._unread: list[Insert] = []
        self._inserted: dict[Key, list[tuple[Insert, int]]] = {}
        self._deleted: dict[Key, dict[str, int]] = {}
        for change in changes:
            self._remember(change)

    def _remember(self, change: Insert | Delete) -> None:
        self._applied[id(change)] = change
        if isinstance(change, Insert):
            self._keys += change.rows
            self._unread.append(change)
            return
        self._keys += len(change.keys)
        for key in change.keys:
            times = self._deleted.setdefault(key, {})
            times[change.partition] = max(
                change.timestamp, times.get(change.partition, 0)
            )

    def _effective_part(self, delete: Delete) -> Delete | None:
        """Return a delete of the keys that no delete as new or newer was applied to."""
        if not self._deleted:
            return delete
        keys = tuple(
            key
            for key in delete.keys
            if self._deleted_at(key, delete.partition) < delete.timestamp
        )
        return structs.replace(delete, keys=keys) if keys else None

    def _survivors(self, insert: Insert) -> Rows | Insert | None:
        """Return the rows of an insert that no newer delete removes."""
        if not self._deleted:
            return insert
        keys = self._keys_of(insert)
        keep = tuple(i for i, key in enumerate(keys) if self._is_there(insert, key))
        if len(keep) == len(keys):
            return insert
        return Rows(insert, keep) if keep else None

    def _rows_under(self, deletes: Iterable[Delete]) -> list[Rows]:
        """Return the early rows that deletes remove, though they are newer."""
        found: dict[int, tuple[Insert, set[int]]] = {}
        for delete in deletes:
            for key in delete.keys:
                for insert, row in self._inserts_of(key):
                    is_hit = delete.partition in ("", insert.partition)
                    if is_hit and self._is_there(insert, key):
                        found.setdefault(id(insert), (insert, set()))[1].add(row)
        return [Rows(insert, tuple(sorted(rows))) for insert, rows in found.values()]

    def _inserts_of(self, key: Key) -> Sequence[tuple[Insert, int]]:
        for insert in self._unread:
            for row, each in enumerate(self._keys_of(insert)):
                self._inserted.setdefault(each, []).append((insert, row))
        self._unread.clear()
        return self._inserted.get(key, ())

    def _is_there(self, insert: Insert, key: Key) -> bool:
        return self._deleted_at(key, insert.partition) <= insert.timestamp

    def _deleted_at(self, key: Key, partition: str) -> int:
        """Return when a key was deleted last from a partition, 0 for never."""
        times = self._deleted.get(key)
        return max(times.get("", 0), times.get(partition, 0)) if times else 0


def _rank(change: RowChange) -> tuple[int, bool]:
    return change.timestamp, not isinstance(change, Delete)
