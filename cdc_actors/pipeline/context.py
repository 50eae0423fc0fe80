"""What the reader and the appliers of one running task share.

A stream is one run of a task from opening its source to the next pause, failure or stop.
Its number tells a late message of an earlier run from one of this.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pykka

from cdc_actors.changes import REPLICATED_FROM_CATALOG
from cdc_actors.errors import CdcError, TransientError
from cdc_actors.pipeline.messages import RecordOperationApplied, RunFailed
from cdc_actors.pipeline.work_queue import RunBudget
from cdc_actors.replication.progress import PendingCheckpoint, Progress
from cdc_actors.tasks import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from cdc_actors.changes import Checkpoint, Unknown
    from cdc_actors.memory_budget import MemoryBudget

IN_HAND = 2.0
FETCHED_AHEAD = 0.125
"""What a run may hold of the memory that is free: between log and target, and before it
is read at all."""

GRACE = 0.25
"""Seconds that requests under way get to be answered once the stream is to stop."""

RECORD_TIMEOUT = 30.0
"""Seconds that the event log may take to write one event."""


class RunContext:
    """Shared by the threads of one run of a task; every method is safe for any."""

    def __init__(
        self, number: int, task: pykka.ActorRef[Any], memory: MemoryBudget
    ) -> None:
        self.number = number
        self.budget = RunBudget(memory.quota(IN_HAND))
        self.fetched_ahead = memory.quota(FETCHED_AHEAD)
        self._task = task
        self._progress = Progress()
        self._lock = threading.Lock()
        self._stop_at: float | None = None
        self._rows = 0
        self._sent: dict[str, int] = {}

    def begin(self, channel: str, checkpoint: Checkpoint | None) -> None:
        """Say up to where a channel is applied from before, None for nowhere."""
        with self._lock:
            self._progress.begin(channel, checkpoint)

    def open_mark(self, channel: str, checkpoint: Checkpoint) -> PendingCheckpoint:
        """Return the channel's next mark, held once."""
        with self._lock:
            mark = self._progress.open(channel, checkpoint)
            self._progress.hold(mark)
            return mark

    def hold(self, mark: PendingCheckpoint) -> PendingCheckpoint:
        """Keep a mark busy once more, and return it."""
        with self._lock:
            self._progress.hold(mark)
        return mark

    def release(self, marks: Iterable[PendingCheckpoint], rows: int = 0) -> None:
        """Say that a part of each mark is applied, with so many rows."""
        with self._lock:
            self._progress.release(marks)
            self._rows += rows

    def checkpoints(self) -> dict[str, Checkpoint]:
        """Return up to where each channel is applied."""
        with self._lock:
            return self._progress.checkpoints()

    def note_sent(self, channel: str, timestamp: int) -> None:
        """Say that a channel's changes up to a timestamp are on their way."""
        self._sent[channel] = timestamp

    @property
    def sent(self) -> dict[str, int]:
        """Up to where each channel's changes are on their way, or there."""
        return dict(self._sent)

    @property
    def rows(self) -> int:
        """How many rows the target confirmed in this run."""
        return self._rows

    def stop(self) -> None:
        """Ask every thread of the stream to end; what waits is given up after a grace."""
        if self._stop_at is None:
            self._stop_at = time.monotonic()

    @property
    def stopping(self) -> bool:
        """Whether the stream is to end."""
        return self._stop_at is not None

    def close(self) -> None:
        """Give back the memory. Idempotent; after every thread was asked to end."""
        self.budget.close()
        self.fetched_ahead.close()

    def cancelled(self) -> bool:
        """Tell whether even requests under way have had their time."""
        return self._stop_at is not None and time.monotonic() > self._stop_at + GRACE

    def record(self, message: object) -> None:
        """Have the task write an event; returns when it is durable.

        Raises:
            CdcError: The event log does not take it.
            TransientError: It does not answer in time, or the stream is to stop.
        """
        answer = self._task.ask(message, block=False)
        deadline = time.monotonic() + RECORD_TIMEOUT
        while not self.cancelled() and time.monotonic() < deadline:
            try:
                answer.get(timeout=GRACE)
            except pykka.Timeout:
                continue
            except pykka.ActorDeadError as error:
                raise TransientError("the task has ended") from error
            return
        raise TransientError("the event log does not answer in time")

    def record_unknown(self, change: Unknown) -> None:
        """Write down a message of the log that says what this version does not know."""
        if change.kind in REPLICATED_FROM_CATALOG:
            return
        operation = Operation(
            kind=change.kind,
            timestamp=change.timestamp,
            database="",
            name="",
            detail={"refused": "this version does not know the operation"},
        )
        self.record(RecordOperationApplied(operation))

    def tell(self, message: object) -> None:
        """Send the task a message that needs no answer."""
        self._task.tell(message)

    def guard(self, step: Callable[[], None]) -> bool:
        """Run one step of a thread of the stream; tell whether it went well.

        A failure ends the stream and is told to the task, which decides what follows; in
        a stream that is stopping, failures are its stopping.
        """
        try:
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
        self.tell(RunFailed(self.number, error))
