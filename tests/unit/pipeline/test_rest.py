"""A run that has nothing to do, by the real actors, on a log in memory that it shares."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace as altered

from cdc_actors.changes import LOGICAL_BITS
from cdc_actors.pipeline import read_loop, waking
from cdc_actors.pipeline.messages import RunProgressed
from cdc_actors.source.wal.shared import SharedLogs
from tests.fakes.memory_log import MemoryReader
from tests.fakes.pipeline import Pipeline
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.source.wal.base import WalReader

NEVER = 1000.0

SETTLED = 60_000 << LOGICAL_BITS
"""The time of the source after which what the catalog shows of a collection is taken."""


class Resting(Pipeline):
    """A task of one collection of two; time alone never ends its reader's rest."""

    def __init__(self) -> None:
        super().__init__(altered(SPEC, collection_infos=("books",)))
        self.readers: list[WalReader] = []
        self.servers = replace(self.servers, log=self.open)
        self._logs = SharedLogs()
        self.books, self.others = map(self.source.create, ("books", "others"))

    def open(self, _spec: RunSpec, run: RunContext) -> WalReader:
        """Open the log, whose end others may read, too."""
        self.readers.append(
            self._logs.open(
                "source",
                lambda _: MemoryReader(self.source.log),
                run.memory,
                run.prefetch,
            )
        )
        return self.readers[-1]

    @property
    def rests(self) -> bool:
        """Whether the reader does."""
        return self.readers[-1]._rests

    @property
    def progress(self) -> RunProgressed:
        """The newest report of the run."""
        told = [each for each in self.task.told if isinstance(each, RunProgressed)]
        return told[-1]


@pytest.fixture
def resting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resting]:
    """Return a task whose reader rests."""
    monkeypatch.setattr(read_loop, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(waking, "IDLE_SECONDS", NEVER)
    with Resting() as pipeline:
        pipeline.start()
        pipeline.source.now += SETTLED
        pipeline.source.tick()
        pipeline.wait_until(lambda: pipeline.rests)
        yield pipeline


def test_what_is_confirmed_moves_with_the_ticks_and_nothing_is_done(
    resting: Resting,
) -> None:
    """Nor for rows of a collection that is not the task's; no report is needed for it."""
    before = resting.source.looks, len(resting.task.told)
    progress = resting.progress
    resting.source.insert(resting.others, [1])
    tick = resting.source.tick()
    resting.wait_until(lambda: progress.confirmed_by_now() == tick)
    assert (resting.source.looks, len(resting.task.told)) == before


def test_rows_of_the_task_are_applied_at_once(resting: Resting) -> None:
    """Nothing but the rows wakes the reader, and it rests again."""
    resting.source.insert(resting.books, [1])
    resting.source.tick()
    resting.wait_until(lambda: resting.target.rows("books"))
    resting.wait_until(lambda: resting.rests)
    assert resting.target.rows("books") == {1: 1}
