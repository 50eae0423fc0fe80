"""Applied early or not, a log ends as applying its changes by timestamp does."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from cdc_actors.changes import Delete, Insert, Position, Rows, Tick
from cdc_actors.replication.early import EarlyChanges
from cdc_actors.replication.fold import fold
from cdc_actors.replication.order import ChannelOrder
from cdc_actors.target.columns import primary_keys
from tests.support.changes import KEY_FIELD, At, delete, insert

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cdc_actors.changes import Checkpoint, RowChange
    from cdc_actors.replication.order import Window

CHANNEL = "dml_0"
END = 1000
KEYS = st.lists(st.integers(0, 3), min_size=1, max_size=3)
PARTITIONS = ("a", "b")

Change = Insert | Delete
Row = tuple[str, int, int]
"""Partition, key and timestamp: which row it is."""


def keys_of(change: Insert) -> list[int]:
    return list(primary_keys(change, KEY_FIELD))


def keys_of_each(changes: Sequence[Insert]) -> list[list[int]]:
    return list(map(keys_of, changes))


def rank(change: Change) -> tuple[int, bool]:
    return change.timestamp, not isinstance(change, Delete)


class Target:
    """Rows as a target has them; one of a key and time may be there twice."""

    def __init__(self) -> None:
        self.rows: Counter[Row] = Counter()

    def remove(self, partition: str, keys: Iterable[int]) -> None:
        """Delete keys."""
        gone = set(keys)
        for row in list(self.rows):
            if row[1] in gone and partition in ("", row[0]):
                del self.rows[row]

    def write(self, rows: Rows) -> None:
        """Insert rows."""
        insert = rows.insert
        keys = keys_of(insert)
        chosen = range(len(keys)) if rows.keep is None else rows.keep
        for i in chosen:
            self.rows[insert.partition, keys[i], insert.timestamp] += 1

    def apply(
        self, changes: Iterable[RowChange], *, may_exist: bool, upto: int = END
    ) -> None:
        """Do what changes come to, or only so many requests of it."""
        batch = fold(changes, keys_of_each, may_exist=may_exist)
        requests = [
            *(lambda p=p, k=k: self.remove(p, k) for p, k in batch.deletes.items()),
            *(lambda rows=rows: self.write(rows) for rows in batch.inserts),
        ]
        for request in requests[:upto]:
            request()


@dataclass
class Replica:
    """What the service does with one shard, in one thread, without a target's answers.

    ``checkpoint`` is where a kill at this moment goes on from, ``horizon`` up to when
    changes may have been sent.
    """

    log: list[Change | Tick]
    target: Target = field(default_factory=Target)
    checkpoint: Checkpoint | None = None
    horizon: int = 0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin at the checkpoint."""
        at = self.checkpoint
        self.order = ChannelOrder(at.tick if at else 0)
        first = int(at.position.text) + (not at.inclusive) if at else 0
        self.next = first
        self.early = EarlyChanges(keys_of)
        self.behind_until = self.horizon
        self.arrived: list[Change] = []

    def read(self) -> None:
        """Take one record; do what its window releases."""
        message = self.log[self.next]
        position = Position(CHANNEL, b"", str(self.next))
        self.next += 1
        window = self.order.add(At(position), message)
        if window is not None:
            self.release(window)
        else:
            self.arrived.append(message)

    def release(self, window: Window) -> None:
        """Apply what is not early of a window."""
        late = [each for each in window.changes if not self.early.has(each)]
        if late:
            may_exist = late[0].timestamp <= self.behind_until
            self.horizon = max(self.horizon, late[-1].timestamp)
            self.send(self.early.add(late), may_exist=may_exist)
        self.early.cover(window.checkpoint.tick)
        self.checkpoint = window.checkpoint

    def look(self, chosen: Iterable[Change]) -> None:
        """Apply what of the chosen has come since the last time, and may be early."""
        wanted, self.arrived = {id(each) for each in chosen}, []
        if self.order.tick > self.behind_until:
            new = [
                each
                for each in self.log[: self.next]
                if id(each) in wanted and each.timestamp > self.order.tick
            ]
            self.horizon = max([self.horizon, *map(attrgetter("timestamp"), new)])
            self.send(self.early.add(new), may_exist=False)

    def send(self, changes: Iterable[RowChange], *, may_exist: bool) -> None:
        """Have the target do it."""
        self.target.apply(changes, may_exist=may_exist)


def by_timestamp(changes: Iterable[Change]) -> Counter[Row]:
    """Return what applying changes one by one by their timestamps gives."""
    target = Target()
    for change in sorted(changes, key=rank):
        target.apply([change], may_exist=False)
    return target.rows


