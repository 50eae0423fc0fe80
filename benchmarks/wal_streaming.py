"""Streaming nodes for the benchmark of the readers, and the least that grpcio needs.

    python -m benchmarks.wal_streaming

prints what a reader costs that waits: 16 channels, each of which ticks five times a second.
The node, a double in a process of its own, sends what was made ready before.
"""

from __future__ import annotations

import base64
import multiprocessing
import queue
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import grpc

from cdc_actors.source.wal.streaming import streaming_pb2
from cdc_actors.source.wal.streaming.node import METHOD, PLACES
from cdc_actors.source.wal.streaming.reader import NodeReader, StreamReader
from tests.fakes.fake_etcd import FakeEtcd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from multiprocessing.connection import Connection

ROCKSMQ, ASSIGNED = 1, 3
TICK_SECONDS = 0.2
DISTINCT = 1000
IDLE_CHANNELS = 16
SETTLE, MEASURE = 5.0, 30.0
OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]
PROPERTIES = {
    "_v": "1",
    "_wt": "2",
    "_vc": "by-dev-rootcoord-dml_0_470781132445844513v0",
    "_h": "CKGAwMbSnqPEBhIYCKKAwMbSnqPEBhABGKACIgkI9pCAzNKeo8QG",
}


class NodeQueue:
    """Channels at one node, which has of each what its name says."""

    client = "grpcio"

    def __init__(self, address: str) -> None:
        self._address = address
        self._etcd = FakeEtcd()

    def fill(self, size: int, count: int) -> str:
        """Make a channel of ``count`` records of ``size`` bytes; return its name."""
        return self.add(f"benchmark-{size}-{count}")

    def add(self, channel: str) -> str:
        """Have etcd say that the node has a channel; return its name."""
        self._etcd.put(PLACES + channel, self._found(channel).SerializeToString())
        return channel

    def read_bare(self, channel: str, count: int) -> None:
        """Read a whole channel as a stub does, and throw away what comes."""
        requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        requests.put(streaming_pb2.ConsumeRequest())
        asked = streaming_pb2.CreateConsumerRequest(
            pchannel=self._found(channel).channel
        )
        text = base64.b64encode(asked.SerializeToString()).decode()
        with grpc.insecure_channel(self._address, OPTIONS) as opened:
            call = opened.stream_stream(
                METHOD,
                request_serializer=streaming_pb2.ConsumeRequest.SerializeToString,
                response_deserializer=streaming_pb2.ConsumeResponse.FromString,
            )(iter(requests.get, None), metadata=(("create-consumer", text),))
            for _ in islice(call, 2 + count):
                pass
            call.cancel()
            requests.put(None)

    def reader(self) -> NodeReader:
        """Open the reader that is measured."""
        return NodeReader(self._etcd.catalog)

    def _found(self, channel: str) -> streaming_pb2.PChannelMeta:
        found = streaming_pb2.PChannelMeta(state=ASSIGNED)
        found.channel.name, found.channel.term = channel, 1
        found.node.server_id, found.node.address = 1, self._address
        return found


@contextmanager
def streaming() -> Iterator[NodeQueue]:
    """Start a node."""
    with spawned(serve) as address:
        yield NodeQueue(address)


@contextmanager
def spawned(served: Callable[[Connection], None]) -> Iterator[str]:
    """Run a server in a process of its own; yield its address."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=served, args=(theirs,), daemon=True)
    process.start()
    yield ours.recv()
    ours.send("stop")
    process.join()


def serve(told: Connection) -> None:
    """Be a node until something is told."""
    service, method = METHOD.strip("/").split("/")
    handler = grpc.stream_stream_rpc_method_handler(consume)
    serve_calls(told, service, {method: handler})


def serve_calls(
    told: Connection, service: str, handlers: Mapping[str, grpc.RpcMethodHandler]
) -> None:
    """Tell an address and answer there, until something is told."""
    server = grpc.server(ThreadPoolExecutor(IDLE_CHANNELS * 2), options=OPTIONS)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    told.send(f"127.0.0.1:{port}")
    told.recv()
    server.stop(None).wait()


def consume(
    requests: Iterator[bytes], context: grpc.ServicerContext
) -> Iterator[bytes]:
    """Send what the channel's name says, then ticks."""
    text = dict(context.invocation_metadata())["create-consumer"]
    asked = streaming_pb2.CreateConsumerRequest.FromString(base64.b64decode(text))
    _, size, count = asked.pchannel.name.split("-")
    made = [rows(number, int(size)) for number in range(min(int(count), DISTINCT))]
    created = streaming_pb2.ConsumeResponse()
    created.create.wal_name = "rocksmq"
    yield created.SerializeToString()
    next(requests)
    begun = streaming_pb2.ConsumeResponse(create_vchannel=streaming_pb2.Nothing())
    yield begun.SerializeToString()
    yield from islice(cycle(made), int(count))
    while context.is_active():
        yield tick()
        time.sleep(TICK_SECONDS)


def rows(number: int, size: int) -> bytes:
    """Return a message of so many bytes, as the node sends it."""
    number += 3 * 36**11
    own = {"_t": "2", "_tt": base36(number), "_lc": base36(number - 1)}
    return message(base36(number), PROPERTIES | own, bytes(size))


def tick() -> bytes:
    """Return a tick of an idle channel."""
    time_there = base36(int(time.time() * 1000) << 18)
    own = {"_t": "1", "_tt": time_there, "_lc": "3krhzeli6gox", "_np": "", "_h": ""}
    return message("3krhzeli6gox", {"_v": "1", "_wt": "2"} | own, bytes(17))


def message(number: str, properties: dict[str, str], payload: bytes) -> bytes:
    """Return a message as the node sends it."""
    made = streaming_pb2.ConsumeResponse()
    made.consume.message.id.id = number
    made.consume.message.id.wal_name = ROCKSMQ
    made.consume.message.payload = payload
    made.consume.message.properties.update(properties)
    return made.SerializeToString()


def base36(number: int) -> str:
    """Return a number as nodes write it."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits


def main() -> None:
    """Follow idle channels, and print what that takes of a core."""
    with streaming() as node, closing(node.reader()) as reader:
        for number in range(IDLE_CHANNELS):
            reader.subscribe(node.add(f"idle{number}-200-1"), None)
        read(reader, SETTLE)
        cpu = time.process_time()
        records = read(reader, MEASURE)
        share = (time.process_time() - cpu) / MEASURE
    print(f"{share:.1%} of a core for {IDLE_CHANNELS} idle channels, {records} ticks")


def read(reader: StreamReader, seconds: float) -> int:
    """Poll for so many seconds; return how many records came."""
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        count += len(reader.poll(0.05))
    return count


if __name__ == "__main__":
    main()
