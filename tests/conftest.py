"""What every test shares: the real servers, and an environment without our settings."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from tests.support.folders import WITHOUT_SERVERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xdist.remote import Producer

_MEMORY_OF_A_WORKER = 2 << 30
_MOST_WORKERS = 8
_EXPENSIVE = ("pulsar", "kafka", "postgres")
_FOLDERS = ("chaos", "integration", "contract", "property")
_BROKERS_IN = ("chaos", "contract")

# How long an example takes says more of the machine than of the code.
settings.register_profile("untimed", deadline=None, max_examples=50)
settings.register_profile("thorough", deadline=None)
settings.load_profile("untimed")

pytest_plugins = [
    "tests.support.servers",
    "tests.support.postgres",
    "tests.support.seeds",
]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("CDC_ACTORS_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Leave no level behind: commands that run in the tests' process set one."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def pytest_configure(config: pytest.Config) -> None:
    """Try more examples of everything, if that is asked for."""
    if config.getoption("--thorough"):
        settings.load_profile("thorough")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that say how much is run."""
    parser.addoption(
        "--thorough",
        action="store_true",
        help="every combination of every scenario, and more examples",
    )
    parser.addoption(
        "--kills", type=int, default=3, help="kills, or faults, of a random test"
    )
    parser.addoption(
        "--early",
        action="store_true",
        help="random kills of tasks whose rows do not wait for ticks",
    )
    parser.addoption(
        "--snapshots",
        type=int,
        default=10,
        help="how many a random test takes at least",
    )
    parser.addoption(
        "--all-points", action="store_true", help="kill at every point, not at some"
    )


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many tests run side by side.

    Many wait for a server; but each worker has servers of its own, which are never idle.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    if all(arg.startswith(WITHOUT_SERVERS) for arg in config.args):
        return cores or 1
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(2 * (cores or 1), memory // _MEMORY_OF_A_WORKER, _MOST_WORKERS))


class _Scheduler(LoadScopeScheduling):
    """Gives a worker what is next; what needs an expensive server stays on one."""

    def _split_scope(self, nodeid: str) -> str:
        return _server(nodeid) or nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _Scheduler:
    """Replace the one that ``--dist`` names: xdist's own groups need an older pytest."""
    return _Scheduler(config, log)


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out what is marked as thorough; put what takes long at the head."""
    if not config.getoption("--thorough"):
        left_out = [item for item in items if item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    items.sort(key=_turn)


def _server(nodeid: str) -> str:
    """Return the expensive server that a test's name tells of; empty for none."""
    return next((each for each in _EXPENSIVE if each in nodeid.lower()), "")


def _turn(item: pytest.Item) -> tuple[int, int]:
    """Return a key by which what takes long comes first, and the shortest last."""
    folder = item.nodeid.split("/")[1]
    turn = _FOLDERS.index(folder) if folder in _FOLDERS else len(_FOLDERS)
    if folder in _BROKERS_IN and _server(item.nodeid) in {"pulsar", "kafka"}:
        turn = -1
    # Pulsar may miss its own bookie once more, soon after a start that followed a kill.
    return turn, int(item.name == "test_the_queue_restarts[pulsar]")


@pytest.fixture
def consistency(pytestconfig: pytest.Config) -> str:
    """Return whether the rows of a random test's task wait for ticks."""
    return "early" if pytestconfig.getoption("--early") else "tick"


@pytest.fixture
def kills(pytestconfig: pytest.Config) -> int:
    """Return how often a random test kills, or breaks what it breaks."""
    return int(pytestconfig.getoption("--kills"))
