"""What streaming nodes, or the API, say that cannot be replicated, and how they fail."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc
import pytest
from msgspec import structs

from cdc_actors.changes import Position, to_hybrid_ts
from cdc_actors.errors import OperatorError, PositionLostError, TransientError
from cdc_actors.source.wal.streaming import dump, stream, streaming_pb2
from cdc_actors.source.wal.streaming.positions import Place, position_of
from cdc_actors.tasks import CollectionState
from tests.fakes.public_source import PublicPipeline
from tests.fakes.streamed_source import StreamedPipeline
from tests.support.recorded_life import messages
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.recorded_life import NodeMessage

LIFE = "2.6.20-writers"
TICK, INSERT, TRUNCATE, MANIFEST, ALTER_WAL = "1", "2", "38", "42", "700"
LATER = "77"
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
ROWS = next(
    each
    for each in messages(LIFE)
    if each.properties["_t"] == INSERT and "_tx" not in each.properties
)
"""An insert, its channel and its collection."""


def collection_of(rows: NodeMessage) -> int:
    """Return the collection of an insert."""
    header = base64.b64decode(rows.properties["_h"])
    return streaming_pb2.RowsHeader.FromString(header).collection_id


COLLECTION = collection_of(ROWS)


@pytest.fixture
def pipeline(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StreamedPipeline | PublicPipeline]:
    """Yield a running task that has all there is."""
    monkeypatch.setattr(stream, "SILENCE_SECONDS", 600.0)
    monkeypatch.setattr(dump, "AHEAD_SECONDS", 0.05)
    kind, consistency = getattr(request, "param", (StreamedPipeline, "tick"))
    spec = structs.replace(
        SPEC,
        collection_infos=(),
        db_collections={"*": ("*",)},
        consistency=consistency,
    )
    with kind(LIFE, spec) as pipeline:
        pipeline.source.play()
        pipeline.start().settle()
        yield pipeline


EITHER_WAY = pytest.mark.parametrize(
    "pipeline",
    [(StreamedPipeline, "tick"), (PublicPipeline, "tick")],
    ids=["nodes", "API"],
    indirect=True,
)
BY_API = pytest.mark.parametrize(
    "pipeline", [(PublicPipeline, "tick")], ids=["API"], indirect=True
)


def base36(number: int) -> str:
    """Return a number as nodes write it."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = DIGITS[digit] + digits
    return digits


def say(
    pipeline: StreamedPipeline | PublicPipeline,
    kind: str,
    moved: int,
    header: bytes = b"",
    channel: str = ROWS.channel,
    payload: bytes = ROWS.payload,
    **properties: str,
) -> NodeMessage:
    """Have a channel say something, so much later than all that it said."""
    newest = max(int(each.id, 36) for each in messages(LIFE) if each.channel == channel)
    kept = {key: ROWS.properties[key] for key in ("_v", "_vc", "_h")}
    if header:
        kept["_h"] = base64.b64encode(header).decode()
    where = {"channel": channel, "id": base36(newest + moved)}
    with pipeline.source.held():
        time = base36(pipeline.source.latest(channel) + moved)
        made = kept | {"_t": kind, "_tt": time} | properties
        message = replace(ROWS, **where, properties=made, payload=payload)
        pipeline.source.say(message)
    return message


def count(pipeline: StreamedPipeline | PublicPipeline) -> int:
    """Return how many rows the collection of the insert has at the target."""
    entry = pipeline.task.task.collections[COLLECTION]
    found = pipeline.target.found((entry.database, entry.name)) or {}
    return sum(map(len, found.values()))


def wait_until_aside(pipeline: StreamedPipeline | PublicPipeline, words: str) -> None:
    """Wait until the collection of the insert is set aside for a reason."""
    entries = pipeline.task.task.collections
    pipeline.wait_until(lambda: entries[COLLECTION].state is CollectionState.SET_ASIDE)
    assert words in (entries[COLLECTION].reason or "")
    others = {
        each.state for each in entries.values() if each.collection_id != COLLECTION
    }
    assert others == {CollectionState.LIVE}


@EITHER_WAY
def test_a_log_that_goes_on_in_another_queue(
    pipeline: StreamedPipeline | PublicPipeline,
) -> None:
    """The position is lost."""
    say(pipeline, ALTER_WAL, 1)
    error = pipeline.wait_for_failure()
    assert isinstance(error, PositionLostError)
    assert "AlterWAL" in str(error)


