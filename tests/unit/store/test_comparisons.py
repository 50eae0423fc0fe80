"""How far comparisons have come, in the database of the event log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.store.comparisons import ComparisonRows
from cdc_actors.store.event_log import TaskLog

if TYPE_CHECKING:
    from pathlib import Path


def test_the_newest_of_each_task_is_kept(tmp_path: Path) -> None:
    """A later state replaces the one before, also for who opens the file again."""
    path = str(tmp_path / "cdc.db")
    log = TaskLog.sqlite(path)
    rows = ComparisonRows(log)
    rows.save("a", b"1")
    rows.save("a", b"2")
    rows.save("b", b"3")
    rows.delete("b")
    log.close()
    log = TaskLog.sqlite(path)
    assert ComparisonRows(log).load_all() == {"a": b"2"}
    log.close()
