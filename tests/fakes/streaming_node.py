"""Streaming nodes of a Milvus 2.6: real gRPC servers that speak Consume.

What they did was seen at 2.6.20: an id that is not in the log begins at the oldest message,
without an error; a start inside a transaction leaves the transaction out; a wrong term is
refused in the trailing metadata; ticks of an idle channel have the last stored id.
"""

from __future__ import annotations

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

import grpc

from cdc_actors.source.wal.streaming import streaming_pb2
from cdc_actors.source.wal.streaming.node import PLACES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from tests.support.recorded_life import NodeMessage

_ASSIGNED = 3
_FENCED, _UNMATCHED_TERM, _OTHER_QUEUE = 2, 5, 14
_QUEUES = {"rocksmq": 1, "woodpecker": 4}
_COMMIT = "901"
_LONG = 60.0


class Directory(Protocol):
    """An etcd, as far as nodes write to it."""

    def put(self, key: str, value: bytes) -> None:
        """Write a pair of the metadata."""


class _Channel:
    def __init__(self) -> None:
        self.messages: list[streaming_pb2.ImmutableMessage] = []
        self.first = 0
        self.term = 1
        self.node = 0


class StreamingNodes:
    """Two nodes, of which one has a channel at a time. The test's thread calls.

    ``etcd`` is told which. ``calls`` counts calls that were let in, ``refused`` those that
    came to the wrong one.
    """

    def __init__(self, etcd: Directory, queue: str = "rocksmq") -> None:
        self.calls = 0
        self.refused = 0
        self._etcd = etcd
        self._queue = queue
        self._changed = threading.Condition()
        self._channels: dict[str, _Channel] = {}
        self._away = False
        self._ended: tuple[grpc.StatusCode, str] | None = None
        self._mute = False
        self._servers: list[grpc.Server] = []
        self._addresses: list[str] = []
        for number in range(2):
            server = grpc.server(ThreadPoolExecutor(64))
            handler = grpc.method_handlers_generic_handler(
                "milvus.proto.streaming.StreamingNodeHandlerService",
                {"Consume": self._handler(number)},
            )
            server.add_generic_rpc_handlers((handler,))
            self._addresses.append(
                f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            )
            server.start()
            self._servers.append(server)

    def held(self) -> AbstractContextManager[object]:
        """Have nobody see what is appended, until the end of a ``with``."""
        return self._changed

    def append(self, message: NodeMessage) -> None:
        """Deliver a message to whoever reads its channel."""
        made = streaming_pb2.ImmutableMessage(
            payload=message.payload, properties=message.properties
        )
        made.id.id, made.id.wal_name = message.id, _QUEUES[self._queue]
        if message.channel not in self._channels:
            self._channels[message.channel] = _Channel()
            self._assign(message.channel)
        with self._changed:
            self._channels[message.channel].messages.append(made)
            self._changed.notify_all()

    def stop(self, *, refuses: bool = False) -> None:
        """End every call and take no new ones until ``start``, or refuse them."""
        self._ended = (
            (grpc.StatusCode.UNAUTHENTICATED, "who are you")
            if refuses
            else (grpc.StatusCode.UNAVAILABLE, "the node is away")
        )
        self._set(away=True)

    def end_streams(self) -> None:
        """End every call, also new ones, as if all had been said."""
        self._ended = None
        self._set(away=True)

    def start(self) -> None:
        """Come back."""
        self._set(away=False)

    def fall_silent(self) -> None:
        """Take calls, and say nothing more."""
        self._mute = True

    def move(self, channel: str) -> None:
        """Give a channel to the other node; etcd hears of it by ``tell``."""
        with self._changed:
            moved = self._channels[channel]
            moved.node = 1 - moved.node
            moved.term += 1
            self._changed.notify_all()

    def tell(self, channel: str) -> None:
        """Let etcd have where a channel is."""
        self._assign(channel)

    def tell_all(self, etcd: Directory) -> None:
        """Let another etcd have where the channels are, from now on."""
        self._etcd = etcd
        for channel in self._channels:
            self._assign(channel)

    def lose(self, channel: str, count: int) -> None:
        """Remove the oldest messages; those who read are not told."""
        self._channels[channel].first = count

    def close(self) -> None:
        """End everything."""
        self._set(away=True)
        for server in self._servers:
            server.stop(None).wait(_LONG)

    def _set(self, *, away: bool) -> None:
        with self._changed:
            self._away = away
            self._changed.notify_all()

    def _assign(self, name: str) -> None:
        channel = self._channels[name]
        found = streaming_pb2.PChannelMeta(state=_ASSIGNED)
        found.channel.name, found.channel.term = name, channel.term
        found.node.server_id = channel.node + 1
        found.node.address = self._addresses[channel.node]
        self._etcd.put(PLACES + name, found.SerializeToString())

    def _handler(self, node: int) -> Any:
        return grpc.stream_stream_rpc_method_handler(
            lambda requests, context: self._consume(node, requests, context),
            request_deserializer=streaming_pb2.ConsumeRequest.FromString,
            response_serializer=lambda response: response.SerializeToString(),
        )

    def _consume(
        self, node: int, requests: Iterator[Any], context: grpc.ServicerContext
    ) -> Iterator[streaming_pb2.ConsumeResponse]:
        metadata = dict(context.invocation_metadata())
        asked = streaming_pb2.CreateConsumerRequest.FromString(
            base64.b64decode(metadata["create-consumer"])
        ).pchannel
        if self._away:
            self._end(context)
            return
        channel = self._channels[asked.name]
        if (channel.node, channel.term) != (node, asked.term):
            self.refused += 1
            _refuse(context, _UNMATCHED_TERM, f"current term is {channel.term}")
        self.calls += 1
        created = streaming_pb2.CreateConsumerResponse(wal_name=self._queue)
        yield streaming_pb2.ConsumeResponse(create=created)
        policy = next(requests).create_vchannel_consumer.deliver_policy
        yield streaming_pb2.ConsumeResponse(create_vchannel=streaming_pb2.Nothing())
        for message in self._deliver(node, channel, policy, context):
            consumed = streaming_pb2.ConsumeMessageResponse(message=message)
            yield streaming_pb2.ConsumeResponse(consume=consumed)

    def _deliver(
        self,
        node: int,
        channel: _Channel,
        policy: streaming_pb2.DeliverPolicy,
        context: grpc.ServicerContext,
    ) -> Iterator[streaming_pb2.ImmutableMessage]:
        place = self._begin(channel, policy, context)
        term = channel.term
        context.add_callback(self._wake)
        while context.is_active():
            with self._changed:
                self._changed.wait_for(
                    lambda place=place: (  # type: ignore[misc]
                        place < len(channel.messages)
                        or self._away
                        or channel.term != term
                        or not context.is_active()
                    ),
                    1.0,
                )
                ready = [] if self._mute else channel.messages[place:]
            if self._away:
                self._end(context)
                return
            if channel.term != term:
                _refuse(context, _FENCED, f"the channel left node {node}")
            place += len(ready)
            yield from ready

    def _end(self, context: grpc.ServicerContext) -> None:
        if self._ended is not None:
            context.abort(*self._ended)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _begin(
        self,
        channel: _Channel,
        policy: streaming_pb2.DeliverPolicy,
        context: grpc.ServicerContext,
    ) -> int:
        """Return the number of the first message; ``latest`` is the last stored one."""
        stored = {
            message.id.id: number
            for number, message in enumerate(channel.messages)
            if "_np" not in message.properties and number >= channel.first
        }
        if policy.HasField("latest"):
            return max(stored.values(), default=channel.first)
        if not policy.HasField("start_from"):
            return channel.first
        start = policy.start_from
        if start.wal_name != _QUEUES[self._queue]:
            _refuse(context, _OTHER_QUEUE, "wal name mismatch, expected another")
        begin = stored.get(start.id, channel.first)
        return _behind_transaction(channel.messages, begin)


def _behind_transaction(
    messages: list[streaming_pb2.ImmutableMessage], begin: int
) -> int:
    properties = messages[begin].properties
    if "_tx" not in properties or properties["_t"] == "900":
        return begin
    while messages[begin].properties["_t"] != _COMMIT:
        begin += 1
    return begin + 1


def _refuse(context: grpc.ServicerContext, code: int, cause: str) -> None:
    reason = streaming_pb2.StreamingError(code=code, cause=cause)
    status = streaming_pb2.Status(code=9)
    status.details.add(value=reason.SerializeToString())
    context.set_trailing_metadata(
        (("grpc-status-details-bin", status.SerializeToString()),)
    )
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "")
