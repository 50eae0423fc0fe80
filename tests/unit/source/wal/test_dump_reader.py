"""Reading a recorded log of 2.6 by DumpMessages alone: order, restarts, what is lost."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.changes import Insert, Tick, Unreplicated, to_hybrid_ts
from cdc_actors.errors import OperatorError, PositionLostError, TransientError
from cdc_actors.source.public_api import PublicApi
from cdc_actors.source.streamed import decode_record, decode_streamed
from cdc_actors.source.wal.streaming import delivery, dump, stream, streaming_pb2
from cdc_actors.source.wal.streaming.dump_reader import DumpReader
from cdc_actors.source.wal.streaming.positions import (
    Place,
    creation_id,
    place_of,
    position_of,
)
from tests.fakes.public_api import PublicApiServer
from tests.support.recorded_life import messages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.changes import Change, Record
    from tests.support.recorded_life import NodeMessage

LIFE = "2.6.20-writers"
PATIENCE = 60.0
NOT_DUMPED = {"1", "10"}
LONG = to_hybrid_ts(2 * dump.RECENT_SECONDS)
CHANNEL = next(m.channel for m in messages(LIFE) if m.properties["_t"] == "2")


@pytest.fixture(autouse=True)
def _briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have idle channels tick more often."""
    monkeypatch.setattr(dump, "AHEAD_SECONDS", 0.05)


@pytest.fixture
def server() -> Iterator[PublicApiServer]:
    """Yield an API that has all of a life."""
    with closing(server_of(LIFE)) as server:
        yield server


@pytest.fixture
def reader(server: PublicApiServer) -> Iterator[DumpReader]:
    """Yield a reader."""
    with reader_of(server) as reader:
        yield reader


def server_of(life: str, until: NodeMessage | None = None) -> PublicApiServer:
    """Return an API that has all of a life, up to a message, and no catalog."""
    recorded = messages(life)
    recorded = recorded[: recorded.index(until) + 1] if until else recorded
    queue = "woodpecker" if life.endswith("woodpecker") else "rocksmq"
    channels = {each.channel for each in recorded}
    server = PublicApiServer("2.6.20", lambda: None, lambda: 0, channels, queue)  # type: ignore[arg-type, return-value]
    for message in recorded:
        server.append(message)
    server.be_over()
    return server


def reader_of(server: PublicApiServer) -> DumpReader:
    """Return another reader."""
    return DumpReader(PublicApi(server.uri, "root:Milvus"))


def log(channel: str = CHANNEL, life: str = LIFE) -> list[NodeMessage]:
    """Return what DumpMessages has of a channel."""
    return [
        each
        for each in messages(life)
        if each.channel == channel and each.properties["_t"] not in NOT_DUMPED
    ]


def take(reader: DumpReader, until: int) -> list[tuple[Record, Change | Tick]]:
    """Read until a tick of some time has come."""
    found: list[tuple[Record, Change | Tick]] = []
    end = time.monotonic() + PATIENCE
    while not any(isinstance(c, Tick) and c.timestamp >= until for _, c in found):
        assert time.monotonic() < end, f"{len(found)} records came"
        found += [(each, decode_record(each)) for each in reader.poll(0.2)]
    return found


def rows(found: list[tuple[Record, Change | Tick]]) -> list[Change]:
    """Return what is no tick."""
    return [change for _, change in found if not isinstance(change, Tick)]


def wanted(found: list[NodeMessage]) -> list[Change | Tick]:
    """Return the same of what was recorded."""
    read = [decode_streamed(m.properties, m.payload) for m in found]
    return [each for each in read if not isinstance(each, Tick)]


def time_of(message: NodeMessage) -> int:
    """Return when something was written."""
    return int(message.properties["_tt"], 36)


@pytest.mark.parametrize("life", [LIFE, "2.6.20-woodpecker"])
def test_all_channels_of_a_life(life: str) -> None:
    """Every message comes, in order, as it was recorded; no tick comes before it may."""
    channels = sorted({each.channel for each in messages(life)})
    with closing(server_of(life)) as server, reader_of(server) as reader:
        for channel in channels:
            reader.subscribe(channel, None)
        until = server.now
        found: dict[str, list[Change | Tick]] = {each: [] for each in channels}
        end = time.monotonic() + PATIENCE
        while not all(_covers(each, until) for each in found.values()):
            assert time.monotonic() < end
            for record in reader.poll(0.2):
                found[record.channel].append(decode_record(record))
    for channel in channels:
        own = found[channel]
        said = [c for c in own if not isinstance(c, Tick)]
        assert [_as_written(each) for each in said] == wanted(log(channel, life))
        promised = 0
        for change in own:
            if isinstance(change, Tick):
                promised = max(promised, change.timestamp)
            else:
                assert change.timestamp > promised


