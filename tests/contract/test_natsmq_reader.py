"""The reader of natsmq: what the contract of all readers does not say."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from datetime import datetime

import pytest

from cdc_actors.changes import Position
from cdc_actors.errors import OperatorError, PositionLostError, TransientError
from cdc_actors.source.wal.natsmq.connection import JetStream
from cdc_actors.source.wal.natsmq.puller import (
    FRAME_BYTES,
    PREFETCH_BYTES,
    StreamPuller,
)
from cdc_actors.source.wal.natsmq.reader import NatsReader
from tests.support.wal import (
    DEADLINE,
    NatsWal,
    eventually,
    numbered,
    numbers,
    payloads,
    read,
    read_to_the_end,
)

MB = 1_000_000
ENDS = ("first", "last")


def buffered(reader: NatsReader, channel: str) -> int:
    """Return the bytes fetched for a channel and not yet polled."""
    return reader._buffer.size(channel)


def fill_the_buffer(
    reader: NatsReader, natsmq: NatsWal, channel: str, records: int = 40
) -> None:
    """Write records of 2 MB and read ahead until no further pull is allowed."""
    natsmq.append(channel, [bytes(2 * MB)] * records)
    reader.subscribe(channel, None)
    least = PREFETCH_BYTES - 2 * MB
    eventually(lambda: buffered(reader, channel) > least, "the buffer fills up")
    eventually(lambda: not natsmq.pulls(channel), "the last pull has ended")


def test_prefetch_is_bounded_in_bytes(natsmq: NatsWal, channel: str) -> None:
    """200 MB that nobody polls fill the buffer to its bound and no further."""
    natsmq.append(channel, [bytes(2 * MB)] * 100)
    with NatsReader(natsmq.milvus.nats_address) as reader:
        reader.subscribe(channel, None)
        least = PREFETCH_BYTES - 10 * MB
        eventually(lambda: buffered(reader, channel) > least, "the buffer fills up")
        reader.subscribe(f"{channel}-other", None)
        natsmq.append(f"{channel}-other", [b"passes"])
        eventually(
            lambda: buffered(reader, f"{channel}-other") > 0, "the other is read"
        )
        assert least < buffered(reader, channel) <= PREFETCH_BYTES
        assert len(payloads(read(reader, 101), channel)) == 100


def test_many_full_channels_do_not_make_the_server_cut_us_off(
    natsmq: NatsWal, channel: str
) -> None:
    """More than NATS lets wait for one client can be read from many channels at once."""
    channels = [f"{channel}-{number}" for number in range(16)]
    for each in channels:
        natsmq.append(each, [bytes(8 * MB)])
    with natsmq.reader() as reader:
        for each in channels:
            reader.subscribe(each, None)
        assert {each.position.channel for each in read(reader, 16)} == set(channels)


def test_retention_while_reading_is_noticed(natsmq: NatsWal, channel: str) -> None:
    """The server's own retention is noticed like a purge, by the gap it leaves."""
    natsmq.limit(channel, messages=20)
    natsmq.append(channel, [bytes(2 * MB)] * 20)
    with natsmq.reader() as reader:
        reader.subscribe(channel, None)
        records = reader.poll(DEADLINE)
        natsmq.append(channel, numbered(20))
        with pytest.raises(PositionLostError, match="was removed before it was read"):
            read_to_the_end(reader, records)
    assert numbers(records) == list(range(1, len(records) + 1))


def test_a_gap_is_noticed_though_no_record_follows(
    natsmq: NatsWal, channel: str
) -> None:
    """Records removed up to the end of the log are missed without a later one."""
    positions = natsmq.append(channel, [bytes(2 * MB)] * 40)
    with natsmq.reader() as reader:
        reader.subscribe(channel, None)
        reader.poll(DEADLINE)
        beyond = Position(channel, (41).to_bytes(8, "little"), "41")
        natsmq.truncate(channel, beyond)
        assert reader.newest(channel) is None
        with pytest.raises(PositionLostError, match=f"goes on at {len(positions) + 1}"):
            read_to_the_end(reader, [])


def test_a_stream_that_is_deleted_is_lost(natsmq: NatsWal, channel: str) -> None:
    """A stream that goes away under the reader is not waited for."""
    natsmq.append(channel, numbered(3))
    with natsmq.reader() as reader:
        reader.subscribe(channel, None)
        read(reader, 3)
        natsmq.remove(channel)
        with pytest.raises(PositionLostError, match=channel):
            reader.poll(DEADLINE)


