"""The messages that protoc has generated."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GENERATED = sorted((ROOT / "cdc_actors").rglob("*_pb2.py"))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.stem)
def test_generated_messages_need_no_newer_protobuf_than_the_package_asks_for(
    path: Path,
) -> None:
    """Code of a newer protoc refuses to be imported with an older protobuf."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = next(d for d in project["dependencies"] if d.startswith("protobuf>="))
    made = re.search(r"Protobuf Python Version: ([\d.]+)", path.read_text())
    assert made is not None
    assert _numbers(made[1]) <= _numbers(asked.removeprefix("protobuf>="))
