"""What a run needs is opened side by side, and closed whatever happens."""

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
            refuse_target=lambda _target, _spec, _known: then("look"),
            api=lambda _spec, _run: self._enter("api", SimpleNamespace()),
            source_time=lambda _spec: 0,
        )
        watch = self._catalog.watch
        self._catalog.watch = lambda revision: self._enter("watch", watch(revision))

    def _enter(self, name: str, resource: Any) -> Any:
        self.opened.append(name)
        self._then(name)
        self.open.append(name)
        resource.close = lambda: self.open.remove(name)
        return resource


def context() -> RunContext:
    """Return what a run begins with."""
    return RunContext(1, FakeTask(), MemoryBudget(1000), CLAIMANT, int)


def test_all_is_open_inside_and_closed_behind() -> None:
    """The value has every server; the clients' requests are read already."""
    servers = Opened()
    with open_sources(SPEC, context(), servers.servers) as opened:
        assert sorted(servers.open) == sorted(OPENINGS)
        assert list(opened.channels) == [REQUESTS]
        assert opened.snapshot.databases == {1: "default"}
    assert servers.open == []


@pytest.mark.parametrize("last", OPENINGS)
def test_nothing_is_opened_once_the_run_is_to_stop(last: str) -> None:
    """A stop that comes while servers are connected to is heard before the next."""
    run, stopped = context(), threading.Event()

    def stop(name: str) -> None:
        if name == last:
            run.stop()
            stopped.set()
        elif (name, last) == ("log", "target"):
            assert stopped.wait(60)

    servers = Opened(stop)
    with (
        pytest.raises(TransientError, match="is to stop"),
        open_sources(SPEC, run, servers.servers),
    ):
        pytest.fail("it is open")
    begun = OPENINGS[: max(2, OPENINGS.index(last) + 1)]
    assert sorted(servers.opened) == sorted(begun)
    assert servers.open == []


def test_the_source_is_opened_while_the_target_is_connected_to() -> None:
    """A target that answers late costs no more than its own time."""
    opened = threading.Semaphore(0)

    def wait(name: str) -> None:
        if name == "target":
            assert all(opened.acquire(timeout=60) for _ in ("log", "catalog"))
        else:
            opened.release()

    servers = Opened(wait)
    with open_sources(SPEC, context(), servers.servers):
        assert servers.opened[-2:] == ["catalog", "watch"]


@pytest.mark.parametrize(
    ("failing", "told"),
    [
        (("target", "log"), "target"),
        (("log",), "log"),
        (("watch", "look"), "watch"),
        (("look",), "look"),
    ],
)
def test_of_several_failures_that_is_told_which_comes_first_by_order(
    failing: tuple[str, ...], told: str
) -> None:
    """What is told does not depend on which of them happens first: here it is the last."""
    others = threading.Semaphore(0)

    def fail(name: str) -> None:
        if name not in failing:
            return
        if name == told:
            assert all(others.acquire(timeout=60) for _ in failing[1:])
        others.release()
        raise TransientError(f"no {name}")

    servers = Opened(fail)
    with (
        pytest.raises(TransientError, match=f"no {told}"),
        open_sources(SPEC, context(), servers.servers),
    ):
        pytest.fail("it is open")
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
            assert sorted(healthy.open) == sorted(OPENINGS)
    finally:
        answer.set()
        for each in many:
            each.join()


def test_a_run_that_waits_for_a_permit_hears_that_it_is_to_stop() -> None:
    """Too many open their source just now; the target is connected to meanwhile."""
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
