"""How random tests that failed are repeated."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support import seeds

ENTRIES = tomllib.loads(seeds.FAILED.read_text("utf-8"))["failed"]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda each: str(each["seed"]))
def test_a_seed_that_failed_is_of_a_test_that_is_there(entry: dict) -> None:
    """Its file has the function, and the seed fixture finds it by the test's name."""
    path, _, name = entry["test"].partition("::")
    text = (Path(__file__).parents[2] / path).read_text("utf-8")
    assert f"def {name.partition('[')[0]}(" in text
    assert entry["seed"] in seeds.failed(entry["test"])
    assert entry["why"]


def test_the_commands_stand_at_the_end() -> None:
    """Each random test that failed is told once, and no file that cannot be read."""
    lines: list[str] = []
    reporter = SimpleNamespace(
        stats={
            "failed": [SimpleNamespace(user_properties=[("repeat", "a command")])],
            "error": [
                SimpleNamespace(),
                SimpleNamespace(user_properties=[("repeat", "a command"), ("x", 1)]),
            ],
            "passed": [SimpleNamespace(user_properties=[("repeat", "another")])],
        },
        section=lines.append,
        write_line=lines.append,
    )
    seeds.pytest_terminal_summary(reporter)
    assert lines == ["to repeat what failed at random", "a command"]
