"""Fences: one timestamp a channel, kept through a restart, on both databases."""

from __future__ import annotations

from contextlib import closing

import pytest

from cdc_actors.store.event_log import TaskLog
from cdc_actors.store.send_horizons import SendHorizons

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


def test_a_fence_is_what_was_saved_last(log):
    """Channels move one by one, also backwards, and whoever opens the log later sees it."""
    fences = SendHorizons(log)
    fences.save(TASK, {"a": (1 << 63) - 1, "b": 5})
    fences.save(TASK, {"b": 3})
    assert SendHorizons(log).load(TASK) == {"a": (1 << 63) - 1, "b": 3}


def test_tasks_do_not_mix(log):
    """Each task has its own fences; one task's can be forgotten."""
    fences = SendHorizons(log)
    fences.save(TASK, {"a": 1})
    fences.save(OTHER, {"a": 2})
    fences.delete(TASK)
    assert fences.load(TASK) == {}
    assert fences.load(OTHER) == {"a": 2}
