"""What a node delivers is read as protobuf reads it, be it large or not."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_actors.source.wal.streaming import delivery, streaming_pb2

BODIES = st.binary(max_size=300) | st.integers(0, 1 << 17).map(bytes)
TEXTS = st.text(max_size=200)


@pytest.mark.parametrize("large", [0, delivery.LARGE])
@given(
    BODIES, TEXTS, st.dictionaries(TEXTS, TEXTS, max_size=5), st.integers(0, 1 << 62)
)
def test_head_and_body(
    large: int, body: bytes, number: str, properties: dict[str, str], consumer: int
) -> None:
    """Every part of a message comes, whatever stands around its body."""
    response = streaming_pb2.ConsumeResponse()
    response.consume.consumer_id = consumer
    message = response.consume.message
    message.id.id, message.payload = number, body
    message.properties.update(properties)
    with mock.patch.object(delivery, "LARGE", large):
        found = delivery.read(response.SerializeToString())
    assert isinstance(found, delivery.Delivery)
    assert found.payload == body
    message.ClearField("payload")
    assert found.message == message


@pytest.mark.parametrize("large", [0, delivery.LARGE])
def test_what_is_no_message(large: int) -> None:
    """Anything else is left to protobuf, and so is what comes to look otherwise."""
    created = streaming_pb2.ConsumeResponse()
    created.create.wal_name = "rocksmq"
    other = bytes([0x80 | 2, 1, 0]) + created.SerializeToString()
    with mock.patch.object(delivery, "LARGE", large):
        for response in (created.SerializeToString(), other):
            found = delivery.read(response)
            assert isinstance(found, streaming_pb2.ConsumeResponse)
            assert found.create.wal_name == "rocksmq"
