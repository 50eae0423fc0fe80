"""A source's API for the benchmark of the readers, and the least that grpcio needs.

    python -m benchmarks.wal_dump

prints what a reader costs that waits on 16 channels. The API, a double in a process of its
own, sends what was made ready before.
"""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import grpc
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

from benchmarks.wal_streaming import (
    DISTINCT,
    IDLE_CHANNELS,
    MEASURE,
    OPTIONS,
    SETTLE,
    serve_calls,
    spawned,
)
from benchmarks.wal_streaming import read as read_for
from benchmarks.wal_streaming import rows as consumed
from cdc_actors.changes import to_hybrid_ts
from cdc_actors.source.public_api import PublicApi
from cdc_actors.source.wal.streaming import streaming_pb2
from cdc_actors.source.wal.streaming.dump_reader import DumpReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

_SERVICE = "milvus.proto.milvus.MilvusService"
_WAKE_SECONDS = 0.05


class ApiQueue:
    """Channels of an API, which has of each what its name says."""

    client = "grpcio"

    def __init__(self, address: str) -> None:
        self._address = address

    def fill(self, size: int, count: int) -> str:
        """Return the name of a channel of ``count`` records of ``size`` bytes."""
        return f"benchmark-{size}-{count}"

    def read_bare(self, channel: str, count: int) -> None:
        """Read a whole channel as a stub does, and throw away what comes."""
        request = milvus_pb2.DumpMessagesRequest(pchannel=channel)
        request.start_message_id.id = "0"
        with grpc.insecure_channel(self._address, OPTIONS) as opened:
            call = milvus_pb2_grpc.MilvusServiceStub(opened).DumpMessages(request)
            for _ in islice(call, count):
                pass
            call.cancel()

    def reader(self) -> DumpReader:
        """Open the reader that is measured."""
        return DumpReader(PublicApi(f"http://{self._address}", ""))


@contextmanager
def dump() -> Iterator[ApiQueue]:
    """Start an API."""
    with spawned(serve) as address:
        yield ApiQueue(address)


def serve(told: Connection) -> None:
    """Be an API until something is told."""
    handlers = {
        "DumpMessages": grpc.unary_stream_rpc_method_handler(
            dump_messages, milvus_pb2.DumpMessagesRequest.FromString
        ),
        "AllocTimestamp": grpc.unary_unary_rpc_method_handler(
            lambda _request, _context: milvus_pb2.AllocTimestampResponse(
                timestamp=now()
            ),
            response_serializer=lambda answer: answer.SerializeToString(),
        ),
    }
    serve_calls(told, _SERVICE, handlers)


def dump_messages(request: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
    """Send what the channel's name says to who asks for the oldest; end when it is time."""
    _, size, count = request.pchannel.split("-")
    if not request.start_timetick:
        made = [row(n, int(size)) for n in range(min(int(count), DISTINCT))]
        yield from islice(cycle(made), int(count))
    while context.is_active() and not 0 < request.end_timetick < now():
        time.sleep(_WAKE_SECONDS)


def row(number: int, size: int) -> bytes:
    """Return a message of so many bytes, as the API sends it."""
    made = streaming_pb2.ConsumeResponse.FromString(consumed(number, size))
    return streaming_pb2.DumpMessagesResponse(
        message=made.consume.message
    ).SerializeToString()


def now() -> int:
    """Return the time, a hybrid timestamp."""
    return to_hybrid_ts(time.time())


def main() -> None:
    """Follow idle channels, and print what that takes of a core."""
    with dump() as api, closing(api.reader()) as reader:
        for number in range(IDLE_CHANNELS):
            reader.subscribe(f"idle{number}-200-1", None)
        read_for(reader, SETTLE)
        cpu = time.process_time()
        records = read_for(reader, MEASURE)
        share = (time.process_time() - cpu) / MEASURE
    print(f"{share:.1%} of a core for {IDLE_CHANNELS} idle channels, {records} ticks")


if __name__ == "__main__":
    main()