def test_a_stream_made_anew_is_lost(natsmq: NatsWal, channel: str) -> None:
    """A stream of the same name and length is not taken for the one that was read."""
    with NatsReader(natsmq.milvus.nats_address) as reader:
        fill_the_buffer(reader, natsmq, channel)
        natsmq.remove(channel)
        natsmq.append(channel, numbered(50))
        with pytest.raises(PositionLostError, match="recreated"):
            read_to_the_end(reader, [])


def test_a_position_of_another_stream_is_lost(natsmq: NatsWal, channel: str) -> None:
    """However long the present one has grown; only Milvus's own positions name none."""
    *_, last = natsmq.append(channel, numbered(3))
    natsmq.remove(channel)
    natsmq.append(channel, numbered(5))
    with natsmq.reader() as reader:
        assert not reader.holds(last)
        with pytest.raises(
            PositionLostError, match="recreated, or is another Milvus's"
        ):
            reader.subscribe(channel, last, inclusive=False)
        assert reader.holds(reader.position(channel, last.id))


def test_a_deleted_consumer_is_made_again(natsmq: NatsWal, channel: str) -> None:
    """Reading goes on at the next record when somebody deletes the consumer."""
    natsmq.append(channel, numbered(3))
    with natsmq.reader() as reader:
        reader.subscribe(channel, None)
        before = read(reader, 3)
        natsmq.delete_consumers(channel)
        natsmq.append(channel, numbered(3, first=4))
        assert payloads(before + read(reader, 3), channel) == numbered(6)


def test_a_consumer_deleted_while_the_buffer_is_full_is_made_again(
    natsmq: NatsWal, channel: str
) -> None:
    """A reader that does not pull is told nothing, and still misses nothing."""
    with NatsReader(natsmq.milvus.nats_address) as reader:
        fill_the_buffer(reader, natsmq, channel)
        natsmq.delete_consumers(channel)
        records = read(reader, 40)
    assert numbers(records) == list(range(1, 41))


def test_closing_leaves_nothing_at_the_server(natsmq: NatsWal, channel: str) -> None:
    """The consumer of a channel is gone when close returns."""
    natsmq.append(channel, numbered(1))
    with natsmq.reader() as reader:
        reader.subscribe(channel, None)
        read(reader, 1)
        assert natsmq.consumers(channel) == 1
    assert natsmq.consumers(channel) == 0


READ_FOR_EVER = """
import sys
from cdc_actors.source.wal.natsmq.reader import NatsReader
reader = NatsReader(sys.argv[1])
reader.subscribe(sys.argv[2], None)
reader.poll(30)
print("reading", flush=True)
while True:
    reader.poll(30)
"""


def test_a_killed_reader_leaves_nothing_at_the_server(
    natsmq: NatsWal, channel: str
) -> None:
    """After kill -9 the server removes the consumer by itself."""
    natsmq.append(channel, numbered(1))
    command = [sys.executable, "-c", READ_FOR_EVER, natsmq.milvus.nats_address, channel]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"reading\n"
            assert natsmq.consumers(channel) == 1
        finally:
            process.kill()
    eventually(lambda: natsmq.consumers(channel) == 0, "the server removes it")


def test_a_server_that_falls_silent_is_noticed(natsmq: NatsWal, channel: str) -> None:
    """A server that keeps its connections but answers nothing ends the reading."""
    natsmq.append(channel, numbered(1))
    pid = natsmq.milvus.pid
    assert pid is not None
    with natsmq.reader() as reader:
        reader.subscribe(channel, None)
        read(reader, 1)
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(TransientError, match="natsmq at 127"):
                reader.poll(DEADLINE)
        finally:
            os.kill(pid, signal.SIGCONT)