def _as_written(change: Change | Tick) -> Change | Tick:
    """Return a change without what the reader says of what helps."""
    if isinstance(change, Unreplicated):
        return replace(change, reason=change.reason.partition(": ")[0])
    return change


def _covers(found: list[Change | Tick], until: int) -> bool:
    ticks = [each.timestamp for each in found if isinstance(each, Tick)]
    return max(ticks, default=0) > until


def test_rows_wait_for_no_tick_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a row is, what is before it is there, too: it is a promise itself."""
    monkeypatch.setattr(dump, "AHEAD_SECONDS", 3600.0)
    single = [
        m for m in log() if m.properties["_t"] == "2" and "_tx" not in m.properties
    ]
    last = single[-1]
    with closing(server_of(LIFE, last)) as server, reader_of(server) as reader:
        reader.subscribe(CHANNEL, None)
        found = take(reader, time_of(last))
    assert isinstance(found[-2][1], Insert)
    assert found[-1][1] == Tick(time_of(last))


def test_it_goes_on_behind_any_record(server: PublicApiServer) -> None:
    """Behind each comes what is behind it; of a transaction that is not over, all."""
    with reader_of(server) as reader:
        reader.subscribe(CHANNEL, None)
        first = take(reader, time_of(log()[-1]))
    last = time_of(log()[-1])
    for number in range(0, len(first), 17):
        record, change = first[number]
        with reader_of(server) as reader:
            reader.subscribe(CHANNEL, record.position, inclusive=False)
            found = take(reader, last)
        seen = place_of(record.position).seen
        assert rows(found) == wanted([m for m in log() if time_of(m) > seen]), change


def test_a_record_itself_comes_once_more_if_wanted(server: PublicApiServer) -> None:
    """So does all that is behind it."""
    last = time_of(log()[-1])
    with reader_of(server) as reader:
        reader.subscribe(CHANNEL, None)
        first = take(reader, last)
    inserts = [each for each in first if isinstance(each[1], Insert)]
    for record, change in inserts[::20]:
        with reader_of(server) as reader:
            reader.subscribe(CHANNEL, record.position)
            found = take(reader, last)
        assert rows(found) == wanted(
            [m for m in log() if time_of(m) >= change.timestamp]
        )


def test_an_idle_channel_ticks(reader: DumpReader) -> None:
    """Its ticks stand behind its last message, and one can go on from any of them."""
    last = time_of(log()[-1])
    reader.subscribe(CHANNEL, None)
    record, tick = take(reader, last + 1)[-1]
    place = place_of(record.position)
    assert isinstance(tick, Tick)
    assert place.time == last
    assert place.seen == tick.timestamp
    assert reader.holds(record.position)
    assert reader.reached(record.position, position_of(CHANNEL, place._replace(seen=5)))


def test_where_collections_begin(server: PublicApiServer, reader: DumpReader) -> None:
    """The catalog has no id: what a channel tells around the time is looked through."""
    creation = next(m for m in messages(LIFE) if m.properties["_t"] == "5")
    channel, at = creation.channel, time_of(creation)
    number = decode_streamed(creation.properties, creation.payload).collection  # type: ignore[union-attr]
    start = reader.position(channel, creation_id(number, at))
    server.ahead = LONG
    assert reader.holds(start)
    assert not reader.holds(reader.position(channel, creation_id(number + 1, at)))
    reader.subscribe(channel, start)
    last = log(channel)[-1]
    assert rows(take(reader, time_of(last))) == wanted(log(channel))


def test_a_beginning_that_the_log_has_lost(
    server: PublicApiServer, reader: DumpReader
) -> None:
    """It is found out before anything is delivered."""
    creation = next(m for m in messages(LIFE) if m.properties["_t"] == "5")
    number = decode_streamed(creation.properties, creation.payload).collection  # type: ignore[union-attr]
    start = reader.position(creation.channel, creation_id(number, time_of(creation)))
    server.lose(creation.channel)
    server.ahead = 200 * LONG
    assert not reader.holds(start)
    reader.subscribe(creation.channel, start)
    with pytest.raises(PositionLostError, match=f"creation of the collection {number}"):
        take(reader, server.now)


def test_positions_with_the_ids_of_a_queue(
    server: PublicApiServer, reader: DumpReader
) -> None:
    """As milvus-backup has them; the log holds them while it has what is older."""
    message = log()[3]
    start = reader.position(CHANNEL, int(message.id, 36).to_bytes(8, "little"))
    assert place_of(start) == Place(1, message.id, message.id, 0)
    assert reader.holds(start)
    server.lose(CHANNEL)
    assert not reader.holds(start)


def test_the_ends_of_a_log(server: PublicApiServer, reader: DumpReader) -> None:
    """The oldest is its first message, the newest is now."""
    oldest, newest = reader.oldest(CHANNEL), reader.newest(CHANNEL)
    assert oldest is not None
    assert newest is not None
    assert place_of(oldest).id == log()[0].id
    assert reader.reached(newest, oldest)
    assert not reader.reached(oldest, newest)
    assert reader.written_since(CHANNEL, 0) is None
    assert reader.kept_seconds(CHANNEL) is None
    server.lose(CHANNEL)
    assert reader.oldest(CHANNEL) is None


@pytest.mark.parametrize(
    ("seconds", "held"), [(dump.KEPT_SECONDS / 2, True), (2 * dump.KEPT_SECONDS, False)]
)
def test_a_log_that_is_empty(
    server: PublicApiServer, reader: DumpReader, seconds: float, *, held: bool
) -> None:
    """Whatever was written lately would be there."""
    newest = reader.newest(CHANNEL)
    assert newest is not None
    server.lose(CHANNEL)
    server.ahead = to_hybrid_ts(seconds)
    assert reader.holds(newest) is held


def test_a_position_of_a_streaming_node(reader: DumpReader) -> None:
    """It is one of the API, too: a task may change from one way to the other."""
    message = log()[5]
    moment = time_of(message)
    place = Place(1, message.properties["_lc"], message.id, moment)
    reader.subscribe(CHANNEL, position_of(CHANNEL, place), inclusive=False)
    behind = [m for m in log() if time_of(m) >= moment]
    assert rows(take(reader, time_of(log()[-1]))) == wanted(behind)


def test_whether_the_api_answers(server: PublicApiServer, reader: DumpReader) -> None:
    """It refuses a call without arguments where it would not refuse another."""
    reader.reach()
    server.fail(grpc.StatusCode.UNAUTHENTICATED, "who are you")
    with pytest.raises(OperatorError, match="refuses the login"):
        reader.reach()
    server.fail(grpc.StatusCode.UNAVAILABLE, "away")
    with pytest.raises(TransientError, match="away"):
        reader.reach()


def test_an_api_that_says_nothing_more(
    server: PublicApiServer, reader: DumpReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that does not end either has lost its log: it is not taken for idle."""
    monkeypatch.setattr(stream, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(dump, "AHEAD_SECONDS", 3600.0)
    reader.subscribe(CHANNEL, reader.newest(CHANNEL))
    with pytest.raises(TransientError, match="neither delivered anything nor ended"):
        take(reader, server.now)


class _Answering:
    """An API of which every call of DumpMessages has one answer."""

    def __init__(self, answer: milvus_pb2.DumpMessagesResponse) -> None:
        self._answer = answer

    def stream(self, _method: str, _request: Any, read: Any) -> Any:
        """Answer, as gRPC would have it."""
        return iter([read(self._answer.SerializeToString())])

    def time(self) -> int:
        """Tell the time."""
        return 7


@pytest.mark.parametrize(
    ("code", "error"), [(1401, OperatorError), (2, TransientError)]
)
def test_a_status_in_place_of_a_message(code: int, error: type[Exception]) -> None:
    """It is no message, and what it means counts."""
    answer = milvus_pb2.DumpMessagesResponse()
    answer.status.code, answer.status.reason = code, "not you"
    request = milvus_pb2.DumpMessagesRequest(end_timetick=5)
    with pytest.raises(error, match="not you"):
        list(dump.Dump(_Answering(answer), request).messages())  # type: ignore[arg-type]
    answer.status.code = 0
    [tick] = dump.Dump(_Answering(answer), request).messages()  # type: ignore[arg-type]
    assert tick.message == dump.tick_at(5)


def test_it_is_not_subscribed_twice(reader: DumpReader) -> None:
    """That is a mistake of ours."""
    reader.subscribe(CHANNEL, None)
    with pytest.raises(ValueError, match="already subscribed"):
        reader.subscribe(CHANNEL, None)


@pytest.mark.parametrize("size", [10, delivery.LARGE + 1])
def test_a_body_is_taken_out_of_the_answer(size: int) -> None:
    """Small or large, it is what was sent, and not in the head any more."""
    sent = streaming_pb2.DumpMessagesResponse()
    sent.message.id.id = "1a"
    sent.message.payload = bytes(size)
    sent.message.properties["_t"] = "2"
    found = delivery.read_dumped(sent.SerializeToString())
    assert isinstance(found, delivery.Delivery)
    assert found.payload == bytes(size)
    assert (found.message.id.id, found.message.payload) == ("1a", b"")
    assert dict(found.message.properties) == {"_t": "2"}
