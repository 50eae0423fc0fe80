"""The reader of streaming nodes, at nodes that deliver what real ones did."""

from __future__ import annotations

import time
from contextlib import closing, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cdc_actors.changes import (
    BulkImport,
    CreateCollection,
    Position,
    Tick,
    Unreplicated,
)
from cdc_actors.errors import OperatorError, PositionLostError, TransientError
from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.source.catalog import model as meta
from cdc_actors.source.streamed import decode_record, decode_streamed
from cdc_actors.source.wal.buffer import TAKEN_BYTES
from cdc_actors.source.wal.streaming import node, stream
from cdc_actors.source.wal.streaming import reader as streaming_reader
from cdc_actors.source.wal.streaming.arrival import Arrival
from cdc_actors.source.wal.streaming.positions import (
    QUEUES,
    NodeRecord,
    Place,
    place_of_id,
    position_of,
)
from cdc_actors.source.wal.streaming.reader import NodeReader
from tests.fakes.fake_etcd import FakeEtcd
from tests.fakes.streaming_node import StreamingNodes
from tests.support.cdc import wait_until
from tests.support.recorded_life import CatalogWrite, life, messages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.changes import Change, Record
    from tests.support.recorded_life import NodeMessage

CHANNEL = "by-dev-rootcoord-dml_0"
PATIENCE = 90.0


@pytest.fixture
def etcd() -> FakeEtcd:
    """Return an empty catalog."""
    return FakeEtcd(databases=0)


@pytest.fixture
def nodes(etcd: FakeEtcd) -> Iterator[StreamingNodes]:
    """Yield nodes without messages."""
    nodes = StreamingNodes(etcd)
    yield nodes
    nodes.close()


@pytest.fixture
def log(nodes: StreamingNodes) -> list[NodeMessage]:
    """Return what one channel of ten writers has, after having nodes deliver it."""
    found = [m for m in messages("2.6.20-writers") if m.channel == CHANNEL]
    for message in found:
        nodes.append(message)
    return found


@pytest.fixture
def reader(etcd: FakeEtcd, nodes: StreamingNodes) -> Iterator[NodeReader]:
    """Yield a reader."""
    with NodeReader(etcd.catalog) as reader:
        yield reader


def take(reader: NodeReader, count: int) -> list[Record]:
    """Read so many records."""
    found: list[Record] = []
    end = time.monotonic() + PATIENCE
    while len(found) < count:
        assert time.monotonic() < end, f"{len(found)} of {count} records came"
        found += reader.poll(0.2)
    return found


def shown(record: Record) -> tuple[str, str]:
    """Return what a record says, and when."""
    assert isinstance(record, NodeRecord)
    return record.properties["_t"], record.properties["_tt"]


def wanted(log: list[NodeMessage]) -> list[tuple[str, str]]:
    """Return the same of what was recorded."""
    return [(each.properties["_t"], each.properties["_tt"]) for each in log]


def told(message: NodeMessage) -> Change | Tick:
    """Return what a recorded message says; etcd tells of imports, and what helps."""
    change = decode_streamed(message.properties, message.payload)
    if isinstance(change, Unreplicated):
        helps = "`resync` brings it anew as it has been since"
        return replace(change, reason=f"{change.reason}: {helps}")
    is_import = isinstance(change, BulkImport)
    return Tick(change.timestamp) if is_import else change


def position(message: NodeMessage) -> Position:
    """Return where a recorded message stands."""
    confirmed = message.properties.get("_lc", message.id)
    moment = int(message.properties["_tt"], 36)
    place = Place(QUEUES["rocksmq"], confirmed, message.id, moment)
    return position_of(message.channel, place)


@pytest.mark.parametrize(("size", "waits"), [(100, True), (3_000_000, False)])
def test_more_is_waited_for_behind_little_only(
    nodes: StreamingNodes,
    reader: NodeReader,
    monkeypatch: pytest.MonkeyPatch,
    *,
    size: int,
    waits: bool,
) -> None:
    """A large record is handed on at once, for it leaves no room for the next ones."""
    # That cannot be waited.
    monkeypatch.setattr(streaming_reader, "GATHER_SECONDS", -1.0)
    first = next(m for m in messages("2.6.20-writers") if m.channel == CHANNEL)
    nodes.append(replace(first, payload=bytes(size)))
    reader.subscribe(CHANNEL, None)
    with pytest.raises(ValueError, match="negative") if waits else nullcontext():
        [record] = take(reader, 1)
        assert len(record.payload) == size


