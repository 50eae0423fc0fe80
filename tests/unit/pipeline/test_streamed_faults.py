"""What streaming nodes say that cannot be replicated, and how they fail: the reasons."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from cdc_actors.changes import Position
from cdc_actors.errors import OperatorError, PositionLostError, TransientError
from cdc_actors.source.wal.streaming import stream, streaming_pb2
from cdc_actors.tasks import CollectionState
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
) -> Iterator[StreamedPipeline]:
    """Yield a running task that has all there is."""
    monkeypatch.setattr(stream, "SILENCE_SECONDS", 600.0)
    spec = structs.replace(
        SPEC,
        collection_infos=(),
        db_collections={"*": ("*",)},
        consistency=getattr(request, "param", "tick"),
    )
    with StreamedPipeline(LIFE, spec) as pipeline:
        pipeline.source.play()
        pipeline.start().settle()
        yield pipeline


def base36(number: int) -> str:
    """Return a number as nodes write it."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = DIGITS[digit] + digits
    return digits


def say(
    pipeline: StreamedPipeline,
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
    time = base36(pipeline.source.ticks[channel] + moved)
    made = kept | {"_t": kind, "_tt": time} | properties
    where = {"channel": channel, "id": base36(newest + moved)}
    message = replace(ROWS, **where, properties=made, payload=payload)
    pipeline.source.nodes.append(message)
    return message


def count(pipeline: StreamedPipeline) -> int:
    """Return how many rows the collection of the insert has at the target."""
    entry = pipeline.task.task.collections[COLLECTION]
    found = pipeline.target.found((entry.database, entry.name)) or {}
    return sum(map(len, found.values()))


def wait_until_aside(pipeline: StreamedPipeline, words: str) -> None:
    """Wait until the collection of the insert is set aside for a reason."""
    entries = pipeline.task.task.collections
    pipeline.wait_until(lambda: entries[COLLECTION].state is CollectionState.SET_ASIDE)
    assert words in (entries[COLLECTION].reason or "")
    others = {
        each.state for each in entries.values() if each.collection_id != COLLECTION
    }
    assert others == {CollectionState.LIVE}


def test_a_log_that_goes_on_in_another_queue(pipeline: StreamedPipeline) -> None:
    """The position is lost."""
    say(pipeline, ALTER_WAL, 1)
    error = pipeline.wait_for_failure()
    assert isinstance(error, PositionLostError)
    assert "AlterWAL" in str(error)


def test_a_log_that_another_milvus_writes(pipeline: StreamedPipeline) -> None:
    """It is to be replicated from that one."""
    say(pipeline, INSERT, 1, _rh="x")
    error = pipeline.wait_for_failure()
    assert isinstance(error, OperatorError)
    assert "from another Milvus" in str(error)


def test_a_collection_that_is_encrypted(pipeline: StreamedPipeline) -> None:
    """It alone is set aside."""
    say(pipeline, INSERT, 1, _ch="x")
    say(pipeline, TICK, 2)
    wait_until_aside(pipeline, "the source encrypts it")


def test_fields_that_are_filled_in_past_the_log(pipeline: StreamedPipeline) -> None:
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


def test_rows_that_cannot_be_read(pipeline: StreamedPipeline) -> None:
    """Their collection alone is set aside."""
    say(pipeline, INSERT, 1, payload=ROWS.payload[:-1])
    say(pipeline, TICK, 2)
    wait_until_aside(pipeline, "cannot be read from the log")


def test_a_kind_of_message_of_later_days(pipeline: StreamedPipeline) -> None:
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


@pytest.mark.parametrize("pipeline", ["early"], indirect=True)
def test_rows_behind_a_truncation_are_not_early(pipeline: StreamedPipeline) -> None:
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


def test_a_checkpoint_that_the_log_has_lost(pipeline: StreamedPipeline) -> None:
    """The node begins elsewhere without a word; the next run finds out."""
    pipeline.stop()
    there = sum(each.channel == ROWS.channel for each in messages(LIFE))
    say(pipeline, TICK, 1)
    pipeline.source.nodes.lose(ROWS.channel, there)
    pipeline.begin()
    error = pipeline.wait_for_failure()
    assert isinstance(error, PositionLostError)
    assert "no longer holds" in str(error)


def test_nodes_that_are_away(pipeline: StreamedPipeline) -> None:
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


def test_nodes_that_refuse_to_be_read(pipeline: StreamedPipeline) -> None:
    """It is the operator's affair."""
    pipeline.source.nodes.stop(refuses=True)
    error = pipeline.wait_for_failure()
    assert isinstance(error, OperatorError)
    assert "refuses to be read (UNAUTHENTICATED)" in str(error)


def test_a_source_that_was_made_a_2_6(pipeline: StreamedPipeline) -> None:
    """The task's checkpoints are of the queue that it read before."""
    pipeline.stop()
    for channel, at in pipeline.task.checkpoints.items():
        old = Position(channel, (7).to_bytes(8, "little"), "7")
        pipeline.task.checkpoints[channel] = replace(at, position=old)
    pipeline.begin()
    error = pipeline.wait_for_failure()
    assert isinstance(error, PositionLostError)
    assert "before it became a Milvus of 2.6" in str(error)