@st.composite
def logs(draw: st.DrawFn, *, unique: bool) -> list[Change | Tick]:
    """A shard's log: messages in any order, each behind every tick below it.

    Keys are ``unique`` if no insert finds an older row of its key.
    """
    messages: list[Change] = []
    for stamp in draw(st.lists(st.integers(1, 20), max_size=14)):
        kind = draw(st.sampled_from(["insert", "delete", "upsert"]))
        keys = draw(KEYS)
        partition = draw(st.sampled_from(PARTITIONS))
        where = draw(st.sampled_from(["", *PARTITIONS]))
        if kind != "delete":
            messages.append(insert(stamp, keys, partition=partition))
        if kind != "insert":
            messages.append(delete(stamp, sorted(set(keys)), partition=where))
    if unique:
        messages = made_unique(messages)
    log: list[Change | Tick] = draw(st.permutations(messages))
    for tick in sorted(draw(st.lists(st.integers(1, 21), max_size=6))):
        # A tick stands behind everything that it covers.
        covered = [
            i for i, m in enumerate(log) if isinstance(m, Tick) or m.timestamp <= tick
        ]
        first = max(covered, default=-1) + 1
        log.insert(draw(st.integers(first, len(log))), Tick(tick))
    return [*log, Tick(END)]


def made_unique(messages: list[Change]) -> list[Change]:
    """Give each insert a time and keys of its own, and a delete of them before it."""
    made: list[Change] = []
    for stamp, message in enumerate(sorted(messages, key=rank), 1):
        if isinstance(message, Insert):
            keys = sorted(set(keys_of(message)))
            into = message.partition
            made += [delete(stamp, keys), insert(stamp, keys, partition=into)]
        else:
            made.append(delete(stamp, message.keys))
    return made


def choose(data: st.DataObject, changes: list[Change]) -> list[Change]:
    """Choose which changes may be early now: often all."""
    if not changes or data.draw(st.booleans()):
        return changes
    return data.draw(st.lists(st.sampled_from(changes), unique_by=id))


@given(logs(unique=False), st.data())
def test_early_changes_are_in_the_order_of_timestamps_at_every_moment(
    log: list, data: st.DataObject
) -> None:
    """After each step the target has what has been applied, sorted by timestamp.

    That holds whatever is applied early, and when; keys may be inserted twice.
    """
    replica = Replica([Tick(0), *log])
    applied: dict[int, Change] = {}
    while replica.next < len(replica.log):
        replica.read()
        if data.draw(st.booleans()):
            replica.look(choose(data, replica.arrived))
        for change in replica.log[: replica.next]:
            is_covered = change.timestamp <= replica.order.tick
            is_tick = isinstance(change, Tick)
            if not is_tick and (is_covered or replica.early.has(change)):
                applied[id(change)] = change
        assert replica.target.rows == by_timestamp(applied.values())
    assert replica.early.keys == 0
    assert replica.target.rows == by_timestamp(
        m for m in log if not isinstance(m, Tick)
    )


@given(logs(unique=True), st.data())
def test_kills_neither_lose_nor_double_rows_that_were_early(
    log: list, data: st.DataObject
) -> None:
    """Killed at any request, and gone on from the checkpoint by key, it ends equal."""
    replica = Replica([Tick(0), *log])
    saved = replica.checkpoint
    kills = data.draw(st.integers(0, 3))
    while replica.next < len(replica.log):
        replica.read()
        if data.draw(st.booleans()):
            replica.look(choose(data, replica.arrived))
        if data.draw(st.booleans()):
            saved = replica.checkpoint
        if kills and data.draw(st.booleans()):
            kills -= 1
            undone = data.draw(st.integers(0, 3))
            kill_in_the_middle(replica, undone)
            replica.checkpoint = saved
            replica.start()
    assert replica.target.rows == by_timestamp(
        m for m in log if not isinstance(m, Tick)
    )


def kill_in_the_middle(replica: Replica, requests: int) -> None:
    """Have only some requests done of what comes next."""
    apply = replica.target.apply
    replica.send = lambda changes, *, may_exist: apply(
        changes, may_exist=may_exist, upto=requests
    )
    if replica.next < len(replica.log):
        replica.read()
        replica.look(replica.arrived)
    del replica.send


def test_an_upsert_in_two_halves_is_put_right_at_once() -> None:
    """Its delete removes the row that was inserted early, which is inserted again."""
    early = EarlyChanges(keys_of)
    row, old = insert(5, [1, 2]), delete(5, [1, 2])
    assert early.add([row]) == (row,)
    assert early.add([old]) == (old, Rows(row, (0, 1)))


def test_an_upsert_that_comes_whole_is_done_once() -> None:
    """Both halves together are a delete and an insert."""
    row, old = insert(5, [1, 2]), delete(5, [1, 2])
    assert EarlyChanges(keys_of).add([row, old]) == (old, row)


def test_what_a_newer_delete_removes_is_not_written() -> None:
    """A row that comes behind a newer delete of its key is gone; the others are not."""
    early = EarlyChanges(keys_of)
    early.add([delete(7, [1])])
    late = insert(5, [1, 2])
    assert early.add([late]) == (Rows(late, (1,)),)
    assert early.add([delete(6, [1])]) == ()


def test_without_deletes_no_key_is_read() -> None:
    """Nothing but the inserts themselves is done, early or at their tick."""

    def unread(_: Insert) -> list[int]:
        raise AssertionError("keys were read for nothing")

    early = EarlyChanges(unread)
    first, second = insert(5), insert(4)
    assert early.add([first]) == (first,)
    assert early.add([second]) == (second,)
    early.cover(4)
    assert [early.has(first), early.has(second)] == [True, False]
    assert early.memory_cost > 0
    early.cover(5)
    assert early.memory_cost == 0
