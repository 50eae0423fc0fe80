"""The contract of the readers of the write-ahead log, on each queue and its double."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from cdc_actors.changes import Position
from cdc_actors.errors import OperatorError, PositionLostError, TransientError
from cdc_actors.source.wal.natsmq.puller import PREFETCH_BYTES
from tests.support.wal import (
    DEADLINE,
    apart,
    gapless,
    numbered,
    payloads,
    read,
    read_patiently,
    read_to_the_end,
)

if TYPE_CHECKING:
    from cdc_actors.changes import Record
    from tests.support.wal import Wal

MB = 1_000_000


def clock_apart() -> float:
    """Return a time that no record has: the clocks of some queues count milliseconds."""
    time.sleep(0.01)
    now = time.time()
    time.sleep(0.01)
    return now


def test_an_empty_channel_gives_nothing(wal: Wal, channel: str) -> None:
    """A channel whose records are all gone has no oldest, no newest, and polls empty."""
    (position,) = wal.append(channel, [b"gone"])
    wal.truncate(channel, None)
    with wal.reader() as reader:
        reader.subscribe(channel, None)
        assert reader.poll(0) == []
        assert reader.oldest(channel) is None
        assert reader.newest(channel) is None
        assert reader.holds(position, inclusive=False) == gapless(wal)
        wal.append(channel, [b"new"])
        assert payloads(read(reader, 1), channel) == [b"new"]


def test_a_channel_that_does_not_exist_has_no_positions(wal: Wal, channel: str) -> None:
    """Asking about an unknown channel is no error, and does not make it."""
    with wal.reader() as reader:
        assert reader.oldest(channel) is None
        assert reader.newest(channel) is None
        assert not reader.holds(wal.position(channel, 1))
    assert channel not in wal.channels()


def test_one_message_arrives_as_it_was_written(wal: Wal, channel: str) -> None:
    """Payload, channel and position of a record are those it was written with."""
    (position,) = wal.append(channel, [b"\x00payload\xff"])
    with wal.reader() as reader:
        reader.subscribe(channel, None)
        (record,) = read(reader, 1)
        assert reader.position(channel, position.id).id == position.id
    assert record.payload == b"\x00payload\xff"
    assert record.position == position


def test_many_messages_keep_their_order_in_each_channel(wal: Wal, channel: str) -> None:
    """Every record of every channel comes once, in the order of its channel."""
    channels = [f"{channel}-{number}" for number in range(4)]
    for each in channels:
        wal.append(each, numbered(1500))
    with wal.reader() as reader:
        for each in channels:
            reader.subscribe(each, None)
        records = read(reader, 4 * 1500)
    for each in channels:
        assert payloads(records, each) == numbered(1500)


@pytest.mark.parametrize("index", [0, 4, 9], ids=["first", "middle", "last"])
@pytest.mark.parametrize("inclusive", [True, False])
def test_reading_resumes_at_a_position(
    wal: Wal, channel: str, index: int, *, inclusive: bool
) -> None:
    """Inclusive begins with the record at the position, exclusive with the next one."""
    positions = wal.append(channel, numbered(10))
    with wal.reader() as reader:
        assert reader.holds(positions[index], inclusive=inclusive)
        reader.subscribe(channel, positions[index], inclusive=inclusive)
        wal.append(channel, numbered(1, first=11))
        expected = numbered(11)[index + (not inclusive) :]
        assert payloads(read(reader, len(expected)), channel) == expected


def test_a_position_of_zero_is_the_beginning(wal: Wal, channel: str) -> None:
    """The position that Milvus notes for a channel still empty loses nothing."""
    wal.append(channel, numbered(3))
    zero = wal.beginning(channel)
    with wal.reader() as reader:
        reader.subscribe(channel, zero, inclusive=True)
        assert payloads(read(reader, 3), channel) == numbered(3)


def test_oldest_and_newest_are_what_the_log_keeps(wal: Wal, channel: str) -> None:
    """Oldest moves with retention, newest with writing."""
    positions = apart(wal, channel, numbered(10))
    with wal.reader() as reader:
        assert reader.oldest(channel) == positions[0]
        assert reader.newest(channel) == positions[9]
        wal.truncate(channel, positions[4])
        assert reader.oldest(channel) == positions[4]
        (newest,) = wal.append(channel, [b"11"])
        assert reader.newest(channel) == newest


def test_the_first_record_since_a_time_is_found(wal: Wal, channel: str) -> None:
    """A time leads to the first record written from then on, if there is one."""
    first, *_ = wal.append(channel, numbered(3))
    with wal.reader() as reader:
        assert reader.written_since(channel, time.time() - 3600) == first
        between = clock_apart()
        (second,) = wal.append(channel, [b"second"])
        assert reader.written_since(channel, between) == second
        assert reader.written_since(channel, clock_apart()) is None
        assert reader.written_since("no-such-channel", between) is None


def test_positions_of_a_channel_can_be_compared(wal: Wal, channel: str) -> None:
    """A position has reached itself and all before it, and none after it."""
    first, second = wal.append(channel, numbered(2))
    with wal.reader() as reader:
        assert reader.reached(second, first)
        assert reader.reached(first, first)
        assert not reader.reached(first, second)


def test_a_message_wakes_a_waiting_poll(wal: Wal, channel: str) -> None:
    """A poll that waits returns when a record comes, long before its time is over."""
    wal.append(channel, [b"old"])
    with wal.reader() as reader, ThreadPoolExecutor(1) as pool:
        reader.subscribe(channel, None)
        read(reader, 1)
        waiting = pool.submit(reader.poll, 10 * DEADLINE)
        wal.append(channel, [b"new"])
        (record,) = waiting.result(DEADLINE)
        assert record.payload == b"new"


def test_a_channel_that_appears_later_is_read_from_its_first_record(
    wal: Wal, channel: str
) -> None:
    """A channel can be subscribed to before it exists, and waiting does not make it."""
    with wal.reader() as reader:
        reader.subscribe(channel, None)
        assert reader.poll(0.1) == []
        assert channel not in wal.channels()
        wal.append(channel, numbered(3))
        assert payloads(read(reader, 3), channel) == numbered(3)


def test_a_channel_is_subscribed_to_once(wal: Wal, channel: str) -> None:
    """A second subscription is a mistake of the caller and says so."""
    with wal.reader() as reader:
        reader.subscribe(channel, None)
        with pytest.raises(ValueError, match=channel):
            reader.subscribe(channel, None)


def test_the_queue_restarts(wal: Wal, channel: str) -> None:
    """Readers fail while the queue is away, and a new one resumes without loss."""
    wal.append(channel, numbered(5))
    with wal.reader() as reader:
        reader.subscribe(channel, None)
        before = read(reader, 5)
        wal.stop()
        try:
            with pytest.raises(TransientError):
                reader.poll(DEADLINE)
            with pytest.raises(TransientError):
                reader.newest(channel)
            with pytest.raises(TransientError):
                wal.reader()
        finally:
            wal.start()
    wal.append(channel, numbered(5, first=6))
    after = read_patiently(wal, before[-1].position, 5)
    assert payloads(before + after, channel) == numbered(10)


@pytest.mark.parametrize("inclusive", [True, False])
def test_an_expired_position_is_lost(
    wal: Wal, channel: str, *, inclusive: bool
) -> None:
    """Where the next record is gone, subscribing says so instead of skipping it."""
    positions = apart(wal, channel, numbered(10))
    wal.truncate(channel, positions[5])
    first = 5 if inclusive or not gapless(wal) else 4
    kept, gone = positions[first], positions[first - 1]
    with wal.reader() as reader:
        assert reader.holds(kept, inclusive=inclusive)
        assert not reader.holds(gone, inclusive=inclusive)
        with pytest.raises(PositionLostError, match=channel):
            reader.subscribe(channel, gone, inclusive=inclusive)
        reader.subscribe(channel, kept, inclusive=inclusive)
        expected = numbered(10)[first + (not inclusive) :]
        assert payloads(read(reader, len(expected)), channel) == expected


def test_a_position_beyond_the_end_is_lost(wal: Wal, channel: str) -> None:
    """A log that ends before the position is another log than the one read from."""
    positions = wal.append(channel, numbered(3))
    beyond = wal.position(channel, 9)
    with wal.reader() as reader:
        assert reader.holds(positions[-1], inclusive=False)
        assert not reader.holds(beyond)
        with pytest.raises(PositionLostError, match=channel):
            reader.subscribe(channel, beyond)


def test_a_position_of_a_channel_that_is_gone_is_lost(wal: Wal, channel: str) -> None:
    """A position in a channel that does not exist is not waited for."""
    with wal.reader() as reader, pytest.raises(PositionLostError, match=channel):
        reader.subscribe(channel, wal.position(channel, 3))


def test_a_position_of_another_queue_is_refused(wal: Wal, channel: str) -> None:
    """A position that cannot be one of this queue asks for the operator."""
    foreign = Position(channel, b"another:1:2", "1:2")
    with wal.reader() as reader, pytest.raises(OperatorError, match="1:2"):
        reader.subscribe(channel, foreign)


def test_truncation_while_reading_is_noticed(wal: Wal, channel: str) -> None:
    """Records removed before they were read end the reading, after what was read.

    However fast that is: another channel shows that the reader has looked since then.
    """
    positions = wal.append(channel, [bytes(2 * MB)] * 39)
    positions += wal.append(channel, [bytes(2 * MB)])
    later = f"{channel}-later"
    with wal.reader() as reader:
        for each in (channel, later):
            reader.subscribe(each, None)
        records = reader.poll(DEADLINE)
        wal.truncate(channel, positions[-1])
        wal.append(channel, [b"after"])
        wal.append(later, [b"later"])
        with pytest.raises(PositionLostError, match=channel):
            read_to_the_end(reader, records, later)
    assert [each.position for each in records] == positions[: len(records)]
    assert len(records) < len(positions)


def test_nothing_is_skipped_at_the_end(wal: Wal, channel: str) -> None:
    """A reader that has read all tells what was removed unseen, if it was unseen."""
    wal.append(channel, numbered(3))
    with wal.reader() as reader:
        reader.subscribe(channel, None)
        read(reader, 3)
        assert reader.poll(0) == []
        _, last = apart(wal, channel, numbered(2, first=4))
        wal.truncate(channel, last)
        records: list[Record] = []
        with suppress(PositionLostError):
            while not records or records[-1].position != last:
                records += reader.poll(DEADLINE)
    assert payloads(records, channel) == numbered(len(records), first=4)


def test_closing_ends_a_poll(wal: Wal, channel: str) -> None:
    """Close ends a poll in another thread, may be repeated, and ends every method."""
    reader = wal.reader()
    reader.subscribe(channel, None)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(reader.poll, 10 * DEADLINE)
        reader.close()
        reader.close()
        assert isinstance(waiting.exception(DEADLINE), TransientError)
    with pytest.raises(TransientError, match="closed"):
        reader.poll(0)
    with pytest.raises(TransientError, match="closed"):
        reader.newest(channel)


def test_large_messages_arrive_whole(wal: Wal, channel: str) -> None:
    """Records of 2 MB and of almost the 8 MiB that Milvus allows come to the bit."""
    large = [os.urandom(2 * MB) for _ in range(20)] + [os.urandom((8 << 20) - 100)]
    wal.append(channel, large)
    with wal.reader() as reader:
        reader.subscribe(channel, None)
        assert payloads(read(reader, len(large)), channel) == large


def test_one_poll_is_bounded_in_bytes(wal: Wal, channel: str) -> None:
    """However much waits, one poll of a channel returns at most the prefetch bound."""
    wal.append(channel, [bytes(2 * MB)] * 30)
    with wal.reader() as reader:
        reader.subscribe(channel, None)
        count = 0
        while count < 30:
            records = reader.poll(DEADLINE)
            assert sum(len(each.payload) for each in records) <= PREFETCH_BYTES
            count += len(records)


def test_channels_that_are_not_asked_for_stay(wal: Wal, channel: str) -> None:
    """A poll of some channels leaves the others' records, which come later, in order."""
    ahead, behind = f"{channel}-ahead", f"{channel}-behind"
    for each in (ahead, behind):
        wal.append(each, numbered(50))
    with wal.reader() as reader:
        for each in (ahead, behind):
            reader.subscribe(each, None)
        first: list[Record] = []
        while len(first) < 50:
            first += reader.poll(DEADLINE, {behind})
        assert reader.poll(0.2, {behind}) == []
        assert payloads(first, behind) == numbered(50)
        assert payloads(read(reader, 50), ahead) == numbered(50)
