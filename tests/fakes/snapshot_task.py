"""A task on doubles whose collection comes from files."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from cdc_actors.pipeline.messages import SnapshotTaken
from cdc_actors.tasks import snapshots
from tests.fakes.pipeline import WAIT_SECONDS, Pipeline

if TYPE_CHECKING:
    from tests.fakes.fake_files import FakeFiles


class SnapshotTask:
    """What its tests have in common. One thread uses it."""

    pipeline: Pipeline
    files: FakeFiles

    def rename_meanwhile(self, name: str) -> None:
        """Begin a run; while it reads the second segment the source renames it all."""
        sending, go_on = threading.Event(), threading.Event()

        def wait(segment: int) -> None:
            if segment == 2 and not sending.is_set():
                sending.set()
                go_on.wait(WAIT_SECONDS)

        self.files.before = wait
        self.pipeline.begin()
        assert sending.wait(WAIT_SECONDS)
        self.pipeline.source.rename(self.files.meta, name)
        self.pipeline.source.catalog.tell()
        self.pipeline.source.tick()
        jobs = self.pipeline.run._context.snapshot_jobs
        try:
            self.pipeline.wait_until(lambda: not jobs.shown())
            assert f"rename c {name}" not in self.pipeline.target.asked
        finally:
            go_on.set()

    def taken(self) -> SnapshotTaken | None:
        """Return what the run has told of a snapshot that is complete."""
        told = self.pipeline.task.told
        return next((each for each in told if isinstance(each, SnapshotTaken)), None)

    def complete(self) -> None:
        """Wait until the snapshot is done, and have the log follow."""
        self.pipeline.wait_until(self.taken)
        self.complete_taken()
        self.pipeline.start()
        self.pipeline.source.tick()
        self.pipeline.settle()

    def complete_taken(self) -> None:
        """End the run of a snapshot that is done: the next one follows the log."""
        taken = self.taken()
        self.pipeline.stop()
        at = list(self.pipeline.task.checkpoints.values())
        task = self.pipeline.task.task
        snapshots.complete(task, taken.collection_id, taken.rows, taken.seconds, at)
