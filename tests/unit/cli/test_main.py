"""The command line from outside: output and exit statuses."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cdc_actors.cli.main import CdcGroup, main
from cdc_actors.errors import CdcError, OperatorError, UnavailableError

FILE = """
sourceConfig:
  token: root:Zq7
  readChanLen: 4
  natsmq: {address: nats://127.0.0.1:4222}
"""


def cdc_actors(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a process of its own."""
    return subprocess.run(
        [Path(sys.executable).with_name("cdc-actors"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def file(tmp_path):
    """Return a good configuration."""
    path = tmp_path / "cdc.yaml"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_show_prints_a_table_with_origins_and_without_secrets(file):
    """Each key has a line with value and origin; warnings go to standard error."""
    done = cdc_actors("config", "show", "--config", str(file))

    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert lines[0] == ["KEY", "VALUE", "ORIGIN"]
    assert ["address", "127.0.0.1:8444", "default"] in lines
    assert ["sourceConfig.token", "******", f"file {file}:3"] in lines
    assert "Zq7" not in done.stdout + done.stderr
    assert done.stderr.startswith("Warning: Keys of milvus-cdc without effect here")


def test_the_table_is_aligned(file):
    """Origins stand below each other."""
    done = cdc_actors("config", "show", "--config", str(file))

    head, *rows = done.stdout.splitlines()
    column = head.index("ORIGIN")
    assert all(row[column - 1] == " " and row[column] != " " for row in rows)


def test_show_prints_json(file):
    """With -o json the same comes for programs, with the values' types."""
    done = cdc_actors("config", "show", "--config", str(file), "-o", "json")

    shown = json.loads(done.stdout)
    assert shown["maxTaskNum"] == {"value": 100, "origin": "default"}
    assert shown["sourceConfig.etcd.enableTLS"]["value"] is False
    assert shown["sourceConfig.token"]["value"] == "******"
    assert shown["sourceConfig.etcd.address"]["value"] == ["http://127.0.0.1:2379"]


@pytest.mark.parametrize("command", [["config", "show"], ["serve"]])
def test_a_wrong_configuration_is_one_line_and_status_1(tmp_path, command):
    """An operator gets a sentence, not a traceback."""
    path = tmp_path / "cdc.yaml"
    path.write_text("maxTaskNum: 0\n", encoding="utf-8")

    done = cdc_actors(*command, "--config", str(path))

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: The configuration is wrong: maxTaskNum")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["serves"], ["serve", "--port", "1"], ["config", "show", "-o", "xml"]]
)
def test_wrong_usage_is_status_2(arguments):
    """An unknown command, option or choice is told apart from a failure."""
    done = cdc_actors(*arguments)

    assert done.returncode == 2
    assert "Usage:" in done.stderr


@pytest.mark.parametrize("arguments", [["--version"], ["version"]])
def test_the_version_is_that_of_the_package(arguments):
    """Both ways of asking give name and number."""
    result = CliRunner().invoke(main, arguments)

    assert result.exit_code == 0
    assert result.output == f"cdc-actors {installed_version('cdc-actors')}\n"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["serve", "--help"], ["config", "show", "-h"]]
)
def test_help_has_examples(arguments):
    """Help on each level shows lines to copy, each on a line of its own."""
    result = CliRunner().invoke(main, arguments)

    assert result.exit_code == 0
    assert "Examples:\n" in result.output
    assert "--config cdc.yaml\n" in result.output


def test_help_does_not_load_the_service():
    """Help and results come fast: the heavy libraries are loaded by serve only."""
    code = (
        "import sys, cdc_actors.cli.main, cdc_actors.comparison_report;"
        "print([m for m in ('pymilvus', 'grpc', 'falcon', 'pykka', 'structlog')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OperatorError("wrong\n  password"), 1),
        (CdcError("wrong\n  password"), 1),
        (UnavailableError("wrong\n  password"), 4),
    ],
)
def test_our_errors_are_a_line_and_a_status(error, status):
    """Any CdcError is one line; not being ready has a status of its own."""

    @click.group(cls=CdcGroup)
    def group() -> None:
        """Do nothing."""

    @group.command()
    def fail() -> None:
        raise error

    result = CliRunner().invoke(group, ["fail"])

    assert result.exit_code == status
    assert result.stderr == "Error: wrong password\n"
    assert result.stdout == ""


def test_no_line_of_help_is_cut():
    """Each command of each group has a line that fits a terminal of 80 columns."""
    groups = [("main", main), *main.commands.items()]
    for name, group in groups:
        if isinstance(group, click.Group):
            told = CliRunner().invoke(main, [] if name == "main" else [name, "--help"])
            commands = told.output.partition("Commands:")[2].partition("\n\n")[0]
            assert "..." not in commands, name
            assert all(each in commands for each in group.commands), name


def test_a_question_ends_without_a_stop(tmp_path):
    """What a key may have been meant to be is the last that is said."""
    path = tmp_path / "cdc.yaml"
    path.write_text(f"{FILE}maxTaskNumber: 1\n", encoding="utf-8")
    told = CliRunner().invoke(main, ["config", "show", "--config", str(path)])
    assert told.stderr.endswith("did you mean maxTaskNum?\n")
