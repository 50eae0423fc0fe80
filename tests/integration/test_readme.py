"""What the README tells people to type works as it stands there."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from click.testing import CliRunner

from cdc_actors.cli.main import main
from cdc_actors.config import load
from cdc_actors.instruments import TIMERS
from cdc_actors.service.comparison_metrics import comparison_families
from cdc_actors.service.metrics import families
from cdc_actors.service.snapshot import Statistics
from cdc_actors.service.views import Readiness
from tests.support.cdc import Cdc

if TYPE_CHECKING:
    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from cdc_actors.service.metric_family import Family

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


_OF_COLLECTION = "task_id,database,collection"


def block(mark: str) -> str:
    """Return what stands in the code block below ``<!-- test: mark -->``."""
    found = re.findall(rf"<!-- test: {mark} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert len(found) == 1, f"README.md has {len(found)} blocks with the mark {mark}"
    return found[0]


def curl_lines() -> list[str]:
    """Return each curl command of the README."""
    return re.findall(
        r"^curl .*?(?=^curl |\Z)", block("curl"), re.DOTALL | re.MULTILINE
    )


def served_metrics() -> list[str]:
    """Return the service's own metrics as they are scraped, each with its labels."""
    nothing = Statistics(
        observations=(), mailboxes={}, restarts={}, memory_held=0, memory_limit=0
    )
    ready = Readiness(ready=True, missing={})
    found = families((), nothing, ready, store_takes_writes=True, retention={}, now=0)
    return sorted(
        f"{name}{{{','.join(labels)}}}".replace(_OF_COLLECTION, "C") if labels else name
        for name, labels in [
            *map(_family, found),
            *map(_family, comparison_families(())),
            *((each._name, each._labelnames) for each in TIMERS),
        ]
    )


def _family(family: Family) -> tuple[str, tuple[str, ...]]:
    suffix = {"counter": "_total", "info": "_info"}.get(family.kind, "")
    return family.name + suffix, family.labels


def named_commands() -> set[tuple[str, ...]]:
    """Return the words of each command that the README names, options included."""
    return {
        (*first, word, *re.findall(r"--[a-z-]+", options))
        for words, options in re.findall(
            r"\bcdc-actors((?: [a-z|]+)+)([^`\n]*)", README
        )
        for *first, last in [words.split()]
        for word in last.split("|")
    }


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
    assert task_id, "no task was created"


def test_the_metrics_are_all_of_the_services_own() -> None:
    """Every one that can be scraped is named, with its labels, and no other."""
    assert block("metrics").split() == served_metrics()


def test_the_configuration_is_the_defaults(tmp_path: Path) -> None:
    """The README's file is accepted, and shows what holds where nothing is set."""
    text = block("configuration")
    file = tmp_path / "cdc.yaml"
    file.write_text(text)
    minimal = tmp_path / "minimal.yaml"
    natsmq = yaml.safe_load(text)["sourceConfig"]["natsmq"]
    minimal.write_text(json.dumps({"sourceConfig": {"natsmq": natsmq}}))
    assert load(file, {}, {}).config == load(minimal, {}, {}).config


def test_the_commands_exist() -> None:
    """Each command that the README names has a help text, with the options named."""
    for (*words,) in named_commands():
        options = [word for word in words if word.startswith("--")]
        path = words[: len(words) - len(options)]
        done = CliRunner().invoke(main, [*path, "--help"])
        assert done.exit_code == 0, (path, done.output)
        for option in options:
            assert option in done.output, path


def test_the_commands_are_named() -> None:
    """The README names each command but the one that prints the version."""
    assert {words[0] for words in named_commands()} == set(main.commands) - {"version"}
