"""Checkpoints: one row a channel, replaced all at once, on both databases."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from cdc_actors.changes import Checkpoint, Position
from cdc_actors.errors import UnavailableError
from cdc_actors.store.checkpoints import Checkpoints
from cdc_actors.store.event_log import TaskLog
from tests.support.tasks import checkpoint

TASK, OTHER = "a" * 32, "b" * 32


@pytest.fixture(params=["sqlite", "postgres"])
def log(request, tmp_path):
    """An empty log, in each kind of database."""
    if request.param == "sqlite":
        opened = TaskLog.sqlite(str(tmp_path / "cdc.db"))
    else:
        opened = TaskLog.postgres(request.getfixturevalue("postgres_url"))
    with closing(opened):
        yield opened


@pytest.fixture
def checkpoints(log):
    """Checkpoints in an empty database."""
    return Checkpoints(log)


def test_loaded_equals_saved(checkpoints):
    """Every field of a checkpoint comes back, the position byte for byte."""
    saved = [
        Checkpoint(Position("ch-1", bytes(range(256)), "1:2"), True, (1 << 63) - 1),
        Checkpoint(Position("ch-é", b"", ""), False, 0),
    ]
    checkpoints.save(TASK, saved)
    assert checkpoints.load(TASK) == {"ch-1": saved[0], "ch-é": saved[1]}


def test_saving_replaces_the_channels_given(checkpoints):
    """A channel that is saved again is replaced, another one stays."""
    first, second = checkpoint("ch-1", 1), checkpoint("ch-2", 1)
    checkpoints.save(TASK, [first, second])
    moved = checkpoint("ch-1", 9)
    checkpoints.save(TASK, iter([moved]))
    assert checkpoints.load(TASK) == {"ch-1": moved, "ch-2": second}


def test_tasks_do_not_mix(checkpoints):
    """Tasks that read the same channel have a checkpoint each; one can be forgotten."""
    checkpoints.save(TASK, [checkpoint(tick=1)])
    checkpoints.save(OTHER, [checkpoint(tick=2)])
    checkpoints.delete(TASK)
    assert checkpoints.load(TASK) == {}
    assert [kept.tick for kept in checkpoints.load(OTHER).values()] == [2]


def test_nothing_to_save_or_delete(checkpoints):
    """Saving no checkpoint and forgetting none are no errors."""
    checkpoints.save(TASK, [])
    checkpoints.delete(TASK)
    assert checkpoints.load(TASK) == {}


def test_all_or_none(checkpoints):
    """If one row cannot be saved none is."""
    before = checkpoint("ch-1", 1)
    checkpoints.save(TASK, [before])
    unfit = replace(checkpoint("ch-2"), position=Position("ch-2", None, "x"))
    with pytest.raises(UnavailableError, match=r"(?i)not.null"):
        checkpoints.save(TASK, [checkpoint("ch-1", 2), unfit])
    assert checkpoints.load(TASK) == {"ch-1": before}


def test_opened_again(log, checkpoints):
    """Checkpoints that were saved are there when the table exists already."""
    checkpoints.save(TASK, [checkpoint(tick=5)])
    assert Checkpoints(log).load(TASK) == checkpoints.load(TASK)


def test_closed(log, checkpoints):
    """After the log is closed every call says that it cannot answer."""
    log.close()
    for call in (
        lambda: checkpoints.save(TASK, [checkpoint()]),
        lambda: checkpoints.load(TASK),
        lambda: checkpoints.delete(TASK),
    ):
        with pytest.raises(UnavailableError, match="cannot answer"):
            call()
