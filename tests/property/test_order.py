"""Any interleaving of messages and ticks gives what applying by timestamp gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cdc_actors.changes import Delete, DropCollection, Insert, Position, Tick
from cdc_actors.replication.memory_cost import total_cost
from cdc_actors.replication.order import ChannelOrder
from tests.support.changes import At, delete, insert

CHANNEL = "dml_0"


def position(number: int) -> Position:
    return Position(CHANNEL, number.to_bytes(8, "little"), str(number))


def at(number: int) -> At:
    return At(position(number))


@st.composite
def logs(draw: st.DrawFn) -> list[Insert | Delete | Tick]:
    """A channel's log: messages in any order, each behind every tick below it."""
    stamps = draw(st.lists(st.integers(1, 30), max_size=25))
    ticks = sorted(draw(st.lists(st.integers(1, 31), max_size=8)))
    log: list[Insert | Delete | Tick] = [
        draw(st.sampled_from([insert, delete]))(stamp, keys=[draw(st.integers(0, 5))])
        for stamp in stamps
    ]
    for tick in ticks:
        # A tick stands behind everything that it covers.
        covered = [
            i for i, m in enumerate(log) if isinstance(m, Tick) or m.timestamp <= tick
        ]
        first = max(covered, default=-1) + 1
        log.insert(draw(st.integers(first, len(log))), Tick(tick))
    return [*log, Tick(1000)]


@given(logs())
def test_everything_comes_out_once_by_timestamp_deletes_first(log: list) -> None:
    """Released windows, one after another, are the messages sorted by timestamp."""
    order = ChannelOrder(0)
    windows = [order.add(at(i), message) for i, message in enumerate(log)]
    released = [change for window in windows if window for change in window.changes]
    messages = [message for message in log if not isinstance(message, Tick)]
    expected = sorted(messages, key=lambda m: (m.timestamp, not isinstance(m, Delete)))
    assert [id(change) for change in released] == [id(change) for change in expected]


@given(logs(), st.data())
def test_a_restart_at_any_checkpoint_neither_loses_nor_repeats(
    log: list, data: st.DataObject
) -> None:
    """Reading again from a window's checkpoint releases exactly what came after it."""
    order = ChannelOrder(0)
    windows = [
        (i, window)
        for i, message in enumerate(log)
        if (window := order.add(at(i), message))
    ]
    chosen = data.draw(st.integers(0, len(windows) - 1))
    checkpoint = windows[chosen][1].checkpoint
    start = int(checkpoint.position.text) + (0 if checkpoint.inclusive else 1)
    again = ChannelOrder(checkpoint.tick)
    released = [
        id(change)
        for i, message in enumerate(log[start:], start)
        if (window := again.add(at(i), message))
        for change in window.changes
    ]
    after = [id(c) for _, window in windows[chosen + 1 :] for c in window.changes]
    assert released == after


@given(logs())
def test_the_weight_is_that_of_what_is_held(log: list) -> None:
    """Every change counts from its arrival to its release."""
    order = ChannelOrder(0)
    held: list = []
    for i, message in enumerate(log):
        window = order.add(at(i), message)
        held += [] if isinstance(message, Tick) else [message]
        gone = {id(change) for change in (window.changes if window else ())}
        held = [change for change in held if id(change) not in gone]
        assert order.memory_cost == total_cost(held)
    assert order.memory_cost == 0


def test_a_drop_releases_its_collection_without_a_tick() -> None:
    """What a dropped collection holds comes out at once; another's waits on."""
    order = ChannelOrder(0)
    other = insert(3, collection=2)
    order.add(at(0), insert(5, collection=1))
    order.add(at(1), other)
    window = order.add(at(2), DropCollection(1, 7, "gone"))
    assert window is not None
    assert [change.timestamp for change in window.changes] == [5, 7]
    # Small changes share the position of the first of them.
    assert window.checkpoint.position == position(0)
    assert window.checkpoint.inclusive
    covered = order.add(at(3), Tick(9))
    assert covered is not None
    assert covered.changes == (other,)
