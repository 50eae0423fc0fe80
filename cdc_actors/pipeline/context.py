"""What the reader and the appliers of one run of a task share.

A run goes from opening the source to the next pause, failure or stop. Its number tells a
late message of an earlier run from one of this.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import pykka
import structlog

from cdc_actors.changes import REPLICATED_FROM_CATALOG
from cdc_actors.errors import CdcError, TransientError
from cdc_actors.marks import Mark
from cdc_actors.pipeline.definitions import channels_of
from cdc_actors.pipeline.messages import (
    RecordCheckpoints,
    RecordCollectionSetAside,
    RecordOperationApplied,
    RunFailed,
)
from cdc_actors.pipeline.refused_kinds import RefusedKinds
from cdc_actors.pipeline.retried import RetriedCollections
from cdc_actors.pipeline.snapshot_jobs import SnapshotJobs
from cdc_actors.pipeline.work import NO_ROWS
from cdc_actors.pipeline.work_queue import RunBudget
from cdc_actors.replication.progress import PendingCheckpoint, Progress
from cdc_actors.tasks import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from cdc_actors.changes import Checkpoint, Unknown
    from cdc_actors.memory_budget import MemoryBudget
    from cdc_actors.pipeline.claims import Claimant
    from cdc_actors.pipeline.work import AppliedRows
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.tasks import CollectionEntry

ROWS_SHARE = 2.0
"""How many times the memory that is free a run may hold between log and target."""

PREFETCH_SHARE = 0.125
"""How much of the memory that is free a run may hold before it takes it from the log."""

STOP_GRACE = 0.25
"""Seconds that requests under way have to be answered once the run is to stop."""

RECORD_TIMEOUT = 30.0
"""Seconds that the event log may take to write one event."""


class RunContext:
    """Shared by the threads of one run of a task; every method is safe for any."""

    def __init__(
        self,
        run_number: int,
        task: pykka.ActorRef[Any],
        memory: MemoryBudget,
        claimant: Claimant,
        source_time: Callable[[], int],
        requests: str = "",
        refused_kinds: Iterable[str] = (),
    ) -> None:
        """``source_time`` returns what ``Catalog.time`` does.

        ``requests`` is the channel of clients' requests; ``refused_kinds`` are those that
        earlier runs have written down.
        """
        self._requests = requests
        self.run_number = run_number
        self.claimant = claimant
        self.source_time = source_time
        self.source_marks: dict[int, Mark] = {}
        self.memory = memory
        self.budget = RunBudget(memory.quota(ROWS_SHARE))
        self.prefetch = memory.quota(PREFETCH_SHARE)
        self._task = task
        self._progress = Progress()
        self._lock = threading.Lock()
        self._stop_at: float | None = None
        self._applied = NO_ROWS
        self._applied_by: dict[int, AppliedRows] = {}
        self._sent: dict[str, int] = {}
        self._unknown_kinds: set[str] = set()
        self.refused_kinds = RefusedKinds(refused_kinds)
        self.retried = RetriedCollections()
        self.snapshot_jobs = SnapshotJobs()
        self._log_context = structlog.contextvars.get_contextvars()

    def note_source_mark(self, meta: CollectionMeta) -> None:
        """Keep the mark of a collection that the source has, if it has one.

        What cannot be read there is no affair of this task. The reader's thread.
        """
        with suppress(msgspec.MsgspecError):
            if mark := Mark.of(meta.properties):
                self.source_marks[meta.id] = mark
                return
        self.source_marks.pop(meta.id, None)

    def add_channel(self, channel: str, checkpoint: Checkpoint | None) -> None:
        """Say up to where a channel is applied from before, None for nowhere."""
        with self._lock:
            self._progress.add_channel(channel, checkpoint)

    def begin_checkpoint(
        self, channel: str, checkpoint: Checkpoint
    ) -> PendingCheckpoint:
        """Return the channel's next checkpoint with the caller's reference to it."""
        with self._lock:
            return self._progress.begin_checkpoint(channel, checkpoint)

    def acquire(self, checkpoint: PendingCheckpoint) -> PendingCheckpoint:
        """Refer to a checkpoint once more, and return it."""
        with self._lock:
            self._progress.acquire(checkpoint)
        return checkpoint

    def release(
        self,
        parts: Iterable[PendingCheckpoint],
        rows: AppliedRows = NO_ROWS,
        collection_id: int = 0,
    ) -> None:
        """Give up one reference to each: a part is applied, with a collection's rows."""
        with self._lock:
            self._progress.release(parts)
            if rows.count:
                self._applied += rows
                before = self._applied_by.get(collection_id, NO_ROWS)
                self._applied_by[collection_id] = before + rows

    def checkpoints(self) -> dict[str, Checkpoint]:
        """Return up to where each channel is applied."""
        with self._lock:
            return self._progress.checkpoints()

    @property
    def is_settled(self) -> bool:
        """Whether all that was read is applied."""
        with self._lock:
            return self._progress.is_settled

    def where_stands(self, entry: CollectionEntry) -> dict[str, Checkpoint]:
        """Return up to where a collection's channels, and clients' requests, are applied.

        Whoever has work of the collection must not have given it up. Empty for one that
        is only shown.
        """
        channels = channels_of(entry.shards)
        wanted = {*channels, self._requests} if channels else set()
        return {c: at for c, at in self.checkpoints().items() if c in wanted}

    def note_sent(self, channel: str, timestamp: int) -> None:
        """Say that a channel's changes up to a timestamp are on their way."""
        self._sent[channel] = max(timestamp, self._sent.get(channel, 0))

    @property
    def sent(self) -> dict[str, int]:
        """Up to where each channel's changes are on their way, or there."""
        return dict(self._sent)

    @property
    def applied(self) -> AppliedRows:
        """The rows that the target confirmed in this run."""
        return self._applied

    @property
    def applied_by(self) -> dict[int, AppliedRows]:
        """The same by collection id, of those that had any."""
        with self._lock:
            return dict(self._applied_by)

    def stop(self) -> None:
        """Ask every thread of the run to end; what waits is cancelled after a grace."""
        if self._stop_at is None:
            self._stop_at = time.monotonic()

    @property
    def stopping(self) -> bool:
        """Whether the run is to end."""
        return self._stop_at is not None

    def check_running(self) -> None:
        """Raise TransientError if the run is to end."""
        if self.stopping:
            raise TransientError("the run is to stop")

    def close(self) -> None:
        """Give back the memory. Idempotent; after every thread was asked to end."""
        self.budget.close()
        self.prefetch.close()

    def cancelled(self) -> bool:
        """Tell whether even requests under way have had their time."""
        return (
            self._stop_at is not None and time.monotonic() > self._stop_at + STOP_GRACE
        )

    def record(self, message: object) -> None:
        """Have the task write an event; returns when it is durable.

        Raises:
            CdcError: The event log does not take it.
            TransientError: It does not answer in time, or the run is to stop.
        """
        answer = self._task.ask(message, block=False)
        deadline = time.monotonic() + RECORD_TIMEOUT
        while not self.cancelled() and time.monotonic() < deadline:
            try:
                answer.get(timeout=STOP_GRACE)
            except pykka.Timeout:
                continue
            except pykka.ActorDeadError as error:
                raise TransientError("the task has ended") from error
            return
        raise TransientError("the event log does not answer in time")

    def record_set_aside(
        self,
        entry: CollectionEntry,
        error: CdcError,
        stood: Mapping[str, Checkpoint] | None = None,
    ) -> None:
        """Write down that a collection cannot go on, and why; raises as ``record`` does.

        ``stood`` is where it stands if not where its channels do.
        """
        stood = stood or self.where_stands(entry)
        self.record(RecordCollectionSetAside(self.run_number, entry, error, stood))

    def record_checkpoints(self) -> None:
        """Write down how far the target has come; raises as ``record`` does.

        So that the next run sends as little as possible once more.
        """
        self.record(RecordCheckpoints(self.run_number, self.checkpoints()))

    def record_unknown(self, change: Unknown) -> None:
        """Write down a kind of message that this version does not know, once a run.

        The reader's thread.
        """
        if change.kind in REPLICATED_FROM_CATALOG or change.kind in self._unknown_kinds:
            return
        self._unknown_kinds.add(change.kind)
        operation = Operation(
            kind=change.kind,
            timestamp=change.timestamp,
            database="",
            name="",
            detail={"refused": "this version does not know the operation"},
        )
        self.record(RecordOperationApplied(operation))

    def notify_task(self, message: object) -> None:
        """Send the task a message that needs no answer."""
        self._task.tell(message)

    def guard(self, step: Callable[[], None]) -> bool:
        """Run one step of a thread of the run; tell whether it went well.

        A failure ends the run and is told to the task, which decides what follows; in a
        run that is stopping, failures are its stopping. Log lines of the step say what
        those of the task's actor say: the task's id.
        """
        try:
            with structlog.contextvars.bound_contextvars(**self._log_context):
                step()
        except Exception as error:  # noqa: BLE001 - whatever it is, the task must know
            if not self.stopping:
                self._fail(error)
            return False
        return True

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, CdcError):
            wrapped = TransientError(f"unexpected {type(error).__name__}: {error}")
            wrapped.__cause__ = error
            error = wrapped
        self.stop()
        self.notify_task(RunFailed(self.run_number, error))
