"""A source in memory that does again what a real Milvus of 2.6 or later did."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from cdc_actors.changes import Tick
from cdc_actors.source.catalog import catalog_pb2
from cdc_actors.source.catalog import model as meta
from cdc_actors.source.streamed import decode_streamed
from cdc_actors.source.wal.streaming import streaming_pb2
from cdc_actors.source.wal.streaming.node import PLACES
from cdc_actors.source.wal.streaming.positions import QUEUES, place_of_id
from cdc_actors.source.wal.streaming.reader import NodeReader, StreamReader
from tests.fakes.pipeline import POLL_SECONDS
from tests.fakes.recorded_source import RecordedPipeline, RecordedSource
from tests.fakes.streaming_node import StreamingNodes
from tests.support.recorded_life import CatalogWrite, NodeMessage
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from collections.abc import Collection
    from contextlib import AbstractContextManager
    from types import TracebackType

    from cdc_actors.changes import Record
    from cdc_actors.tasks import TaskSpec
    from tests.fakes.memory_log import MemoryLog
    from tests.support.recorded_life import Step

_CREATE = "5"
_COLLECTIONS = f"by-dev/meta/{meta.COLLECTIONS}"


class StreamedSource(RecordedSource):
    """Etcd and two streaming nodes, up to where a recorded life was played.

    Each of etcd's events was received some time after it was written, and each message
    after the tick that covers it. Milvus writes down a collection once the message of its
    creation is in the log: so does this, and nobody sees one without the other.
    ``delivered`` are messages by channel.
    """

    def __init__(self, version: str, queue: str) -> None:
        super().__init__(version)
        self.nodes = StreamingNodes(self.etcd, queue)
        self.delivered: dict[str, list[NodeMessage]] = {}
        self._queue = queue
        self._there: set[tuple[str, str]] = set()
        # Where channels are is what the double says.
        steps = [step for step in self._steps if not _is_place(step)]
        self._steps.clear()
        self._steps.extend(steps)

    def say(self, message: NodeMessage) -> None:
        """Have a message in the log that was never recorded."""
        self.nodes.append(message)

    def latest(self, channel: str) -> int:
        """Return a time than which what a channel says next has to be later."""
        return self.ticks[channel]

    def catalog_id(self, message_id: str) -> bytes:
        """Return a message's id as the catalog keeps it: the queue's own bytes."""
        if self._queue == "rocksmq":
            return int(message_id, 36).to_bytes(8, "little")
        return base64.b64decode(message_id)

    def _do(self, step: Step) -> None:
        if isinstance(step, NodeMessage):
            with self.held():
                self._append_message(step)
                if step.properties["_t"] == _CREATE:
                    self._write_down(step)
        elif isinstance(step, CatalogWrite):
            with self.held():
                for channel, start in self._starts(step):
                    while (channel, start) not in self._there:
                        self._append_next(channel)
                super()._do(step)
        else:
            super()._do(step)

    def held(self) -> AbstractContextManager[object]:
        """Have nobody see what is appended, until the end of a ``with``."""
        return self.nodes.held()

    def _write_down(self, creation: NodeMessage) -> None:
        """Write to etcd what comes next, up to the collection that a message creates."""
        header = base64.b64decode(creation.properties["_h"])
        number = streaming_pb2.RowsHeader.FromString(header).collection_id
        if self.etcd.has(_COLLECTIONS, f"/{number}"):
            return
        writes = [step for step in self._steps if isinstance(step, CatalogWrite)]
        for step in writes:
            self._steps.remove(step)
            self._do(step)
            if step.key.startswith(_COLLECTIONS) and step.key.endswith(f"/{number}"):
                return

    def _append_message(self, message: NodeMessage) -> None:
        self.nodes.append(message)
        self.delivered.setdefault(message.channel, []).append(message)
        self._there.add((message.channel, message.id))
        change = decode_streamed(message.properties, message.payload)
        if isinstance(change, Tick):
            self.ticks[message.channel] = change.timestamp

    def _append_next(self, channel: str) -> None:
        """Append what comes next on a channel."""
        following = next(
            step
            for step in self._steps
            if isinstance(step, NodeMessage) and step.channel == channel
        )
        self._steps.remove(following)
        self._append_message(following)

    def _starts(self, write: CatalogWrite) -> list[tuple[str, str]]:
        """Return channels and ids of the messages that create a collection."""
        if not write.value or not write.key.startswith(_COLLECTIONS):
            return []
        info = catalog_pb2.CollectionInfo.FromString(write.value)
        return [
            (start.key, place_of_id(QUEUES[self._queue], start.data).id)
            for start in info.start_positions
        ]


class WatchedReader(StreamReader):
    """Tells the log in memory, by which a test waits, of each look."""

    _log: MemoryLog

    def poll(
        self, timeout: float, channels: Collection[str] | None = None
    ) -> list[Record]:
        """Look."""
        with self._log.changed:
            self._log.polls += 1
            self._log.changed.notify_all()
        return super().poll(min(timeout, POLL_SECONDS), channels)


class WatchedNodeReader(WatchedReader, NodeReader):
    """A reader of streaming nodes whose looks are told."""

    def __init__(self, source: StreamedSource) -> None:
        super().__init__(source.etcd.catalog)
        self._log = source.log


class StreamedPipeline(RecordedPipeline):
    """A task from a recorded source of 2.6 or later to a newer target in memory."""

    source: StreamedSource

    def __init__(
        self,
        version: str,
        spec: TaskSpec = SPEC,
        target: str = "2.6.20",
        queue: str = "rocksmq",
    ) -> None:
        source = StreamedSource(version, queue)
        super().__init__(version, spec, target, source)
        self.servers = replace(
            self.servers, log=lambda _spec, _run: WatchedNodeReader(source)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self.source.nodes.close()


def _is_place(step: Step) -> bool:
    return isinstance(step, CatalogWrite) and PLACES in step.key
