"""What a run needs is opened in turn, and closed whatever happens."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cdc_actors.config import SourceConfig
from cdc_actors.errors import TransientError
from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.pipeline import sources
from cdc_actors.pipeline.context import RunContext
from cdc_actors.pipeline.sources import Servers, open_sources
from tests.fakes.fake_catalog import FakeCatalog
from tests.fakes.fake_source import REQUESTS
from tests.fakes.fake_task import FakeTask
from tests.fakes.memory_log import MemoryLog, MemoryReader
from tests.support.tasks import CLAIMANT

if TYPE_CHECKING:
    from collections.abc import Callable

SPEC: Any = SimpleNamespace(
    source=SourceConfig(replicate_chan=REQUESTS),
    source_identity=None,
    entries=(),
    checkpoints={},
    owner_start=None,
)
OPENINGS = ["target", "log", "catalog", "watch"]


class Opened:
    """Servers that take down what is opened and closed, and call ``then`` at each."""

    def __init__(self, then: Callable[[str], None] = lambda _name: None) -> None:
        self.open: list[str] = []
        self.opened: list[str] = []
        self._then = then
        self._log = MemoryLog()
        self._catalog = FakeCatalog()
        self.servers = Servers(
            target=lambda _spec, _run: self._enter("target", SimpleNamespace()),
            log=lambda _spec, _run: self._enter("log", MemoryReader(self._log)),
            catalog=lambda _spec: self._enter("catalog", self._catalog),
            refuse_queue=lambda _spec, _found: None,
            refuse_target=lambda _target, _spec, _known: None,
            api=lambda _spec, _run: self._enter("api", SimpleNamespace()),
            source_time=lambda _spec: 0,
        )
        watch = self._catalog.watch
        self._catalog.watch = lambda revision: self._enter("watch", watch(revision))

    def _enter(self, name: str, resource: Any) -> Any:
        self.opened.append(name)
        self.open.append(name)
        resource.close = lambda: self.open.remove(name)
        self._then(name)
        return resource


def context() -> RunContext:
    """Return what a run begins with."""
    return RunContext(1, FakeTask(), MemoryBudget(1000), CLAIMANT, int)


def test_all_is_open_inside_and_closed_behind() -> None:
    """The value has every server; the clients' requests are read already."""
    servers = Opened()
    with open_sources(SPEC, context(), servers.servers) as opened:
        assert servers.open == OPENINGS
        assert list(opened.channels) == [REQUESTS]
        assert opened.snapshot.databases == {1: "default"}
    assert servers.open == []


@pytest.mark.parametrize("last", OPENINGS)
def test_nothing_is_opened_once_the_run_is_to_stop(last: str) -> None:
    """A stop that comes while one server is connected to is heard before the next."""
    run = context()
    servers = Opened(lambda name: run.stop() if name == last else None)
    with (
        pytest.raises(TransientError, match="is to stop"),
        open_sources(SPEC, run, servers.servers),
    ):
        pytest.fail("it is open")
    assert servers.opened == OPENINGS[: OPENINGS.index(last) + 1]
    assert servers.open == []


def test_nobody_waits_behind_a_target_that_does_not_answer() -> None:
    """A run that connects to its target holds none of the permits for sources."""
    answer, connecting = threading.Event(), threading.Semaphore(0)

    def wait(name: str) -> None:
        if name == "target":
            connecting.release()
            assert answer.wait(60)

    many = [threading.Thread(target=_open, args=(Opened(wait),)) for _ in range(20)]
    for each in many:
        each.start()
    assert all(connecting.acquire(timeout=60) for _ in many)
    healthy = Opened()
    try:
        with open_sources(SPEC, context(), healthy.servers):
            assert healthy.open == OPENINGS
    finally:
        answer.set()
        for each in many:
            each.join()


def test_a_run_that_waits_for_a_permit_hears_that_it_is_to_stop() -> None:
    """Too many open their source just now; the target was connected to already."""
    run, servers = context(), Opened()
    permits = [sources._OPENINGS.acquire(timeout=0) for _ in range(16)]
    threading.Timer(0.01, run.stop).start()
    try:
        with (
            pytest.raises(TransientError, match="is to stop"),
            open_sources(SPEC, run, servers.servers),
        ):
            pytest.fail("it is open")
    finally:
        for _ in filter(None, permits):
            sources._OPENINGS.release()
    assert servers.opened == ["target"]


def _open(servers: Opened) -> None:
    with open_sources(SPEC, context(), servers.servers):
        pass
