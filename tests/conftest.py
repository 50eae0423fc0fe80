"""What every test shares: the real servers, and an environment without our settings."""

from __future__ import annotations

import os
import random

import pytest

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
        help="every scenario with the service up and down, to every target",
    )
    parser.addoption(
        "--kills", type=int, default=5, help="how often everything is killed"
    )
    parser.addoption(
        "--all-points", action="store_true", help="kill at every point, not at some"
    )


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int:
    """Return the seed of a random test, which a failure prints."""
    given = pytestconfig.getoption("--seed")
    return given if given is not None else random.SystemRandom().randrange(1 << 32)
