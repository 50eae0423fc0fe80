"""What the README tells people to type works as it stands there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from cdc_actors.config import load
from tests.support.cdc import Cdc

if TYPE_CHECKING:
    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """Return the README's code block of a language."""
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found, language
    return found[1]


def curl_lines() -> list[str]:
    """Return each curl command of the README."""
    return re.findall(r"^curl .*?(?=^curl |\Z)", block("sh"), re.DOTALL | re.MULTILINE)


def test_the_curl_lines_work(
    source: EmbeddedMilvus, target_lite: EmbeddedLite, tmp_path: Path
) -> None:
    """One after another, with the real address, target and task, each answers 200."""
    task_id = ""
    with Cdc(tmp_path, source) as cdc:
        for line in curl_lines():
            command = (
                line.replace("localhost:8444", f"localhost:{cdc.port}")
                .replace("http://localhost:19531", target_lite.uri)
                .replace("<id>", task_id)
            )
            done = subprocess.run(
                ["bash", "-c", command], capture_output=True, text=True, check=True
            )
            answer = json.loads(done.stdout)
            assert answer["code"] == 200, (command, answer)
            task_id = answer["data"].get("task_id", task_id)
    assert len(curl_lines()) == 7


def test_the_configuration_is_the_defaults(tmp_path: Path) -> None:
    """The README's file is accepted, and shows what holds where nothing is set."""
    text = block("yaml")
    file = tmp_path / "cdc.yaml"
    file.write_text(text)
    minimal = tmp_path / "minimal.yaml"
    natsmq = yaml.safe_load(text)["sourceConfig"]["natsmq"]
    minimal.write_text(json.dumps({"sourceConfig": {"natsmq": natsmq}}))
    assert load(file, {}, {}).config == load(minimal, {}, {}).config


@pytest.mark.parametrize(
    "name",
    [
        "demo",
        "serve",
        "config show",
        "task create",
        "history",
        "audit head",
        "token create",
        "key rotate",
    ],
)
def test_the_commands_exist(name: str) -> None:
    """Each command that the README names has a help text."""
    assert f"cdc-actors {name}" in README
    done = subprocess.run(
        [sys.executable, "-m", "cdc_actors", *name.split(), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Usage" in done.stdout
