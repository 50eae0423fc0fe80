"""What single messages of a streaming node say, real ones above all."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.changes import (
    BulkImport,
    CreateCollection,
    Delete,
    DropCollection,
    DropPartition,
    Insert,
    Position,
    Tick,
    Unknown,
    Unreplicated,
)
from cdc_actors.errors import OperatorError, PositionLostError
from cdc_actors.replication.order import ChannelOrder
from cdc_actors.source.streamed import decode_record, decode_streamed
from cdc_actors.source.wal.streaming import streaming_pb2
from cdc_actors.source.wal.streaming.dump_reader import DumpedRecord
from cdc_actors.source.wal.streaming.positions import NodeRecord
from tests.support.changes import At
from tests.support.recorded_life import left_by_writers, messages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.changes import Change

LIVES = ["2.6.20", "3.0.0", "2.6.20-writers", "2.6.20-woodpecker"]
CUT = Insert | Delete | CreateCollection | DropPartition | BulkImport
ENCRYPTED = {"_t": "2", "_tt": "z", "_vc": "dml_0_7v0", "_h": "CAc=", "_ch": "x"}


def in_order(version: str) -> Iterator[Change]:
    """Yield what a log says, each channel in its order; all that a tick covers."""
    orders: defaultdict[str, ChannelOrder] = defaultdict(lambda: ChannelOrder(0))
    for message in messages(version):
        change = decode_streamed(message.properties, message.payload)
        at = At(Position(message.channel, b"", message.id))
        if window := orders[message.channel].add(at, change):
            yield from window.changes
    assert all(order.memory_cost == 0 for order in orders.values())


@pytest.mark.parametrize("version", LIVES)
def test_every_message_of_a_real_log_is_read(version: str) -> None:
    """No kind is unknown; rows have collection, shard and columns, all the log's time."""
    for message in messages(version):
        change = decode_streamed(message.properties, message.payload)
        time = int(message.properties["_tt"], 36)
        assert not isinstance(change, Unknown)
        assert change.timestamp == time - (message.properties["_t"] == "900")
        if isinstance(change, Insert | Delete):
            assert change.collection
            assert change.shard == message.properties["_vc"]
            rows = change.rows if isinstance(change, Insert) else len(change.keys)
            assert rows > 0


@pytest.mark.parametrize(
    ("version", "inserts", "deletes"),
    [("2.6.20", 58, 21), ("3.0.0", 60, 21), ("2.6.20-woodpecker", 58, 21)],
)
def test_what_a_life_consists_of(version: str, inserts: int, deletes: int) -> None:
    """Each kind is told as often as its shards have it; copies for the control not."""
    found: defaultdict[type, list[Change]] = defaultdict(list)
    for change in in_order(version):
        found[type(change)].append(change)
    assert len(found[Insert]) == inserts
    assert len(found[Delete]) == deletes
    assert len(found[DropPartition]) == 2
    created = [c for c in found[CreateCollection] if isinstance(c, CreateCollection)]
    shards = {c.collection: len(c.shards) for c in created}
    assert len(created) == sum(shards.values())
    dropped = {c.collection for c in found[DropCollection]}  # type: ignore[union-attr]
    assert dropped <= shards.keys()
    [truncated] = found[Unreplicated]
    assert isinstance(truncated, Unreplicated)
    assert truncated.collection in shards
    assert "truncated" in truncated.reason


@pytest.mark.parametrize(
    ("record", "remedy"),
    [(NodeRecord, "`resync`"), (DumpedRecord, "give sourceConfig.etcd, then `resync`")],
)
def test_what_helps_against_a_truncation(record: type[NodeRecord], remedy: str) -> None:
    """An API does not say up to when it was: the log would lead there again."""
    properties = ENCRYPTED | {"_t": "38", "_h": "EAc="}
    head = streaming_pb2.ImmutableMessage(properties=properties).SerializeToString()
    change = decode_record(record("dml_0", b"", head, b""))
    assert isinstance(change, Unreplicated)
    said = "it was truncated at the source, which is not replicated: "
    assert change.reason.startswith(f"{said}{remedy} brings it anew")


@pytest.mark.parametrize("version", LIVES)
def test_what_is_told_is_in_order(version: str) -> None:
    """Each channel's promise only grows, and nothing comes behind it that it covers."""
    ticks: defaultdict[str, int] = defaultdict(int)
    for message in messages(version):
        change = decode_streamed(message.properties, message.payload)
        if isinstance(change, Tick):
            assert change.timestamp >= ticks[message.channel]
            ticks[message.channel] = change.timestamp
        else:
            assert change.timestamp > ticks[message.channel]


