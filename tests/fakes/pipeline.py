"""Runs of a task from a source in memory to a target in memory, by the real actors."""

from __future__ import annotations

import time
from itertools import chain
from typing import TYPE_CHECKING, Self

from cdc_actors.config import SourceConfig, Storage
from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.pipeline.claims import Claimant
from cdc_actors.pipeline.messages import RecordStarts
from cdc_actors.pipeline.owner_start import OwnerStart
from cdc_actors.pipeline.reservations import NameReservations
from cdc_actors.pipeline.run import Run
from cdc_actors.pipeline.run_spec import RunSpec
from cdc_actors.pipeline.sources import Servers
from cdc_actors.tasks import snapshots
from tests.fakes.fake_source import REQUESTS, FakeApi, FakeSource
from tests.fakes.fake_target import FakeTarget
from tests.fakes.fake_task import FakeTask
from tests.fakes.memory_log import MemoryReader
from tests.support.tasks import SPEC, SUPERVISOR

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from cdc_actors.marks import Mark
    from cdc_actors.tasks import TaskSpec

STORE = "5107e"
POLL_SECONDS = 0.001
WAIT_SECONDS = 60.0
STEPS = 3
LOOK_SECONDS = 0.01


class Pipeline:
    """One task, its source and its target. One thread uses it; ends its run on exit.

    ``alive`` are the ids of the store's other tasks.
    """

    def __init__(self, spec: TaskSpec = SPEC, memory: int = 256 << 20) -> None:
        self.source = FakeSource()
        self.requests = REQUESTS
        self.storage = Storage()
        self.target = FakeTarget()
        self.task = FakeTask(spec)
        self.memory = MemoryBudget(memory)
        self.reservations = NameReservations()
        self.alive: set[str] = set()
        self.run: Run | None = None
        self.owner_start: OwnerStart | None = None
        self.servers = Servers(
            target=lambda _spec, run: self.target.connect(run.cancelled),
            log=lambda _spec, _run: MemoryReader(self.source.log, POLL_SECONDS),
            catalog=lambda _spec: self.source.catalog,
            refuse_queue=lambda _spec, _found: None,
            refuse_target=lambda _target, _spec, _known: None,
            api=lambda _spec, _run: FakeApi(self.source),
            source_time=lambda _spec: self.source.now,
        )
        self._runs = 0

    def start(self) -> Self:
        """Begin a run from what is written down, and wait until it is open."""
        before = self.task.count(RecordStarts)
        self.begin()
        self.wait_until(lambda: self.task.count(RecordStarts) > before)
        return self

    def begin(self) -> None:
        """Begin a run from what is written down."""
        self._runs += 1
        self.task.told.clear()
        self.run = Run(self._runs, self.task, self._spec(), self.memory, self.servers)

    def stop(self) -> None:
        """End the run as a pause does: all that was confirmed is written down."""
        run, self.run = self.run, None
        if run.end():
            self.task.horizons |= run.sent()
        self.task.checkpoints |= run.checkpoints()

    def kill(self) -> None:
        """End the run and lose whatever was not written down when it happened."""
        run, self.run = self.run, None
        run.end()

    def restore(self, backup: FakeTask) -> None:
        """Let a new process own the store, which is what it was at a backup."""
        if self.run is not None:
            self.kill()
        self.task = backup.backup()
        self.owner_start = OwnerStart()
        self.begin()

    def retry(self, *names: str) -> None:
        """Have collections taken up again, or all that can be, and begin another run."""
        self.stop()
        self.retry_ended(*names)
        self.begin()

    def retry_ended(self, *names: str) -> None:
        """Write down, between two runs, that collections are taken up again."""
        wanted = [("default", name) for name in names]
        checkpoints = list(self.task.checkpoints.values())
        self.task.task.retry(wanted, checkpoints, who=SUPERVISOR, why="test")

    def resync(
        self, *names: str, drop_target: bool = False, shadow: bool = False
    ) -> None:
        """Have collections brought anew, and begin another run."""
        if self.run is not None:
            self.stop()
        wanted = [("default", name) for name in names]
        method = "drop_target" if drop_target else "in_place"
        asked = {"method": "shadow" if shadow else method, "who": SUPERVISOR}
        snapshots.resync(self.task.task, wanted, **asked, why="test")
        self.begin()

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so.

        Raises:
            CdcError: The run has failed instead.
        """
        self._wait(lambda: self.task.failures or condition())
        if self.task.failures:
            raise self.task.failures[0]

    def settle(self) -> None:
        """Wait until everything that ticks cover is applied, and nothing is under way."""
        looks = self.source.looks + STEPS
        self.wait_until(lambda: self.source.looks > looks and self._is_settled())

    def wait_for_steps(self) -> None:
        """Let the reader take some steps, be there room to read or not."""
        looks = self.source.looks + STEPS
        self.wait_until(lambda: self.source.looks > looks)

    def wait_for_failure(self) -> Exception:
        """Wait until the run fails, end it as the task does, and return the error."""
        self._wait(lambda: self.task.failures)
        error = self.task.failures[0]
        self.stop()
        return error

    def wait_until_failed_or(self, condition: Callable[[], object]) -> None:
        """Wait until something is so, or the run fails."""
        self._wait(lambda: self.task.failures or condition())

    def wait_for_crash(self) -> None:
        """Wait until the run fails, and lose whatever was not written down then."""
        self._wait(lambda: self.task.failures)
        self.kill()

    @property
    def is_full(self) -> bool:
        """Whether the run holds all the memory that it may."""
        return not self.run._context.budget._quota.has_room()

    def _wait(self, condition: Callable[[], object]) -> None:
        """Look at every poll of the log, and now and then for what else happens."""
        deadline = time.monotonic() + WAIT_SECONDS
        with self.source.log.changed:
            while not condition():
                assert time.monotonic() < deadline, "it does not come to be so"
                self.source.log.changed.wait(LOOK_SECONDS)

    def _is_settled(self) -> bool:
        checkpoints = self.run.checkpoints()
        return all(
            checkpoints[channel].tick >= tick
            for channel, tick in self.source.ticks.items()
            if channel in checkpoints
        )

    def _is_written(self, mark: Mark) -> bool:
        """Tell whether a task of the store writes what a mark names."""
        task = self.task.task
        is_known = mark.collection_id in task.collections
        return mark.task in self.alive or (mark.task == task.task_id and is_known)

    def _spec(self) -> RunSpec:
        task = self.task.task
        return RunSpec(
            source=SourceConfig(replicate_chan=self.requests, storage=self.storage),
            task=task.spec,
            token="",
            claimant=Claimant(STORE, task.task_id, self._is_written),
            reservations=self.reservations.of(task.task_id, "target"),
            source_identity=task.source_identity,
            databases=task.databases,
            database_properties=task.database_properties,
            entries=tuple(task.collections.values()),
            aliases=task.aliases,
            rbac_rules=task.rbac_rules,
            passwords=task.passwords,
            unresolved=tuple(chain.from_iterable(task.unresolved.values())),
            refused_kinds=frozenset(task.refused_kinds),
            reached=task.reached,
            past_selections=task.past_selections,
            former=task.former,
            checkpoints=dict(self.task.checkpoints),
            segments_done=dict(self.task.segments_done),
            send_horizons=dict(self.task.horizons),
            owner_start=self.owner_start,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.run is not None:
            self.kill()
