"""Stores of earlier versions, opened by this one: ``tests/support/golden_stores.py``."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from click.testing import CliRunner

from cdc_actors.cli.main import main
from cdc_actors.store.audit.export import export, import_log
from cdc_actors.store.checkpoints import Checkpoints
from cdc_actors.store.event_log import TaskLog
from cdc_actors.store.history import History
from cdc_actors.store.secrets import SecretBox
from cdc_actors.store.send_horizons import SendHorizons
from cdc_actors.tasks import CollectionState, TaskState
from tests.support.golden_stores import GOLDEN, KEY
from tests.support.tasks import CLIENT

if TYPE_CHECKING:
    from pathlib import Path

WITHOUT_HASHES = {"022239f"}
SHARDS = 2


@pytest.fixture(params=sorted(each.stem for each in GOLDEN.glob("*.db")))
def version(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the commit of a version; a copy of its store is in the test's folder."""
    name: str = request.param
    shutil.copy(GOLDEN / f"{name}.db", tmp_path / "cdc.db")
    return name


def audit(folder: Path, *words: str) -> tuple[int, str]:
    """Run ``cdc-actors audit`` on the copy; return its status and what it prints."""
    config = folder / "cdc.yaml"
    config.write_text(
        f"metaStoreConfig: {{sqlite: {{path: {folder / 'cdc.db'}}}}}\n"
        "sourceConfig: {natsmq: {address: nats://127.0.0.1:1}}\n"
    )
    done = CliRunner().invoke(main, ["audit", *words, "--config", str(config)])
    return done.exit_code, done.output


def test_the_tasks_are_what_they_were(version: str, tmp_path: Path) -> None:
    """State, collections, secret, checkpoints and send horizons; the deleted is gone."""
    assert version
    secrets = SecretBox.open(tmp_path / "cdc.key", {"CDC_ACTORS_KEY": KEY})
    with closing(TaskLog.sqlite(str(tmp_path / "cdc.db"))) as log:
        running, paused = (log.load(each) for each in log.alive_ids())
        assert (running.state, paused.state) == (TaskState.RUNNING, TaskState.PAUSED)
        assert running.spec.db_collections == {"default": ("books",)}
        assert paused.spec.db_collections == {"default": ("shops",)}
        assert secrets.decrypt(running.secret) == ""
        (books,) = running.collections.values()
        assert (books.name, books.state) == ("books", CollectionState.LIVE)
        assert len(books.shards) == SHARDS
        checkpoints = Checkpoints(log).load(running.task_id)
        horizons = SendHorizons(log).load(running.task_id)
        rows = [channel for channel in checkpoints if "dml" in channel]
        assert len(rows) == SHARDS
        assert all(horizons[channel] > checkpoints[channel].tick for channel in rows)


def test_the_history_can_be_read(version: str, tmp_path: Path) -> None:
    """Of the deleted task, too: each event is named, with who and why."""
    assert version
    with closing(TaskLog.sqlite(str(tmp_path / "cdc.db"))) as log:
        rows = log.database.read("SELECT DISTINCT originator_id AS id FROM {events}")
        pages = [
            History(log).page(UUID(str(row["id"])).hex, after=0, limit=100)
            for row in rows
        ]
    named = [[each.event for each in page.events] for page in pages]
    assert [each[0] for each in named] == ["created"] * 3
    assert {"deleted", "paused"} < {each[-1] for each in named}
    assert all(each.text and each.why for page in pages for each in page.events)


def test_the_log_is_verified(version: str, tmp_path: Path) -> None:
    """One without hashes gets them when it is opened; before, nothing is said of it."""
    status, told = audit(tmp_path, "verify")
    is_bare = version in WITHOUT_HASHES
    assert (status, "without hashes" in told) == ((4, True) if is_bare else (0, False))
    TaskLog.sqlite(str(tmp_path / "cdc.db")).close()
    status, told = audit(tmp_path, "verify")
    assert (status, "got them at" in told) == (0, is_bare)


def test_a_task_goes_on_being_written(version: str, tmp_path: Path) -> None:
    """What is decided now is chained to what was decided then."""
    assert version
    with closing(TaskLog.sqlite(str(tmp_path / "cdc.db"))) as log:
        paused = log.load(log.alive_ids()[1])
        before = paused.version
        paused.resume(who=CLIENT, why="test")
        log.save(paused)
        assert log.load(paused.task_id).version == before + 1
    assert audit(tmp_path, "verify")[0] == 0


def test_a_copy_is_the_same(version: str, tmp_path: Path) -> None:
    """An exported store of then is a whole one in an empty store of now."""
    assert version
    with (
        closing(TaskLog.sqlite(str(tmp_path / "cdc.db"))) as log,
        closing(TaskLog.sqlite(str(tmp_path / "copy.db"))) as copy,
    ):
        import_log(copy, export(log))
        assert copy.alive_ids() == log.alive_ids()
        for task_id in log.alive_ids():
            for table in (Checkpoints, SendHorizons):
                assert table(copy).load(task_id) == table(log).load(task_id)