def test_a_record_larger_than_the_server_allows_now_is_reported(
    natsmq: NatsWal, channel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that no pull can bring stops the reading with what to do about it."""
    natsmq.append(channel, [b"small", bytes(MB)])
    monkeypatch.setattr(JetStream, "max_payload", 1000)
    with natsmq.reader() as reader:
        reader.subscribe(channel, None)
        assert payloads(read(reader, 1), channel) == [b"small"]
        with pytest.raises(OperatorError, match="maxPayload"):
            reader.poll(DEADLINE)


def test_a_pull_that_ends_without_a_word_is_followed_by_the_next(
    natsmq: NatsWal, channel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that fills its pull to the byte, of which the server tells nothing."""
    monkeypatch.setattr(JetStream, "max_payload", 1000)
    filled = 1000 + FRAME_BYTES
    subject = f"$JS.ACK.{channel}.consumer.1.1.1.{10**18}.1"
    natsmq.append(channel, [bytes(filled - len(channel) - len(subject)), b"next"])
    with natsmq.reader() as reader:
        reader.subscribe(channel, None)
        assert len(read(reader, 1)) == 1
        assert payloads(read(reader, 1), channel) == [b"next"]


@pytest.mark.parametrize("where", ["_following", "_on_status", "_wait_for_room"])
def test_a_mistake_in_the_code_is_no_silence(
    natsmq: NatsWal, channel: str, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """An exception in the reader's thread comes out of poll."""

    def fail(*_: object) -> None:
        raise KeyError("mistake")

    monkeypatch.setattr(StreamPuller, where, fail)
    natsmq.append(channel, numbered(1))
    with natsmq.reader() as reader:
        reader.subscribe(channel, None)
        with pytest.raises(TransientError, match="mistake"):
            read_to_the_end(reader, [])


def serve_refusal(listener: socket.socket) -> None:
    """Greet one client and refuse its login, in the words of nats-server 2.9."""
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b'INFO {"auth_required":true,"max_payload":1000}\r\n')
        connection.recv(4096)
        connection.sendall(b"-ERR 'Authorization Violation'\r\n")


def test_a_refused_login_asks_for_the_operator() -> None:
    """A wrong password is not retried, and is not shown."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=serve_refusal, args=(listener,))
        thread.start()
        with pytest.raises(OperatorError, match="refuses the login") as refusal:
            NatsReader(f"nats://reader:secret@127.0.0.1:{port}")
        thread.join()
    assert "secret" not in str(refusal.value)


def test_an_address_that_is_none_asks_for_the_operator() -> None:
    """A port that is no number is the setting's fault, and the text names it."""
    with pytest.raises(OperatorError, match=r"natsmq\.address"):
        NatsReader("nats://127.0.0.1:port")


def test_a_server_that_is_not_there_is_named() -> None:
    """A refused connection comes in the system's words, with the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TransientError, match=rf"127.0.0.1:{port}.*[Cc]onnect"):
        NatsReader(f"nats://127.0.0.1:{port}")


def test_bytes_are_a_share_of_the_streams(natsmq: NatsWal, channel: str) -> None:
    """They are told for the records from one on, up to another, that are still there."""
    positions = natsmq.append(channel, [bytes(10_000)] * 20)
    with natsmq.reader() as reader:
        whole = reader.bytes_between(positions[0])
        assert 200_000 < whole < 210_000
        assert reader.bytes_between(positions[5], positions[10]) == whole // 4
        assert reader.bytes_between(positions[10], positions[5]) == 0
        natsmq.truncate(channel, positions[10])
        assert reader.bytes_between(positions[0]) == pytest.approx(whole / 2, rel=0.01)
        natsmq.truncate(channel, None)
        assert reader.bytes_between(positions[0]) == 0


def test_records_are_kept_for_the_age_of_the_stream(
    natsmq: NatsWal, channel: str
) -> None:
    """Milvus makes its streams with a longest age; of no stream nothing is known."""
    own = "by-dev-rootcoord-dml_0"
    with natsmq.reader() as reader:
        assert reader.kept_seconds(channel) is None
        assert reader.kept_seconds(own) == 3 * 24 * 3600


def test_records_are_kept_as_long_as_the_stream_has_room(
    natsmq: NatsWal, channel: str
) -> None:
    """Half full after some time, it keeps records for twice that time."""
    natsmq.limit(channel, messages=4)
    with natsmq.reader() as reader:
        assert reader.kept_seconds(channel) is None
        natsmq.append(channel, numbered(2))
        kept = reader.kept_seconds(channel)
        state = reader._call(reader._control.stream_state(channel))["state"]
    first, last = (datetime.fromisoformat(state[f"{each}_ts"]) for each in ENDS)
    assert kept == pytest.approx(2 * (last - first).total_seconds())
    assert kept > 0
