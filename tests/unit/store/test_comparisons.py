"""How far comparisons have come, in the database of the event log."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest

from cdc_actors.store.comparisons import ComparisonRows
from cdc_actors.store.event_log import TaskLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.postgres import PostgresServer


@pytest.fixture(params=["sqlite", "postgres"])
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], TaskLog]:
    """Return what opens one store, as often as it is called."""
    if request.param == "sqlite":
        return partial(TaskLog.sqlite, str(tmp_path / "cdc.db"))
    return partial(TaskLog.postgres, request.getfixturevalue("postgres_url"))


def test_the_newest_of_each_task_is_kept(open_log: Callable[[], TaskLog]) -> None:
    """A later state replaces the one before, also for who opens the store again."""
    with closing(open_log()) as log:
        rows = ComparisonRows(log)
        rows.save("a", b"1")
        rows.save("a", b"2")
        rows.save("b", b"3")
        rows.delete("b")
    with closing(open_log()) as log:
        assert ComparisonRows(log).load_all() == {"a": b"2"}


def test_two_stores_of_one_server(postgres_server: PostgresServer) -> None:
    """What one schema has is not another's."""
    urls = postgres_server.new_schema(), postgres_server.new_schema()
    with (
        closing(TaskLog.postgres(urls[0])) as log,
        closing(TaskLog.postgres(urls[1])) as other,
    ):
        ComparisonRows(log).save("a", b"1")
        assert ComparisonRows(other).load_all() == {}
