"""A task actor in memory: it keeps what a run has written down."""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING, Self

from cdc_actors.pipeline.messages import (
    AdvanceSendHorizons,
    RecordCheckpoints,
    RecordCollectionSetAside,
    RecordOperationApplied,
    RecordOperationStarted,
    RecordSegmentsDone,
    RecordSegmentsForgotten,
    RecordSnapshotStarted,
    RecordSource,
    RecordStarts,
    RunFailed,
)
from cdc_actors.tasks import snapshots
from tests.support.tasks import SPEC, SUPERVISOR, new_task

if TYPE_CHECKING:
    from cdc_actors.changes import Checkpoint
    from cdc_actors.tasks import CollectionEntry, TaskSpec

_SAYS = {"who": SUPERVISOR, "why": "test"}


class _Answer:
    def get(self, timeout: float | None = None) -> None:
        """Every write is durable at once."""


class FakeTask:
    """Stands for the task's ``ActorRef``, with a real aggregate. Any thread may use it.

    ``checkpoints``, ``horizons`` and ``segments_done`` are those that were written
    down.
    """

    def __init__(self, spec: TaskSpec = SPEC) -> None:
        self.task = new_task(spec=spec)
        self.checkpoints: dict[str, Checkpoint] = {}
        self.horizons: dict[str, int] = {}
        self.segments_done: dict[int, frozenset[int]] = {}
        self.asked: list[object] = []
        self.told: list[object] = []
        self._lock = threading.Lock()

    def backup(self) -> Self:
        """Return what is written down just now, as a task of its own."""
        with self._lock:
            backup = type(self)(self.task.spec)
            backup.task = copy.deepcopy(self.task)
            backup.checkpoints = dict(self.checkpoints)
            backup.horizons = dict(self.horizons)
            backup.segments_done = dict(self.segments_done)
        return backup

    def ask(self, message: object, *, block: bool = True) -> _Answer:
        """Write down what a run has done; it is durable at once."""
        assert not block
        with self._lock:
            self.asked.append(message)
            self._record(message)
        return _Answer()

    def tell(self, message: object) -> None:
        """Take down what needs no answer."""
        self.told.append(message)

    def count(self, kind: type) -> int:
        """Return how many messages of a kind were asked."""
        with self._lock:
            return sum(isinstance(each, kind) for each in self.asked)

    @property
    def failures(self) -> list[Exception]:
        """Why the runs failed that did."""
        return [each.error for each in self.told if isinstance(each, RunFailed)]

    @property
    def entries(self) -> dict[str, CollectionEntry]:
        """The collections by name, the newest of several."""
        return {each.name: each for each in self.task.collections.values()}

    def _record(self, message: object) -> None:
        match message:
            case RecordOperationStarted():
                self.task.start_operation(message.operation, **_SAYS)
            case RecordOperationApplied():
                self.task.apply_operation(message.operation, **_SAYS)
            case RecordCollectionSetAside():
                error, stood = message.error, message.stood.values()
                self.task.set_aside(
                    message.entry, str(error), error.failure_class, stood, **_SAYS
                )
            case RecordSnapshotStarted(_, entry, rows, size, cheaper):
                snapshots.start(self.task, entry, rows, size, cheaper)
            case RecordSegmentsDone(_, collection_id, segments):
                done = self.segments_done.get(collection_id, frozenset())
                self.segments_done[collection_id] = done.union(segments)
            case RecordSegmentsForgotten(_, collection_id):
                self.segments_done.pop(collection_id, None)
            case RecordSource():
                self.task.identify_source(message.identity, **_SAYS)
            case RecordStarts():
                self.checkpoints |= message.starts
                self.task.start(list(message.starts.values()), **_SAYS)
            case RecordCheckpoints() | AdvanceSendHorizons():
                self._record_progress(message)

    def _record_progress(
        self, message: RecordCheckpoints | AdvanceSendHorizons
    ) -> None:
        if isinstance(message, RecordCheckpoints):
            self.checkpoints |= message.checkpoints
        else:
            self.horizons |= message.horizons
