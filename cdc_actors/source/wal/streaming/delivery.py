"""Messages as a source delivers them, each in a response of its own.

Protobuf copies a body when it parses it, and once more when it is asked for it. Large ones
are taken out of the response at once: response, delivered message and body are all the
second field of what is around them, and that of DumpMessages has one field less around.
Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.source.wal.streaming import streaming_pb2

if TYPE_CHECKING:
    from typing import Any

LARGE = 64 << 10
"""Bytes from which on a copy costs more than to look for the body."""

_SECOND = 0x12  # The tag of a second field that has a length.
_KIND_BITS, _NUMBER, _WITH_LENGTH = 7, 0, 2
_MORE = 0x80


class Delivery(NamedTuple):
    """A message without its body, and the body."""

    message: streaming_pb2.ImmutableMessage
    payload: bytes


def read(response: bytes) -> Delivery | streaming_pb2.ConsumeResponse:
    """Return what a node delivers, or what else it says."""
    if large := _taken_out(response, 2):
        return large
    parsed = streaming_pb2.ConsumeResponse.FromString(response)
    return _delivered(parsed.consume.message) if parsed.HasField("consume") else parsed


def read_dumped(response: bytes) -> Delivery | milvus_pb2.DumpMessagesResponse:
    """Return what DumpMessages delivers, or what else it says."""
    if large := _taken_out(response, 1):
        return large
    parsed = streaming_pb2.DumpMessagesResponse.FromString(response)
    if parsed.HasField("message"):
        return _delivered(parsed.message)
    return milvus_pb2.DumpMessagesResponse.FromString(response)


def _delivered(message: Any) -> Delivery:
    payload = message.payload
    message.ClearField("payload")
    return Delivery(message, payload)


def _taken_out(response: bytes, depth: int) -> Delivery | None:
    """Return a large message that is so deep in a response."""
    found = _places(response, depth) if len(response) >= LARGE else None
    if found is None:
        return None
    message, body = found
    head = response[message.start : body.tag] + response[body.stop : message.stop]
    return Delivery(
        streaming_pb2.ImmutableMessage.FromString(head),
        response[body.start : body.stop],
    )


class _Place(NamedTuple):
    """Where a field stands: its tag, and its value."""

    tag: int
    start: int
    stop: int


def _places(response: bytes, depth: int) -> tuple[_Place, _Place] | None:
    """Return where the message and its body are; None if they are not found like this."""
    message: _Place | None = _Place(0, 0, len(response))
    for _ in range(depth):
        message = message and _second(response, message)
    body = message and _second(response, message)
    return (message, body) if message and body else None


def _second(data: bytes, around: _Place) -> _Place | None:
    at = around.start
    while at < around.stop:
        tag, tag_at = data[at], at
        value, at = _varint(data, at + 1)
        kind = tag & _KIND_BITS
        if tag == _SECOND:
            return _Place(tag_at, at, at + value)
        if tag >= _MORE or kind not in (_NUMBER, _WITH_LENGTH):
            return None
        at += value if kind == _WITH_LENGTH else 0
    return None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number, seven bits a byte, and what stands behind it."""
    value = shift = 0
    while data[at] >= _MORE:
        value |= (data[at] - _MORE) << shift
        at, shift = at + 1, shift + 7
    return value | data[at] << shift, at + 1
