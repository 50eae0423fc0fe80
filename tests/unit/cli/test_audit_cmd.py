"""``cdc-actors audit`` on a log in a file: what is said, and with which status."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from click.testing import CliRunner

from cdc_actors.cli.main import main
from cdc_actors.store.event_log import TaskLog
from tests.support.tasks import new_task


@pytest.fixture
def log(tmp_path):
    """A log of three tasks."""
    with closing(TaskLog.sqlite(str(tmp_path / "cdc.db"))) as log:
        for _ in range(3):
            log.save(new_task())
        yield log


@pytest.fixture
def run(tmp_path):
    """Return what runs a command on the log, or on one of another name."""

    def run_command(*arguments: str, status: int = 0, name: str = "cdc", stdin=None):
        config = tmp_path / "cdc.yaml"
        config.write_text(
            f"metaStoreConfig: {{sqlite: {{path: {tmp_path / name}.db}}}}\n"
            "sourceConfig: {natsmq: {address: nats://127.0.0.1:1}}\n"
        )
        command = ["audit", *arguments, "--config", str(config)]
        result = CliRunner().invoke(main, command, input=stdin)
        assert result.exit_code == status, result.output
        return result.output

    return run_command


def test_a_good_log(log, run):
    """It says how many events fit, and the head, which is found again later."""
    head = run("head").strip()
    assert run("verify") == f"All 3 events fit. Head {head}\n"
    log.save(new_task())
    assert run("verify", "--head", head).startswith("All 4 events fit.")
    told = json.loads(run("verify", "-o", "json"))
    assert (told["fits"], told["misfit"], told["head"][:2]) == (True, None, "4:")


def test_a_changed_log(log, run):
    """The first event that does not fit is named, with status 3."""
    head = run("head").strip()
    log.database.write("UPDATE {events} SET topic = 'task.resumed' WHERE rowid = 2")
    told = run("verify", status=3)
    assert told.startswith("Not the log that was written: event 2 of the log (event 1 ")
    assert json.loads(run("verify", "-o", "json", status=3))["fits"] is False
    assert run("verify", "--head", head, status=3) == told
    assert "cannot be exported: event 2" in run("export", status=1)


def test_a_log_that_was_cut_off(log, run):
    """An earlier head shows it, with status 3."""
    head = run("head").strip()
    for table, column in (("{events}", "rowid"), ("{hashes}", "number")):
        log.database.write(f"DELETE FROM {table} WHERE {column} = 3")  # noqa: S608
    run("verify")
    assert "event 3 is missing" in run("verify", "--head", head, status=3)


def test_a_log_of_an_earlier_version(log, run):
    """It cannot be verified yet, status 4; once it is sealed that is said."""
    log.database.write("DELETE FROM {hashes}")
    told = run("verify", status=4)
    assert told.startswith("Error: 3 events without hashes")
    assert log.database.read("SELECT 1 FROM {hashes}") == []
    TaskLog(log.database)
    assert "The first 3 were written by an earlier version" in run("verify")


def test_no_log(run, tmp_path):
    """A store that is not there is not made by looking at it."""
    for command in (["verify"], ["head"], ["export"]):
        assert "There is no event log" in run(*command, status=1, name="other")
    assert not (tmp_path / "other.db").exists()


def test_copies(log, run, tmp_path):
    """A log goes through a file or a pipe, and only into an empty one."""
    file = tmp_path / "log.jsonl"
    assert run("export", str(file)) == ""
    assert run("import", str(file), name="other") == ""
    assert run("head", name="other") == run("head")
    piped = run("export")
    assert piped.encode() == file.read_bytes()
    run("import", name="third", stdin=piped)
    assert run("head", name="third") == run("head")
    assert "into an empty one" in run("import", str(file), status=1)


@pytest.mark.parametrize("head", ["x", "3:12"])
def test_a_wrong_head(log, run, head):
    """What is no head is refused before anything is read."""
    assert "is no head" in run("verify", "--head", head, status=1)
