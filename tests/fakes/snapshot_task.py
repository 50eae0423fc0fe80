"""A task on doubles whose collection comes from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.pipeline.messages import SnapshotTaken
from cdc_actors.tasks import snapshots

if TYPE_CHECKING:
    from tests.fakes.pipeline import Pipeline


class SnapshotTask:
    """What its tests have in common. One thread uses it."""

    pipeline: Pipeline

    def taken(self) -> SnapshotTaken | None:
        """Return what the run has told of a snapshot that is complete."""
        told = self.pipeline.task.told
        return next((each for each in told if isinstance(each, SnapshotTaken)), None)

    def complete(self) -> None:
        """Wait until the snapshot is done, and have the log follow."""
        self.pipeline.wait_until(self.taken)
        taken = self.taken()
        self.pipeline.stop()
        at = list(self.pipeline.task.checkpoints.values())
        task = self.pipeline.task.task
        snapshots.complete(task, taken.collection_id, taken.rows, taken.seconds, at)
        self.pipeline.start()
        self.pipeline.source.tick()
        self.pipeline.settle()
