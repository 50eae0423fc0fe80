"""What every test shares: the real servers, and an environment without our settings."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import settings

_COMBINATIONS = ("[up-milvus]", "[down-lite]")

# How long an example takes says more of the machine than of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

pytest_plugins = ["tests.support.servers", "tests.support.postgres"]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("CDC_ACTORS_"):
            monkeypatch.delenv(name)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options by which a random test is repeated, and how long one is."""
    parser.addoption("--seed", type=int, help="seed of the random workloads")
    parser.addoption(
        "--thorough",
        action="store_true",
        help="every combination of every scenario, and what is marked as thorough",
    )
    parser.addoption(
        "--kills", type=int, default=5, help="kills, or faults, of a random test"
    )
    parser.addoption(
        "--all-points", action="store_true", help="kill at every point, not at some"
    )


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out what only ``--thorough`` runs, and begin with what needs a Pulsar.

    Left out is what is marked so, and of a scenario's four combinations two: each state of
    the service and each target are left once.
    """
    if not config.getoption("--thorough"):
        left_out = [item for item in items if _is_thorough(item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not _is_thorough(item)]
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    # At the head of one worker's share, which nobody takes over: one broker for them all.
    if "pulsar" not in item.nodeid:
        return 2
    # Pulsar may miss its own bookie once more, soon after a start that followed a kill.
    return int(item.name == "test_the_queue_restarts[pulsar]")


def _is_thorough(item: pytest.Item) -> bool:
    marked = item.get_closest_marker("thorough") is not None
    return marked or item.name.endswith(_COMBINATIONS)


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int:
    """Return the seed of a random test, which a failure prints."""
    given = pytestconfig.getoption("--seed")
    return given if given is not None else random.SystemRandom().randrange(1 << 32)


@pytest.fixture
def kills(pytestconfig: pytest.Config) -> int:
    """Return how often a random test kills, or breaks what it breaks."""
    return int(pytestconfig.getoption("--kills"))