@EITHER_WAY
def test_a_log_that_another_milvus_writes(
    pipeline: StreamedPipeline | PublicPipeline,
) -> None:
    """It is to be replicated from that one."""
    say(pipeline, INSERT, 1, _rh="x")
    error = pipeline.wait_for_failure()
    assert isinstance(error, OperatorError)
    assert "from another Milvus" in str(error)


@EITHER_WAY
def test_a_collection_that_is_encrypted(
    pipeline: StreamedPipeline | PublicPipeline,
) -> None:
    """It alone is set aside."""
    say(pipeline, INSERT, 1, _ch="x")
    say(pipeline, TICK, 2)
    wait_until_aside(pipeline, "the source encrypts it")


def test_fields_that_are_filled_in_past_the_log(
    pipeline: StreamedPipeline | PublicPipeline,
) -> None:
    """Another channel than the collection's own says so."""
    foreign = next(
        each.channel
        for each in messages(LIFE)
        if each.properties["_t"] == INSERT and collection_of(each) != COLLECTION
    )
    header = streaming_pb2.RowsHeader(collection_id=COLLECTION).SerializeToString()
    say(pipeline, MANIFEST, 1, header, channel=foreign, _vc=f"{foreign}_vcchan")
    say(pipeline, TICK, 2, channel=foreign)
    wait_until_aside(pipeline, "past the log")


@EITHER_WAY
def test_rows_that_cannot_be_read(pipeline: StreamedPipeline | PublicPipeline) -> None:
    """Their collection alone is set aside."""
    say(pipeline, INSERT, 1, payload=ROWS.payload[:-1])
    say(pipeline, TICK, 2)
    wait_until_aside(pipeline, "cannot be read from the log")


@EITHER_WAY
def test_a_kind_of_message_of_later_days(
    pipeline: StreamedPipeline | PublicPipeline,
) -> None:
    """It is written down as what was not done, and everything goes on."""
    before = count(pipeline)
    say(pipeline, LATER, 1)
    say(pipeline, INSERT, 2)
    say(pipeline, TICK, 3)
    pipeline.wait_until(lambda: count(pipeline) > before)
    [refused] = pipeline.task.task.refusals
    assert (refused.kind, refused.detail["refused"]) == (
        LATER,
        "this version does not know the operation",
    )


@pytest.mark.parametrize("pipeline", [(StreamedPipeline, "early")], indirect=True)
def test_rows_behind_a_truncation_are_not_early(
    pipeline: StreamedPipeline | PublicPipeline,
) -> None:
    """They would be there, and the collection goes no further."""
    before = count(pipeline)
    header = streaming_pb2.TruncateHeader(collection_id=COLLECTION)
    say(pipeline, TRUNCATE, 1, header.SerializeToString())
    say(pipeline, INSERT, 2)
    pipeline.wait_until(lambda: pipeline.memory.used > 0)
    pipeline.wait_for_steps()
    say(pipeline, TICK, 3)
    wait_until_aside(pipeline, "truncated at the source")
    assert count(pipeline) == before


def test_a_checkpoint_that_the_log_has_lost(
    pipeline: StreamedPipeline | PublicPipeline,
) -> None:
    """The node begins elsewhere without a word; the next run finds out."""
    pipeline.stop()
    there = sum(each.channel == ROWS.channel for each in messages(LIFE))
    say(pipeline, TICK, 1)
    pipeline.source.nodes.lose(ROWS.channel, there)
    pipeline.begin()
    error = pipeline.wait_for_failure()
    assert isinstance(error, PositionLostError)
    assert "no longer holds" in str(error)


def test_nodes_that_are_away(pipeline: StreamedPipeline | PublicPipeline) -> None:
    """The run fails in their words, and the next one goes on."""
    pipeline.source.nodes.stop()
    error = pipeline.wait_for_failure()
    assert isinstance(error, TransientError)
    assert "the node is away" in str(error)
    pipeline.source.nodes.start()
    before = count(pipeline)
    say(pipeline, INSERT, 1)
    say(pipeline, TICK, 2)
    pipeline.start()
    pipeline.wait_until(lambda: count(pipeline) > before)


def test_streams_that_end(pipeline: StreamedPipeline | PublicPipeline) -> None:
    """Nothing more is said, as of a quiet channel: it is not taken for one."""
    pipeline.source.nodes.end_streams()
    error = pipeline.wait_for_failure()
    assert isinstance(error, TransientError)
    assert "ended the stream" in str(error)


