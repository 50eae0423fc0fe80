"""Send horizons: one timestamp a channel, kept through a restart, on both databases."""

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


def test_a_send_horizon_is_what_was_saved_last(log):
    """Channels move one by one, also backwards, and whoever opens the log later sees it."""
    send_horizons = SendHorizons(log)
    send_horizons.save(TASK, {"a": (1 << 63) - 1, "b": 5})
    send_horizons.save(TASK, {"b": 3})
    assert SendHorizons(log).load(TASK) == {"a": (1 << 63) - 1, "b": 3}


def test_tasks_do_not_mix(log):
    """Each task has its own horizons; one task's can be forgotten."""
    send_horizons = SendHorizons(log)
    send_horizons.save(TASK, {"a": 1})
    send_horizons.save(OTHER, {"a": 2})
    send_horizons.delete(TASK)
    assert send_horizons.load(TASK) == {}
    assert send_horizons.load(OTHER) == {"a": 2}
