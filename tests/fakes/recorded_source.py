"""A source in memory that does again what a real Milvus did, and a task that follows it."""

from __future__ import annotations

import bisect
from collections import deque
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from cdc_actors.changes import Position, Tick
from cdc_actors.errors import OperationRefusedError
from cdc_actors.source.decode import decode
from cdc_actors.source.wal.natsmq.positions import position_of
from cdc_actors.source.wal.rocksmq.positions import number_of
from tests.fakes.fake_etcd import FakeEtcd
from tests.fakes.memory_log import MemoryLog, MemoryReader
from tests.fakes.newer_target import NewerTarget
from tests.fakes.pipeline import POLL_SECONDS, Pipeline
from tests.support.recorded_life import REQUESTS, CatalogWrite, LogRecord, is_same, life
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cdc_actors.changes import FullName, Key
    from cdc_actors.tasks import TaskSpec
    from tests.support.recorded_life import Step

_NOT_FOUND = 100


def moments(length: int) -> Callable[[Step], bool]:
    """Return what tells that a moment of so many milliseconds of a life is over."""
    begun: list[int] = []

    def is_over(step: Step) -> bool:
        begun.append(step.at)
        if step.at < begun[0] + length:
            return False
        begun.clear()
        return True

    return is_over


class RecordedSource:
    """The log and the catalog of a recorded life, up to where it was played.

    ``ticks`` has each channel's newest tick. The test's thread plays, readers read.
    """

    def __init__(self, version: str) -> None:
        self.version = version
        self.log = MemoryLog()
        self.etcd = FakeEtcd(databases=0)
        self._clock = self.etcd.catalog()
        self.ticks: dict[str, int] = {}
        self._steps = deque(life(version))
        self._ids: dict[str, list[int]] = {}
        for step in self._steps:
            if isinstance(step, LogRecord):
                self._ids.setdefault(step.channel, []).append(step.id)

    @property
    def looks(self) -> int:
        """How often a run has looked for something new."""
        return self.log.polls

    @property
    def now(self) -> int:
        """The source's time, a hybrid timestamp."""
        return self._clock.time()

    def play(self, until: Callable[[Step], bool] = lambda _: False) -> bool:
        """Go on to the first step of a kind, and do that; tell whether there is more."""
        while self._steps:
            step = self._steps.popleft()
            self._do(step)
            if until(step):
                return True
        return False

    def reader(self) -> RecordedReader:
        """Return a reader of the log."""
        return RecordedReader(self.log, self._ids)

    def _do(self, step: Step) -> None:
        if isinstance(step, CatalogWrite):
            self.etcd.write(step.key, step.value)
        elif isinstance(step, LogRecord):
            self._append(step)

    def _append(self, record: LogRecord) -> None:
        change = decode(record.payload)
        if isinstance(change, Tick):
            self.ticks[record.channel] = change.timestamp
        self.log.append(record.channel, record.payload)


class RecordedReader(MemoryReader):
    """Reads a log in memory whose records RocksMQ has given ids."""

    def __init__(self, log: MemoryLog, ids: dict[str, list[int]]) -> None:
        super().__init__(log, POLL_SECONDS)
        self._ids = ids

    def position(self, channel: str, message_id: bytes) -> Position:
        """Return where the last record stands whose id is not greater."""
        number = number_of(Position(channel, message_id, ""))
        return position_of(channel, bisect.bisect(self._ids[channel], number))


class RecordedApi:
    """The source's API, as far as the catalog says what it answers."""

    def __init__(self, source: RecordedSource) -> None:
        self._source = source
        self.version = source.version

    def server_time(self, _timeout: float) -> int:
        """Tell the time."""
        return self._source.now

    def call(self, _method: str, request: Any, database: str) -> Any:
        """Describe a collection."""
        with closing(self._source.etcd.catalog()) as catalog:
            found = catalog.find(database, request.collection_name)
        if found is None:
            raise OperationRefusedError("collection not found", _NOT_FOUND)
        pairs = found.properties.items()
        answer = milvus_pb2.DescribeCollectionResponse(
            collectionID=found.id,
            properties=[common_pb2.KeyValuePair(key=k, value=v) for k, v in pairs],
        )
        answer.schema.ParseFromString(found.schema)
        return answer

    def close(self) -> None:
        """Do nothing."""


class RecordedPipeline(Pipeline):
    """A task from a recorded source to a newer target in memory."""

    source: RecordedSource
    target: NewerTarget

    def __init__(
        self,
        version: str,
        spec: TaskSpec = SPEC,
        target: str = "2.5.27",
        source: RecordedSource | None = None,
    ) -> None:
        super().__init__(spec)
        self.source = source = source or RecordedSource(version)
        self.target = NewerTarget(target)
        self.requests = REQUESTS
        self.servers = replace(
            self.servers,
            log=lambda _spec, _run: source.reader(),
            catalog=lambda _spec: source.etcd.catalog(),
            api=lambda _spec, _run: RecordedApi(source),
        )

    def check_rows(
        self, name: FullName, wanted: Mapping[Key, tuple[str, dict[str, Any]]]
    ) -> None:
        """Check that the target has each row as its client gave it, once, in its place."""
        found = {k: v for k, v in (self.target.found(name) or {}).items() if v}
        assert found.keys() == wanted.keys(), name
        for key, (partition, row) in wanted.items():
            [(where, values)] = found[key]
            is_keyed = name[1] == "keyed"
            assert is_keyed or where == partition
            differing = {f: v for f, v in row.items() if not is_same(v, values.get(f))}
            assert differing == {}, (name, key, values)
