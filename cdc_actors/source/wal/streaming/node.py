"""Calls of a streaming node: which one has a channel, and what it delivers.

The node's own clients call it like this, too (2.6.20: ``internal/streamingnode/server/
service/handler``, ``internal/streamingnode/client/handler``). It asks for no login.
"""

from __future__ import annotations

import base64
import queue
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import grpc

from cdc_actors.errors import (
    CdcError,
    OperatorError,
    PositionLostError,
    TransientError,
)
from cdc_actors.grpc_common import ACCESS_REFUSED, REFUSED
from cdc_actors.source.catalog.parsing import parse
from cdc_actors.source.wal.streaming import streaming_pb2
from cdc_actors.source.wal.streaming.delivery import Delivery, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cdc_actors.source.catalog.client import Catalog

PLACES = "streamingcoord-meta/pchannel/"
"""Keys below the metadata's root path: which node has a physical channel."""

_ASSIGNED = 3
METHOD = "/milvus.proto.streaming.StreamingNodeHandlerService/Consume"
_MOVED = {1, 2, 3, 5}
"""The node does not have the channel, has just given it up, is ending, or has it for
another term (``StreamingCode``)."""

_OTHER_QUEUE = "wal name mismatch"
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
]


class ChannelMovedError(TransientError):
    """The node that was asked has not the channel: the catalog says which one has."""


def find_node(
    channel: str, catalog: Callable[[], Catalog]
) -> streaming_pb2.PChannelMeta | None:
    """Return which node has a channel, None if there is no such channel.

    Raises:
        ChannelMovedError: It is on its way from one to another.
        CdcError: Etcd does not answer, or refuses.
    """
    with closing(catalog()) as opened:
        pairs = dict(opened.read_below([PLACES + channel]))
    key = PLACES + channel
    if key not in pairs:
        return None
    found: streaming_pb2.PChannelMeta = parse(
        streaming_pb2.PChannelMeta, (key, pairs[key])
    )
    if found.state != _ASSIGNED or not found.node.address:
        raise ChannelMovedError(f"no streaming node has {channel} for now")
    return found


class Connections:
    """Connections of one reader to nodes, one to each. Any thread.

    Calls share it: each connection wakes threads of its own. Once one is broken its calls
    fail, and with them the reader.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: dict[str, grpc.Channel] = {}
        self._closed = False

    def to(self, address: str) -> grpc.Channel:
        """Return the connection to an address, which may be opened by it."""
        with self._lock:
            if self._closed:
                raise TransientError("the connections to streaming nodes are closed")
            if address not in self._opened:
                self._opened[address] = grpc.insecure_channel(address, _OPTIONS)
            return self._opened[address]

    def close(self) -> None:
        """End every call. Idempotent."""
        with self._lock:
            self._closed = True
            opened, self._opened = self._opened, {}
        for connection in opened.values():
            connection.close()


class Consumer:
    """One call of Consume. One thread iterates, any may ``close``.

    Iterating raises ``ChannelMovedError``, ``PositionLostError``, ``OperatorError`` or
    ``TransientError``.
    """

    def __init__(
        self,
        found: streaming_pb2.PChannelMeta,
        policy: streaming_pb2.DeliverPolicy | None,
        connections: Connections,
        timeout: float | None = None,
    ) -> None:
        """``policy`` says where to begin; without one only the queue's name comes."""
        self._where = f"the streaming node {found.node.address}"
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        if policy is not None:
            create = streaming_pb2.CreateVChannelConsumerRequest(
                deliver_policy=policy, ignore_pause_consumption=True
            )
            self._requests.put(
                streaming_pb2.ConsumeRequest(create_vchannel_consumer=create)
            )
        asked = streaming_pb2.CreateConsumerRequest(pchannel=found.channel)
        text = base64.b64encode(asked.SerializeToString()).decode()
        self._stream = connections.to(found.node.address).stream_stream(
            METHOD,
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=read,
        )(
            iter(self._requests.get, None),
            timeout=timeout,
            metadata=(("create-consumer", text),),
        )

    def queue_name(self) -> str:
        """Return what the node calls the queue of its log: the first thing it says."""
        with self._failures():
            return str(next(self._stream).create.wal_name)

    def messages(self) -> Iterator[Delivery]:
        """Yield messages in the order of their times, until the stream fails."""
        with self._failures():
            for response in self._stream:
                if isinstance(response, Delivery):
                    yield response
        raise TransientError(f"{self._where} ended the stream")

    def close(self) -> None:
        """End the call. Idempotent."""
        self._stream.cancel()
        self._requests.put(None)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise _translated(self._where, error) from error
        except StopIteration as error:
            raise TransientError(f"{self._where} ended the stream") from error


def _translated(where: str, error: grpc.RpcError) -> CdcError:
    """The node's words are in the trailing metadata: the call's details are empty."""
    reason = _reason(error)
    status = error.code()
    text = f"{where}: {reason.cause or error.details() or status.name}"
    if _OTHER_QUEUE in reason.cause:
        return PositionLostError(
            f"{text}: the source has switched its log to another message queue"
        )
    if reason.code in _MOVED:
        return ChannelMovedError(text)
    if status in ACCESS_REFUSED or status in REFUSED:
        return OperatorError(f"{where} refuses to be read ({status.name}): {text}")
    return TransientError(text)


def _reason(error: grpc.RpcError) -> streaming_pb2.StreamingError:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            details = streaming_pb2.Status.FromString(value).details
            if details:
                return streaming_pb2.StreamingError.FromString(details[0].value)
    return streaming_pb2.StreamingError()
