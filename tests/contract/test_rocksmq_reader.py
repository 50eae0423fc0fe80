"""What is special about RocksMQ, beyond the contract of all readers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from pymilvus import MilvusClient

from cdc_actors.changes import (
    CreateCollection,
    Delete,
    DropCollection,
    Insert,
    Tick,
    to_hybrid_ts,
)
from cdc_actors.config import SourceConfig
from cdc_actors.config.queues import Rocksmq
from cdc_actors.embedded.milvus import EmbeddedMilvus
from cdc_actors.errors import OperatorError, PositionLostError, TransientError
from cdc_actors.source.decode import decode
from cdc_actors.source.wal import open_reader
from cdc_actors.source.wal.rocksmq import reader as module
from cdc_actors.source.wal.rocksmq.reader import RocksReader
from tests.support.books import Books
from tests.support.rocks_wal import RocksWal
from tests.support.wal import (
    DEADLINE,
    eventually,
    numbered,
    payloads,
    read,
    read_to_the_end,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cdc_actors.changes import Change, Record

TURNS = {
    "the clock passes a power of ten": (10**18 - 8, 10**18 + 1),
    "the clock was set": (3 * 10**15, (1_790_000_000_000) << 18),
}
BRIEF = {
    "rocksmqPageSize": 200,
    "retentionTimeInMinutes": 0,
    "retentionSizeInMB": 0,
    "timtickerInterval": 1,
}
"""What has RocksMQ look each second for pages that Milvus has read, and remove them."""

CHANNELS = [f"by-dev-rootcoord-dml_{number}" for number in range(16)]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RocksWal]:
    """A RocksDB that a test may ruin."""
    wal = RocksWal(tmp_path / "rdb_data")
    yield wal
    wal.stop()


@pytest.mark.parametrize("turn", TURNS)
def test_ids_of_more_digits_come_after_those_of_fewer(
    rocksmq: RocksWal, channel: str, turn: str
) -> None:
    """Records are read by their number where the order of the keys is another one."""
    before, after = (range(start, start + 5) for start in TURNS[turn])
    records = [(id_, b"%d" % id_) for id_ in (*before, *after)]
    positions = rocksmq.append_at(channel, records)
    with rocksmq.reader() as reader:
        assert reader.oldest(channel) == positions[0]
        assert reader.newest(channel) == positions[-1]
        assert reader.reached(positions[5], positions[4])
        reader.subscribe(channel, positions[1], inclusive=False)
        found = read(reader, 8)
    assert [each.position for each in found] == positions[2:]
    assert payloads(found, channel) == [payload for _, payload in records[2:]]


@pytest.mark.parametrize("turn", TURNS)
def test_ids_of_more_digits_are_noticed_while_waiting(
    rocksmq: RocksWal, channel: str, turn: str
) -> None:
    """The number of digits may change at the end of a channel that is followed."""
    before, after = TURNS[turn]
    rocksmq.append_at(channel, [(before, b"before")])
    with rocksmq.reader() as reader:
        reader.subscribe(channel, None)
        assert payloads(read(reader, 1), channel) == [b"before"]
        rocksmq.append_at(channel, [(after, b"after")])
        assert payloads(read(reader, 1), channel) == [b"after"]


def test_neighbouring_names_do_not_mix(rocksmq: RocksWal, channel: str) -> None:
    """A channel whose name begins like another's is another."""
    for name in (channel, f"{channel}0", f"{channel}-", channel[:-1]):
        rocksmq.append(name, [name.encode()])
    with rocksmq.reader() as reader:
        reader.subscribe(channel, None)
        assert payloads(read(reader, 1), channel) == [channel.encode()]
        assert reader.poll(0) == []
        assert reader.oldest(channel) == reader.newest(channel)


@pytest.mark.parametrize(("minutes", "seconds"), [(60, 3600.0), (0, None)])
def test_records_are_kept_as_the_settings_say(
    rocksmq: RocksWal, channel: str, minutes: int, seconds: float | None
) -> None:
    """They are Milvus's own, which nothing on the disk tells; unknown unless given."""
    rocksmq.append(channel, [b"1"])
    section = Rocksmq(path=str(rocksmq.path), retention_time_in_minutes=minutes)
    with open_reader(SourceConfig(rocksmq=section)) as reader:
        assert reader.kept_seconds(channel) == seconds


def test_bytes_are_those_of_pages(own: RocksWal, channel: str) -> None:
    """Full pages that end in the stretch count, of this channel; none are told without."""
    first, middle, last = own.append(channel, [b"1", b"2", b"3"])
    with own.reader() as reader:
        assert reader.bytes_between(first) is None
        pages = RocksWal(own.path.with_name(f"{own.path.name}_meta_kv"))
        for place, size in ((middle, b"70"), (last, b"90")):
            pages.append_at(f"page_message_size/{channel}", [(int(place.text), size)])
            pages.append_at(f"page_message_size/{channel}0", [(int(place.text), b"5")])
        assert reader.bytes_between(first) == 160
        assert reader.bytes_between(first, last) == 70
        assert reader.bytes_between(last, first) == 0
        pages.stop()