def test_nodes_that_refuse_to_be_read(
    pipeline: StreamedPipeline | PublicPipeline,
) -> None:
    """It is the operator's affair."""
    pipeline.source.nodes.stop(refuses=True)
    error = pipeline.wait_for_failure()
    assert isinstance(error, OperatorError)
    assert "refuses to be read (UNAUTHENTICATED)" in str(error)


def test_a_source_that_was_made_a_2_6(
    pipeline: StreamedPipeline | PublicPipeline,
) -> None:
    """The task's checkpoints are of the queue that it read before."""
    pipeline.stop()
    for channel, at in pipeline.task.checkpoints.items():
        old = Position(channel, (7).to_bytes(8, "little"), "7")
        pipeline.task.checkpoints[channel] = replace(at, position=old)
    pipeline.begin()
    error = pipeline.wait_for_failure()
    assert isinstance(error, PositionLostError)
    assert "before it became a Milvus of 2.6" in str(error)


@BY_API
def test_an_api_that_is_away(pipeline: PublicPipeline) -> None:
    """The run fails in its words, and the next one goes on."""
    pipeline.source.api.fail(grpc.StatusCode.UNAVAILABLE, "it is away")
    error = pipeline.wait_for_failure()
    assert isinstance(error, TransientError)
    assert "it is away" in str(error)
    pipeline.source.api.fail(None)
    before = count(pipeline)
    say(pipeline, INSERT, 1)
    pipeline.start()
    pipeline.wait_until(lambda: count(pipeline) > before)


@BY_API
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "refuses the login"),
        (grpc.StatusCode.PERMISSION_DENIED, "refuses a privilege to the user"),
        (grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED"),
    ],
)
def test_an_api_that_refuses_to_be_read(
    pipeline: PublicPipeline, status: grpc.StatusCode, words: str
) -> None:
    """It is the operator's affair."""
    pipeline.source.api.fail(status, "who are you")
    error = pipeline.wait_for_failure()
    assert isinstance(error, OperatorError)
    assert words in str(error)


@BY_API
def test_a_call_that_ends_before_its_time(pipeline: PublicPipeline) -> None:
    """Its end is not taken for a tick."""
    pipeline.source.api.end_early()
    error = pipeline.wait_for_failure()
    assert isinstance(error, TransientError)
    assert "ended before it should" in str(error)


@BY_API
def test_a_position_that_the_log_of_an_api_has_lost(pipeline: PublicPipeline) -> None:
    """It begins elsewhere without a word; the next run finds out."""
    pipeline.stop()
    say(pipeline, INSERT, 1)
    pipeline.source.api.lose(ROWS.channel)
    say(pipeline, INSERT, 2)
    pipeline.source.api.ahead = to_hybrid_ts(2 * dump.RECENT_SECONDS)
    pipeline.begin()
    error = pipeline.wait_for_failure()
    assert isinstance(error, PositionLostError)
    assert "the log no longer holds anything from before" in str(error)


@BY_API
def test_a_message_that_the_log_forgets_is_no_loss(pipeline: PublicPipeline) -> None:
    """An idle channel's last message may be gone: what came since is there."""
    pipeline.stop()
    pipeline.source.api.lose(ROWS.channel)
    before = count(pipeline)
    say(pipeline, INSERT, 1)
    pipeline.start()
    pipeline.wait_until(lambda: count(pipeline) > before)


@BY_API
def test_positions_of_another_queue(pipeline: PublicPipeline) -> None:
    """They are lost: the source reads its own queue alone."""
    pipeline.stop()
    for channel, at in pipeline.task.checkpoints.items():
        other = position_of(channel, Place(4, "CAEQAQ==", "CAEQAQ==", 1))
        pipeline.task.checkpoints[channel] = replace(at, position=other)
    pipeline.begin()
    error = pipeline.wait_for_failure()
    assert isinstance(error, PositionLostError)
    assert "switched its log to another message queue" in str(error)


@BY_API
@pytest.mark.parametrize("version", ["2.6.14", "2.6.19"])
def test_a_milvus_whose_api_does_not_tell_its_log(
    pipeline: PublicPipeline, version: str
) -> None:
    """The reason says what to do."""
    pipeline.stop()
    pipeline.source.api.version = version
    pipeline.begin()
    error = pipeline.wait_for_failure()
    assert isinstance(error, OperatorError)
    assert f"the source is Milvus {version}, whose API" in str(error)
    assert "sourceConfig.etcd.address" in str(error)