def test_rows_of_ten_writers_at_once() -> None:
    """Upserts, which are transactions, come whole and with their deletes first."""
    found: defaultdict[int, dict[int, list[int]]] = defaultdict(dict)
    for change in in_order("2.6.20-writers"):
        rows = found[change.collection] if hasattr(change, "collection") else {}
        if isinstance(change, Delete):
            for key in change.keys:
                rows.pop(int(key), None)
        elif isinstance(change, Insert):
            columns = map(schema_pb2.FieldData.FromString, change.columns)
            numbers = {c.field_name: c.scalars.long_data.data for c in columns}
            for key, value in zip(numbers["id"], numbers["w"], strict=True):
                rows.setdefault(key, []).append(value)
    wanted = list(left_by_writers().values())
    assert len(found) == len(wanted)
    assert all(rows in wanted for rows in found.values())


@pytest.mark.parametrize("version", ["2.6.20", "3.0.0"])
def test_bodies_that_are_cut_off(version: str) -> None:
    """What cannot be read of a collection is said of that collection."""
    for message in messages(version):
        whole = decode_streamed(message.properties, message.payload)
        if isinstance(whole, CUT):
            cut = decode_streamed(message.properties, message.payload[:-1])
            assert isinstance(cut, Unreplicated)
            assert (cut.collection, cut.timestamp) == (
                whole.collection,
                whole.timestamp,
            )
            assert "cannot be read from the log (Error parsing" in cut.reason


@pytest.mark.parametrize("version", ["2.6.20", "3.0.0"])
def test_a_bulk_import(version: str) -> None:
    """Each shard tells of it, which counts only where there is no etcd to tell."""
    found = [each for each in messages(version) if each.properties["_t"] == "11"]
    told = {decode_streamed(each.properties, each.payload) for each in found}
    assert {type(each) for each in told} == {BulkImport}
    assert len({(each.collection, each.number) for each in told}) == 1  # type: ignore[union-attr]
    head = streaming_pb2.ImmutableMessage(properties=found[0].properties)
    sent = "c", found[0].payload, head.SerializeToString(), b""
    assert isinstance(decode_record(DumpedRecord(*sent)), BulkImport)
    assert isinstance(decode_record(NodeRecord(*sent)), Tick)


def test_a_collection_that_is_encrypted() -> None:
    """Its rows cannot be read; its header says which it is."""
    change = decode_streamed(ENCRYPTED, b"\x80\x81")
    assert isinstance(change, Unreplicated)
    assert (change.collection, change.timestamp) == (7, 35)
    assert "encrypts" in change.reason


def test_a_log_that_another_milvus_writes() -> None:
    """It is refused, and whose to take is said."""
    with pytest.raises(OperatorError, match="from another Milvus"):
        decode_streamed(ENCRYPTED | {"_rh": "x"}, b"")


def test_a_log_that_goes_on_elsewhere() -> None:
    """The position is lost, and why is said."""
    with pytest.raises(PositionLostError, match="AlterWAL"):
        decode_streamed({"_t": "700", "_tt": "z"}, b"")


@pytest.mark.parametrize("properties", [{}, {"_t": "2"}, {"_t": "x", "_tt": "1"}])
def test_what_is_no_message_of_a_node(properties: dict[str, str]) -> None:
    """A record of another log says so."""
    with pytest.raises(OperatorError, match=r"no message of a Milvus of 2\.6"):
        decode_streamed(properties, b"")


@pytest.mark.parametrize("header", ["!", "gA=="])
def test_a_header_that_cannot_be_read(header: str) -> None:
    """It is said, not guessed."""
    with pytest.raises(OperatorError, match="header cannot be read"):
        decode_streamed(ENCRYPTED | {"_h": header}, b"")


@pytest.mark.parametrize("channel", ["dml_0_7v0", "dml_0_vcchan"])
@pytest.mark.parametrize(("kind", "name"), [("77", "77"), ("47", "AlterRLSMetadata")])
def test_a_kind_of_later_days(kind: str, name: str, channel: str) -> None:
    """It is told as unknown, by what is known of it, whichever channel has it."""
    properties = {"_t": kind, "_tt": "z", "_vc": channel}
    assert decode_streamed(properties, b"") == Unknown(name, 35)


@pytest.mark.parametrize("channel", ["dml_0_7v0", "dml_0_vcchan"])
def test_fields_that_are_filled_in_past_the_log(channel: str) -> None:
    """The control channel alone may tell of them, unlike of what shards are told."""
    properties = {"_t": "42", "_tt": "z", "_vc": channel, "_h": "CAc="}
    change = decode_streamed(properties, b"")
    assert isinstance(change, Unreplicated)
    assert (change.collection, change.timestamp) == (7, 35)
    assert "past the log" in change.reason
    truncated = properties | {"_t": "38", "_vc": "dml_0_vcchan"}
    assert decode_streamed(truncated, b"") == Tick(35)