@pytest.mark.parametrize("queue", ["rocksmq", "woodpecker"])
def test_all_channels_of_a_life(etcd: FakeEtcd, queue: str) -> None:
    """Every message comes, in order, and is read as it was recorded."""
    version = {"rocksmq": "2.6.20", "woodpecker": "2.6.20-woodpecker"}[queue]
    recorded = messages(version)
    with (
        closing(StreamingNodes(etcd, queue)) as nodes,
        NodeReader(etcd.catalog) as reader,
    ):
        for message in recorded:
            nodes.append(message)
        channels = sorted({message.channel for message in recorded})
        for channel in channels:
            reader.subscribe(channel, None)
        records = take(reader, len(recorded))
        for channel in channels:
            here = [decode_record(r) for r in records if r.channel == channel]
            assert here == [told(m) for m in recorded if m.channel == channel]
            newest, oldest = reader.newest(channel), reader.oldest(channel)
            assert newest is not None
            assert oldest is not None
            assert reader.reached(newest, oldest)
            assert not reader.reached(oldest, newest)
            assert reader.holds(newest)
        assert reader.poll(0) == []


def test_it_goes_on_at_any_message(
    etcd: FakeEtcd, nodes: StreamingNodes, log: list[NodeMessage]
) -> None:
    """Behind each, be it inside a transaction, comes all that came behind it, once."""
    for number in range(0, len(log) - 1, 3):
        if "_np" in log[number].properties:
            continue
        inclusive = number % 2 == 0
        with NodeReader(etcd.catalog) as reader:
            start = position(log[number])
            assert reader.holds(start)
            reader.subscribe(CHANNEL, start, inclusive=inclusive)
            rest = log[number if inclusive else number + 1 :]
            records = take(reader, len(rest))
            assert list(map(shown, records)) == wanted(rest)
            assert records[-1].position.channel == CHANNEL
    assert nodes.calls > 0


def test_ticks_that_are_not_stored_have_the_place_of_the_last_message(
    reader: NodeReader, log: list[NodeMessage]
) -> None:
    """A run that saves it goes on behind that message."""
    reader.subscribe(CHANNEL, None)
    last = None
    for record, message in zip(take(reader, len(log)), log, strict=True):
        if "_np" in message.properties:
            assert record.position == last
        last = record.position
    assert last is not None
    assert reader.holds(last, inclusive=False)


def test_where_collections_begin(etcd: FakeEtcd) -> None:
    """The catalog's positions lead to the message that creates the collection."""
    recorded = messages("2.6.20")
    starts = [
        (info.id, start.key, start.data)
        for step in life("2.6.20")
        if isinstance(step, CatalogWrite) and step.value
        if step.key.startswith(f"by-dev/meta/{meta.COLLECTIONS}")
        for info in [meta.catalog_pb2.CollectionInfo.FromString(step.value)]
        for start in info.start_positions
    ]
    with closing(StreamingNodes(etcd)) as nodes:
        for message in recorded:
            nodes.append(message)
        for collection, channel, data in {each[:2]: each for each in starts}.values():
            with NodeReader(etcd.catalog) as reader:
                start = reader.position(channel, data)
                assert reader.holds(start)
                reader.subscribe(channel, start)
                created = decode_record(take(reader, 1)[0])
                assert isinstance(created, CreateCollection)
                assert created.collection == collection


def confirmed(log: list[NodeMessage]) -> Iterator[tuple[NodeMessage, bytes]]:
    """Yield messages by which files may have all before, and the catalog's id of that."""
    there = {each.id for each in log}
    for message in log[::5]:
        identity = message.properties.get("_lc", message.id)
        if identity in there:
            yield message, int(identity, 36).to_bytes(8, "little")


