"""Seeds of random tests: which one a test takes, and how a failure is repeated."""

from __future__ import annotations

import random
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

FAILED = Path(__file__).parents[1] / "seeds.toml"
_REPEAT = "repeat"


def failed(nodeid: str) -> list[int]:
    """Return the seeds with which a test once failed."""
    entries = tomllib.loads(FAILED.read_text("utf-8"))["failed"]
    return [each["seed"] for each in entries if each["test"] == nodeid]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option by which a random test is repeated."""
    parser.addoption("--seed", type=int, help="seed of the random tests")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Return the seed of a random test; how to repeat it is told at a failure."""
    chosen = _chosen(request)
    _note(request.node, f"--seed {chosen}")
    return chosen


def _chosen(request: pytest.FixtureRequest) -> int:
    option = request.config.getoption
    given: int | None = option("--seed")
    if given is not None:
        return given
    known = [] if option("--thorough") else failed(_name(request.node))
    return random.choice(known) if known else random.SystemRandom().randrange(1 << 32)


def _note(item: pytest.Item, option: str) -> None:
    given = (
        {"--kills": item.config.getoption("--kills")} if "kills" in _names(item) else {}
    )
    flags = [
        each for each in ("--thorough", "--all-points") if item.config.getoption(each)
    ]
    words = [*flags, *(f"{name} {value}" for name, value in given.items()), option]
    command = f'python -m pytest -n 0 {" ".join(words)} "{_name(item)}"'
    item.user_properties.append((_REPEAT, command))


def _name(item: pytest.Item) -> str:
    """Return the name by which a test is run; xdist's groups stand behind it."""
    return re.sub(r"@\w+$", "", item.nodeid)


def _names(item: Any) -> list[str]:
    return list(getattr(item, "fixturenames", ()))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note the seed that Hypothesis gave itself for a test that failed."""
    test = getattr(item, "obj", None)
    own = getattr(test, "_hypothesis_internal_use_generated_seed", None)
    if call.excinfo is not None and own is not None:
        _note(item, f"--hypothesis-seed={own}")
    report = yield
    report.user_properties = list(item.user_properties)
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tell how each random test that failed is repeated."""
    if commands := list(dict.fromkeys(_commands(terminalreporter.stats))):
        terminalreporter.section("to repeat what failed at random")
        for command in commands:
            terminalreporter.write_line(command)


def _commands(stats: dict[str, list[Any]]) -> Iterator[str]:
    for report in (*stats.get("failed", ()), *stats.get("error", ())):
        for name, value in getattr(report, "user_properties", ()):
            if name == _REPEAT:
                yield value
