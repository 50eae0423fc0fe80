"""A run that has nothing to do, by the real actors, on a log in memory that it shares."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace as altered

from cdc_actors.changes import LOGICAL_BITS
from cdc_actors.pipeline import import_watch, read_loop, sources, waking
from cdc_actors.pipeline.import_watch import NOT_WRITTEN
from cdc_actors.pipeline.messages import RunProgressed
from cdc_actors.source.wal.shared import SharedLogs
from tests.fakes.memory_log import MemoryReader
from tests.fakes.pipeline import Pipeline
from tests.support.tasks import SPEC
from tests.unit.pipeline.test_imports import Importing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.source.wal.base import WalReader

NEVER = 1000.0

SETTLED = 60_000 << LOGICAL_BITS
"""The time of the source after which what the catalog shows of a collection is taken."""


class Resting(Pipeline):
    """A task of one of the collections; time alone never ends its reader's rest."""

    def __init__(self, name: str = "books") -> None:
        super().__init__(altered(SPEC, collection_infos=(name,)))
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

    def come_to_rest(self) -> None:
        """Start, and wait until nothing is left to be done."""
        self.start()
        self.source.now += SETTLED
        self.source.tick()
        self.wait_until(lambda: self.rests)

    @property
    def rests(self) -> bool:
        """Whether the reader does."""
        return self.readers[-1]._rests

    @property
    def progress(self) -> RunProgressed:
        """The newest report of the run."""
        told = [each for each in self.task.told if isinstance(each, RunProgressed)]
        return told[-1]


@pytest.fixture(autouse=True)
def _only_what_comes_wakes_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_loop, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(waking, "IDLE_SECONDS", NEVER)


@pytest.fixture
def resting() -> Iterator[Resting]:
    """Return a task whose reader rests."""
    with Resting() as pipeline:
        pipeline.come_to_rest()
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


def test_who_waits_for_an_import_does_not_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing tells when files have its rows."""
    monkeypatch.setattr(import_watch, "LOOK_SECONDS", 0.0)
    with Resting("c") as pipeline:
        importing = Importing(pipeline)
        monkeypatch.setattr(sources, "_files", lambda *_: importing.files)
        pipeline.come_to_rest()
        importing.import_rows()
        importing.wait_for_reason(NOT_WRITTEN)
        pipeline.source.tick()
        importing.files.flush()
        pipeline.wait_until(lambda: importing.written)
