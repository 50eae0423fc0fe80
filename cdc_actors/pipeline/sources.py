"""The servers of one run, opened side by side and closed together."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from cdc_actors.beside import beside
from cdc_actors.pipeline.channels import Channels
from cdc_actors.pipeline.messages import RecordSource
from cdc_actors.pipeline.queue_identity import refuse_another_queue
from cdc_actors.pipeline.renames_done import take_over_renames
from cdc_actors.pipeline.replay import Replay, plan_replay
from cdc_actors.pipeline.resyncs import without_lost_channels
from cdc_actors.pipeline.source_api import CONNECT_SECONDS, SourceApi
from cdc_actors.pipeline.source_files import SourceFiles
from cdc_actors.pipeline.source_identity import identify_source
from cdc_actors.source.catalog_choice import open_catalog
from cdc_actors.source.wal.shared import SharedLogs
from cdc_actors.source.wal_choice import open_wal
from cdc_actors.target.connection import Connection, connect
from cdc_actors.target.identity import refuse_source
from cdc_actors.target.standby import refuse_standby

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.source.catalog.base import Watch
    from cdc_actors.source.catalog.client import Catalog, CatalogSnapshot
    from cdc_actors.source.wal.base import WalReader
    from cdc_actors.tasks import SourceIdentity

_OPENINGS = threading.BoundedSemaphore(16)
"""How many runs open their source at a time: after a start all tasks want to, and each
lists the whole catalog. Nobody has a permit while a target is connected to, which may take
as long as its timeout."""

_LOGS = SharedLogs()

PERMIT_SECONDS = 0.05
"""How long a permit is waited for before it is looked whether the run is to stop."""


class _Closable(Protocol):
    def close(self) -> None: ...


_Opened = TypeVar("_Opened", bound=_Closable)


@dataclass(frozen=True, slots=True)
class Sources:
    """What one run reads and writes; the reader's thread uses it.

    ``channels`` has the channel of clients' requests subscribed already, if the log has
    one; ``watch`` tells
    what came after ``snapshot``; ``replay`` says where the run begins.
    """

    target: Connection
    wal: WalReader
    channels: Channels
    catalog: Catalog
    snapshot: CatalogSnapshot
    watch: Watch
    api: SourceApi
    replay: Replay
    files: SourceFiles


@dataclass(frozen=True, slots=True)
class Servers:
    """How a run comes to its servers. Each function raises ``CdcError``."""

    target: Callable[[RunSpec, RunContext], Connection]
    log: Callable[[RunSpec, RunContext], WalReader]
    catalog: Callable[[RunSpec], Catalog]
    refuse_queue: Callable[[RunSpec, Catalog], object]
    refuse_target: Callable[[Connection, RunSpec, Callable[[], Collection[int]]], None]
    api: Callable[[RunSpec, RunContext], Connection]
    source_time: Callable[[RunSpec], int]


def _refuse_target(
    target: Connection, spec: RunSpec, known: Callable[[], Collection[int]]
) -> None:
    """Refuse what must not be written; ``known`` returns ids of source's collections."""
    refuse_source(target, spec.source, known)
    refuse_standby(target)


def _source_time(spec: RunSpec) -> int:
    """Ask by a connection of its own: any thread may want to know, and few ever do."""
    with closing(open_catalog(spec.source)) as catalog:
        return catalog.time()


SERVERS = Servers(
    target=lambda spec, run: connect(
        spec.task.target, spec.token, run.cancelled, spec.owned
    ),
    log=lambda spec, run: _LOGS.open(
        spec.source, partial(open_wal, spec.source), run.memory, run.prefetch
    ),
    catalog=lambda spec: open_catalog(spec.source),
    refuse_queue=lambda spec, catalog: refuse_another_queue(spec.source, catalog),
    refuse_target=_refuse_target,
    api=lambda spec, run: Connection(
        spec.source.uri,
        spec.source.token,
        timeout=CONNECT_SECONDS,
        name="the source",
        cancelled=run.cancelled,
    ),
    source_time=_source_time,
)