def test_where_files_end(etcd: FakeEtcd, log: list[NodeMessage]) -> None:
    """That may be inside of a transaction, which the node leaves out: it is in the files.

    From there comes all that is later, each once.
    """
    inside = 0
    in_transactions = {each.id for each in log if "_tx" in each.properties}
    for message, identity in confirmed(log):
        until = message.properties["_tt"]
        later = [each for each in log if each.properties["_tt"] > until]
        with NodeReader(etcd.catalog) as reader:
            start = reader.position(CHANNEL, identity)
            inside += start.text in in_transactions
            assert reader.holds(start)
            reader.subscribe(CHANNEL, start)
            records: list[Record] = []
            while len(records) < len(later):
                found = take(reader, 1)
                records += [each for each in found if shown(each)[1] > until]
        assert list(map(shown, records)) == wanted(later)
    assert inside > 5


def test_files_that_end_where_the_log_has_nothing_left(
    etcd: FakeEtcd, nodes: StreamingNodes, log: list[NodeMessage]
) -> None:
    """It is told, also where the transaction around that place is what is lost."""
    lost = [each for each in confirmed(log) if "_tx" in each[0].properties]
    for message, identity in lost:
        number = next(n for n, each in enumerate(log) if each.id == message.id)
        nodes.lose(CHANNEL, number + 1)
        with NodeReader(etcd.catalog) as reader:
            assert not reader.holds(reader.position(CHANNEL, identity))
    assert lost


def test_a_message_that_the_log_has_lost(
    reader: NodeReader, nodes: StreamingNodes, log: list[NodeMessage]
) -> None:
    """The node begins elsewhere and says nothing: the reader finds out."""
    start = position(log[5])
    nodes.lose(CHANNEL, 20)
    assert not reader.holds(start)
    reader.subscribe(CHANNEL, start)
    with pytest.raises(PositionLostError, match="no longer holds"):
        take(reader, 1)


def test_a_position_of_an_api_that_is_no_message(reader: NodeReader) -> None:
    """Where nothing had come by the API alone, no node can tell what comes next."""
    with pytest.raises(OperatorError, match="read by its API alone so far"):
        reader.subscribe(CHANNEL, position_of(CHANNEL, Place(0, "", "", 0, 7)))


def test_a_message_of_another_log(reader: NodeReader, log: list[NodeMessage]) -> None:
    """An id that nothing has yet, and one of another queue, are lost."""
    assert "_np" in log[-1].properties
    assert not reader.holds(reader.position(CHANNEL, (1 << 62).to_bytes(8, "little")))
    start = position_of(CHANNEL, Place(QUEUES["kafka"], "1", "1", 0))
    assert not reader.holds(start)
    reader.subscribe(CHANNEL, start)
    with pytest.raises(PositionLostError, match="switched its log"):
        take(reader, 1)


def test_a_log_that_has_been_switched() -> None:
    """A message of another queue is behind every start in the old one."""
    arrival = Arrival(CHANNEL, Place(1, "z", "z", 9), inclusive=True)
    with pytest.raises(PositionLostError):
        arrival.admits(Place(4, "", "", 5), stored=True)


def test_a_channel_that_moves(
    etcd: FakeEtcd, reader: NodeReader, nodes: StreamingNodes
) -> None:
    """It is found at its new node, whenever etcd knows; nothing is missing or doubled."""
    log = [m for m in messages("2.6.20-writers") if m.channel == CHANNEL]
    parts = log[:40], log[40:80], log[80:]
    records: list[Record] = []
    for moves, part in enumerate(parts):
        for message in part:
            nodes.append(message)
        if moves == 0:
            reader.subscribe(CHANNEL, None)
        records += take(reader, len(part))
        if moves < len(parts) - 1:
            refused = nodes.refused
            nodes.move(CHANNEL)
            wait_until(lambda refused=refused: nodes.refused > refused, "it is refused")
            nodes.tell(CHANNEL)
    assert list(map(shown, records)) == wanted(log)
    assert etcd.requests > 0


def test_a_node_that_is_away(
    reader: NodeReader, nodes: StreamingNodes, log: list[NodeMessage]
) -> None:
    """What came before is read; then it is said, in the node's words."""
    reader.subscribe(CHANNEL, None)
    take(reader, len(log))
    nodes.stop()
    with pytest.raises(TransientError, match="away"):
        take(reader, 1)
    with pytest.raises(TransientError, match="away"):
        reader.newest(CHANNEL)