def append_old(rocksmq: RocksWal, channel: str) -> None:
    """Write three records of two minutes ago, which retention may remove."""
    first = to_hybrid_ts(time.time() - 120)
    rocksmq.append_at(channel, [(first + i, b"%d" % i) for i in range(3)])


def test_the_last_record_may_go_once_it_is_read(
    rocksmq: RocksWal, channel: str
) -> None:
    """A reader at the end of the log misses nothing when retention empties it."""
    append_old(rocksmq, channel)
    with rocksmq.reader() as reader:
        reader.subscribe(channel, None)
        read(reader, 3)
        assert reader.poll(0) == []
        rocksmq.truncate(channel, None)
        eventually(lambda: reader.newest(channel) is None, "the channel is empty")
        assert reader.poll(0.1) == []
        rocksmq.append(channel, [b"next"])
        assert payloads(read(reader, 1), channel) == [b"next"]


def test_what_a_reader_did_not_watch_may_be_missing(
    rocksmq: RocksWal, channel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a long pause a last record that is gone tells nothing of those behind it."""
    append_old(rocksmq, channel)
    with rocksmq.reader() as reader:
        reader.subscribe(channel, None)
        read(reader, 3)
        assert reader.poll(0) == []
        rocksmq.append(channel, [b"never seen"])
        rocksmq.truncate(channel, None)
        rocksmq.append(channel, [b"next"])
        monkeypatch.setattr(module, "_UNWATCHED", 0)
        with pytest.raises(PositionLostError, match=channel):
            reader.poll(DEADLINE)


def test_records_are_read_across_tables_and_compactions(
    rocksmq: RocksWal, channel: str
) -> None:
    """Whether they lie in the log, in memory or in compressed tables, all come once."""
    with rocksmq.reader() as reader:
        reader.subscribe(channel, None)
        found: list[Record] = []
        for first in range(1, 301, 100):
            rocksmq.append(channel, numbered(100, first=first))
            rocksmq.ask("flush")
            found += read(reader, 50)
        found += read(reader, 300 - len(found)) if len(found) < 300 else []
    assert payloads(found, channel) == numbered(300)


def test_a_reader_goes_on_when_a_restart_went_unnoticed(
    rocksmq: RocksWal, channel: str
) -> None:
    """A Milvus that was away between two polls has begun new files, which are read."""
    rocksmq.append(channel, numbered(3))
    with rocksmq.reader() as reader:
        reader.subscribe(channel, None)
        read(reader, 3)
        for first in (4, 7):
            rocksmq.stop()
            rocksmq.start()
            rocksmq.append(channel, numbered(3, first=first))
            expected = numbered(3, first=first)
            assert payloads(read(reader, 3), channel) == expected


def listing(path: Path) -> list[tuple[str, int, int]]:
    """Return what is in a folder, and when it was changed."""
    found = [(each.name, each.stat()) for each in (path, *sorted(path.iterdir()))]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in found]


def test_nothing_is_written_at_the_source(
    rocksmq: RocksWal, channel: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Reading changes no file of Milvus's, and leaves none of its own anywhere."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rocksmq.append(channel, numbered(3))
    before = listing(rocksmq.path)
    with rocksmq.reader() as reader:
        reader.subscribe(channel, None)
        read(reader, 3)
        assert list(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []
    assert listing(rocksmq.path) == before


READ_FOR_EVER = """
import sys
from cdc_actors.source.wal.rocksmq.reader import RocksReader
reader = RocksReader(sys.argv[1])
reader.subscribe(sys.argv[2], None)
print(len(reader.poll(30)), flush=True)
while True:
    reader.poll(30)
"""


def test_what_a_killed_reader_leaves_does_no_harm(
    rocksmq: RocksWal, channel: str, tmp_path: Path
) -> None:
    """After a SIGKILL both Milvus and the next reader go on."""
    rocksmq.append(channel, numbered(1))
    command = [sys.executable, "-c", READ_FOR_EVER, str(rocksmq.path), channel]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"1\n"
        process.send_signal(signal.SIGKILL)
    rocksmq.append(channel, numbered(1, first=2))
    with rocksmq.reader() as reader:
        reader.subscribe(channel, None)
        assert payloads(read(reader, 2), channel) == numbered(2)


def test_errors_of_rocksdb_come_in_its_own_words(own: RocksWal, channel: str) -> None:
    """A damaged table ends the reading, and does not look like the log's end."""
    positions = own.append(channel, [os.urandom(1000) for _ in range(100)])
    own.ask("flush")
    (table,) = own.path.glob("*.sst")
    damaged = bytearray(table.read_bytes())
    damaged[60_000:62_000] = bytes(2_000)
    table.write_bytes(damaged)
    records: list[Record] = []
    with own.reader() as reader:
        reader.subscribe(channel, None)
        with pytest.raises(TransientError, match="Corruption"):
            read_to_the_end(reader, records)
    assert [each.position for each in records] == positions[: len(records)]


def test_a_folder_that_vanishes_is_noticed(own: RocksWal, channel: str) -> None:
    """A reader whose files are gone says so."""
    own.append(channel, [b"record"])
    with own.reader() as reader:
        shutil.rmtree(own.path)
        with pytest.raises(TransientError, match="rdb_data"):
            reader.poll(DEADLINE)


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_without_rocksmq_asks_for_the_operator(
    tmp_path: Path, *, made: bool
) -> None:
    """A wrong path is a setting to be corrected, and no folder is made for it."""
    path = tmp_path / "rdb_data"
    if made:
        path.mkdir()
    with pytest.raises(OperatorError, match=r"rocksmq\.path.*rdb_data.*No such file"):
        RocksReader(str(path))
    assert path.exists() == made


def test_a_mistake_in_the_code_is_not_taken_for_an_absent_queue(
    rocksmq: RocksWal, channel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no error of RocksDB's comes out of poll as it is."""

    def fail(*_: object) -> None:
        raise KeyError("mistake")

    with rocksmq.reader() as reader:
        monkeypatch.setattr(module.RocksCursor, "read", fail)
        reader.subscribe(channel, None)
        with pytest.raises(KeyError, match="mistake"):
            reader.poll(DEADLINE)


def read_until(reader: RocksReader, wanted: type[Change]) -> list[Record]:
    """Poll until a change of a kind has come, and return its channel's records."""
    records: list[Record] = []
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        records += reader.poll(1)
        for found in records:
            if isinstance(decode_record(found), wanted):
                channel = found.position.channel
                return [each for each in records if each.position.channel == channel]
    raise AssertionError(f"no {wanted}")


def kinds(records: list[Record]) -> list[type]:
    """Return what the records are, but for the ticks."""
    changes = map(decode_record, records)
    return [type(change) for change in changes if not isinstance(change, Tick)]


def test_what_a_killed_reader_left_is_removed(
    rocksmq: RocksWal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one removes its scratch folder, and never that of one which lives."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "cdc-actors-rocksmq-left"
    left.mkdir()
    with rocksmq.reader():
        (own,) = set(tmp_path.iterdir()) - {left}
        for each in (left, own):
            os.utime(each, (0, 0))
        with rocksmq.reader():
            assert own.exists()
            assert not left.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_real_milvus_is_read_while_it_writes(
    source_rocksmq: EmbeddedMilvus, emptied
) -> None:
    """What a Milvus writes is decoded in order; after its restart reading goes on."""
    client = emptied(source_rocksmq)
    with RocksReader(str(source_rocksmq.rocksmq_path)) as reader:
        for each in CHANNELS:
            reader.subscribe(each, reader.newest(each), inclusive=False)
        books = Books(client).create(index=False)
        books.insert(range(10))
        books.delete([3, 4])
        records = read_until(reader, Delete)
        assert kinds(records) == [CreateCollection, Insert, Delete]
        (insert,) = (
            each for each in map(decode_record, records) if isinstance(each, Insert)
        )
        assert insert.rows == 10
        source_rocksmq.kill()
        try:
            with pytest.raises(TransientError, match="no Milvus has it open"):
                reader.poll(DEADLINE)
        finally:
            source_rocksmq.start()
    last = records[-1].position
    with RocksReader(str(source_rocksmq.rocksmq_path)) as reader:
        reader.subscribe(last.channel, last, inclusive=False)
        books.insert(range(10, 15))
        # A Milvus that starts may say an older drop again, of another collection.
        found = kinds(read_until(reader, Insert))
        assert [each for each in found if each is not DropCollection] == [Insert]
    client.close()


def test_what_milvus_itself_removed_is_a_lost_position(tmp_path: Path) -> None:
    """Its retention removes pages that it has read; whoever was to begin there is told."""
    with (
        EmbeddedMilvus(tmp_path, mq="rocksmq", wanted={"rocksmq": BRIEF}) as server,
        closing(MilvusClient(server.uri, timeout=30, dedicated=True)) as client,
        RocksReader(str(server.rocksmq_path)) as reader,
    ):
        Books(client).create(index=False)
        (channel,) = (each for each in CHANNELS if reader.newest(each))
        first = reader.oldest(channel)
        eventually(lambda: reader.bytes_between(first), "a page is full, and told of")
        eventually(lambda: reader.oldest(channel) != first, "a page is removed")
        assert not reader.holds(first)
        with pytest.raises(PositionLostError, match=channel):
            reader.subscribe(channel, first)
        reader.subscribe(channel, None)
        assert not reader.reached(first, read(reader, 1)[0].position)


def decode_record(record: Record) -> Change | Tick:
    """Return what a record says."""
    return decode(record.payload)