@contextmanager
def open_sources(
    spec: RunSpec, run: RunContext, servers: Servers = SERVERS
) -> Iterator[Sources]:
    """Open target, log and catalog; nothing more is opened once the run is to stop.

    The target is connected to, and then looked at, beside the rest. Where several fail,
    that one is told which would have been met first by opening one after the other:
    target, log, catalog, and last what is wrong with the target itself.

    Raises:
        CdcError: One of them cannot be opened, or the run is to stop.
    """
    run.check_running()
    with ExitStack() as stack:
        yield _Opening(spec, run, servers, stack).open()


class _Opening:
    """The servers of a run while they are opened; ``stack`` closes them."""

    def __init__(
        self, spec: RunSpec, run: RunContext, servers: Servers, stack: ExitStack
    ) -> None:
        self._spec = spec
        self._run = run
        self._servers = servers
        self._stack = stack

    def open(self) -> Sources:
        """Open them all. Nothing is written before each was found to be the right one."""
        spec, run, servers = self._spec, self._run, self._servers
        connecting = beside(
            lambda: self._opened(servers.target(spec, run)), "target-opening"
        )
        with _failing_first(connecting):
            wal, catalog, identity = self._source()
        target = connecting.result()
        listed: Future[Collection[int]] = Future()
        self._stack.callback(listed.cancel)
        looking = beside(
            lambda: servers.refuse_target(target, spec, listed.result), "target-look"
        )
        spec = without_lost_channels(_as_logged(spec, wal), wal)
        replay = plan_replay(spec, run.run_number, wal, catalog, target)
        channels = Channels(wal, run)
        snapshot, watch = self._listed(channels, catalog, replay.spec)
        listed.set_result(snapshot.collections)
        looking.result()
        replay = take_over_renames(replay, snapshot.collections, target)
        api = self._opened(SourceApi(lambda: servers.api(spec, run)))
        if spec.source_identity is None:
            run.record(RecordSource(run.run_number, identity))
        files = _files(spec, run, servers)
        return Sources(
            target, wal, channels, catalog, snapshot, watch, api, replay, files
        )

    def _source(self) -> tuple[WalReader, Catalog, SourceIdentity]:
        """Open log and catalog: the task's source, and that source's message queue."""
        spec, servers = self._spec, self._servers
        with _permit(self._run):
            wal = self._opened(servers.log(spec, self._run))
            catalog = self._opened(servers.catalog(spec))
            identity = identify_source(spec, catalog)
            servers.refuse_queue(spec, catalog)
        return wal, catalog, identity

    def _listed(
        self, channels: Channels, catalog: Catalog, spec: RunSpec
    ) -> tuple[CatalogSnapshot, Watch]:
        """List the catalog, and watch it from that revision on.

        The clients' requests are read from the oldest on, for what they asked of a
        collection came after its beginning; the catalog is listed when it is known how
        many of them there are.
        """
        requests = spec.source.replicate_chan
        with _permit(self._run):
            channels.note_newest({*spec.checkpoints, requests} - {""})
            if requests:
                start = spec.checkpoints.get(requests)
                channels.subscribe(requests, start, has_ticks=False)
            snapshot = catalog.snapshot()
            return snapshot, self._opened(catalog.watch(snapshot.revision + 1))

    def _opened(self, resource: _Opened) -> _Opened:
        self._stack.enter_context(closing(resource))
        self._run.check_running()
        return resource


@contextmanager
def _failing_first(other: Future[Connection]) -> Iterator[None]:
    """Wait, behind the block, for what is done beside it: its failure counts first."""
    try:
        yield
    finally:
        other.result()


def _as_logged(spec: RunSpec, wal: WalReader) -> RunSpec:
    """A log that is streamed has no channel of clients' requests."""
    if not wal.is_streamed:
        return spec
    source = msgspec.structs.replace(spec.source, replicate_chan="")
    return replace(spec, source=source)


def _files(spec: RunSpec, run: RunContext, servers: Servers) -> SourceFiles:
    return SourceFiles(
        spec.source.storage,
        lambda: servers.catalog(spec),
        lambda: servers.log(spec, run),
    )


@contextmanager
def _permit(run: RunContext) -> Iterator[None]:
    while not _OPENINGS.acquire(timeout=PERMIT_SECONDS):
        run.check_running()
    try:
        yield
    finally:
        _OPENINGS.release()