def test_a_node_that_says_nothing(
    reader: NodeReader,
    nodes: StreamingNodes,
    log: list[NodeMessage],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not taken for a quiet channel: it would tick."""
    assert log
    monkeypatch.setattr(stream, "SILENCE_SECONDS", 0.1)
    nodes.fall_silent()
    reader.subscribe(CHANNEL, None)
    with pytest.raises(TransientError, match="has said nothing"):
        take(reader, 1)


def test_a_channel_that_is_not_there(reader: NodeReader) -> None:
    """It is waited for, unless something of it is to be there."""
    assert reader.newest("none") is None
    assert reader.oldest("none") is None
    reader.subscribe("none", None)
    with pytest.raises(ValueError, match="already"):
        reader.subscribe("none", None)
    assert reader.poll(0) == []
    start = position_of("gone", Place(1, "1", "1", 1))
    assert not reader.holds(start)
    with pytest.raises(PositionLostError, match="no such channel"):
        reader.subscribe("gone", start)
    with pytest.raises(OperatorError, match="no such channel"):
        reader.position("gone", b"\0" * 8)


def test_channels_of_one_node_share_a_connection(
    etcd: FakeEtcd, nodes: StreamingNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection has threads of its own, which ticks wake."""
    opened: list[str] = []
    open_one = node.grpc.insecure_channel

    def open_channel(address: str, *rest: Any, **named: Any) -> Any:
        opened.append(address)
        return open_one(address, *rest, **named)

    monkeypatch.setattr(node.grpc, "insecure_channel", open_channel)
    recorded = messages("2.6.20-writers")
    for message in recorded:
        nodes.append(message)
    with NodeReader(etcd.catalog) as reader:
        for channel in {message.channel for message in recorded}:
            reader.subscribe(channel, None)
        assert len(take(reader, len(recorded))) == len(recorded)
    found = node.find_node(CHANNEL, etcd.catalog)
    assert found is not None
    assert opened.count(found.node.address) == 1


def test_what_is_read_ahead_is_bounded(
    etcd: FakeEtcd, nodes: StreamingNodes, log: list[NodeMessage]
) -> None:
    """No more is held than is taken at once, and all of it comes in order."""
    size, channel = 100_000, "large"
    large = [replace(each, channel=channel, payload=bytes(size)) for each in log]
    assert len(large) * size > 2 * TAKEN_BYTES
    for message in large:
        nodes.append(message)
    quota = MemoryBudget(1 << 30).quota(1.0)
    with NodeReader(etcd.catalog, quota) as reader:
        reader.subscribe(channel, None)
        wait_until(lambda: quota.held > TAKEN_BYTES, "it is read ahead")
        records: list[Record] = []
        while len(records) < len(large):
            assert quota.held <= TAKEN_BYTES + 2 * size
            records += reader.poll(0.2)
    assert list(map(shown, records)) == wanted(large)


def test_a_position_of_another_kind_of_log(reader: NodeReader) -> None:
    """It is of before the source was made a 2.6, and lost."""
    before = Position("c", b"\x01", "1")
    assert not reader.holds(before)
    with pytest.raises(PositionLostError, match="before it became a Milvus of"):
        reader.reached(before, before)


@pytest.mark.shows("2.6", "Kafka", by="from source only", way="streaming nodes")
@pytest.mark.shows("2.6", "Pulsar", by="from source only", way="streaming nodes")
@pytest.mark.parametrize(
    ("queue", "raw", "text"),
    [
        ("rocksmq", (46655).to_bytes(8, "little"), "zzz"),
        ("kafka", bytes(8), "0"),
        ("pulsar", b"\x08\x02\x10\x03", "CAIQAw=="),
        ("woodpecker", b"", ""),
    ],
)
def test_ids_of_the_catalog(queue: str, raw: bytes, text: str) -> None:
    """Each queue's bytes become the text that nodes use."""
    assert place_of_id(QUEUES[queue], raw).id == text
    assert place_of_id(QUEUES[queue], raw).rank >= (0, 0)
