"""A source of which only the API can be reached, and a task that follows it."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from cdc_actors.source.api_catalog import ApiCatalog
from cdc_actors.source.public_api import PublicApi
from cdc_actors.source.wal.streaming.dump_reader import DumpReader
from tests.fakes.public_api import PublicApiServer
from tests.fakes.recorded_source import RecordedPipeline
from tests.fakes.streamed_source import StreamedSource, WatchedReader
from tests.support.recorded_life import NodeMessage
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from cdc_actors.tasks import TaskSpec
    from tests.support.recorded_life import Step


class PublicSource(StreamedSource):
    """An API that has come up to where a recorded life was played."""

    def __init__(self, version: str, queue: str) -> None:
        super().__init__(version, queue)
        own = [each for each in self._steps if isinstance(each, NodeMessage)]
        self.api = PublicApiServer(
            version.partition("-")[0],
            self.etcd.catalog,
            lambda: self.etcd.revision,
            {each.channel for each in own},
            queue,
        )

    def play(self, until: Callable[[Step], bool] = lambda _: False) -> bool:
        """Go on; once all is played the clock runs."""
        goes_on = super().play(until)
        if not goes_on:
            self.api.be_over()
        return goes_on

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have nobody see what is appended, until the end of a ``with``."""
        with super().held(), self.api.held():
            yield

    def say(self, message: NodeMessage) -> None:
        """Have a message in the log that was never recorded."""
        self.api.append(message)

    def latest(self, channel: str) -> int:
        """Return a time than which what a channel says next has to be later."""
        return max(self.ticks[channel], self.api.now)

    def _append_message(self, message: NodeMessage) -> None:
        super()._append_message(message)
        self.api.append(message)


class _WatchedDumpReader(WatchedReader, DumpReader):
    """A reader by the API alone whose looks are told."""

    def __init__(self, source: PublicSource) -> None:
        super().__init__(PublicApi(source.api.uri, ""))
        self._log = source.log


class PublicPipeline(RecordedPipeline):
    """A task from a source's API to a newer target in memory."""

    source: PublicSource

    def __init__(
        self,
        version: str,
        spec: TaskSpec = SPEC,
        target: str = "2.6.20",
        queue: str = "rocksmq",
    ) -> None:
        source = PublicSource(version, queue)
        super().__init__(version, spec, target, source)
        self.servers = replace(
            self.servers,
            log=lambda _spec, _run: _WatchedDumpReader(source),
            catalog=lambda _spec: ApiCatalog(PublicApi(source.api.uri, "")),
            source_time=lambda _spec: source.api.now,
        )

    def _is_settled(self) -> bool:
        """Tell also whether the looks at the API have shown every collection."""
        known, task = self.task.task.collections, self.task.task
        with closing(self.source.etcd.catalog()) as catalog:
            there = catalog.snapshot().collections.values()
        wanted = [each for each in there if each.available]
        return super()._is_settled() and all(
            each.id in known
            for each in wanted
            if task.spec.selects(each.database, each.name)
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self.source.nodes.close()
        self.source.api.close()
