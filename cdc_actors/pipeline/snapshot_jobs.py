"""The collections of one run that are to come from files, and how far each has come."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cdc_actors.pipeline.messages import SnapshotProgress
from cdc_actors.pipeline.snapshot_pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cdc_actors.errors import CdcError
    from cdc_actors.tasks import CollectionEntry

_LOOK_SECONDS = 0.25


class LeftError(Exception):
    """No more of a collection's rows are to come for now."""


@dataclass(slots=True, eq=False)
class SnapshotJob:
    """One collection to be brought. ``again`` tells that the target may have parts."""

    entry: CollectionEntry
    again: bool
    done: set[int] = field(default_factory=set)
    kept_until: float | None = None
    rows: int = 0
    total: int = 0
    size: int = 0
    total_size: int = 0
    is_over: bool = False


def progress(
    jobs: Iterable[SnapshotJob], pace: Pace
) -> Iterator[tuple[SnapshotJob, SnapshotProgress]]:
    """Yield how far each of some collections is that come one after the other.

    How long one takes is known once the files of all before it are listed.
    """
    left: int | None = 0
    for job in jobs:
        rest = job.total_size - job.size if job.total_size else None
        left = None if left is None or rest is None else left + rest
        yield (
            job,
            SnapshotProgress(
                rows=job.rows,
                total=job.total,
                size=job.size,
                total_size=job.total_size,
                seconds_left=None if left is None else pace.seconds_for(left),
                kept_until=job.kept_until,
            ),
        )


class SnapshotJobs:
    """One is brought after another. Every method is safe for any thread."""

    def __init__(self) -> None:
        self.pace = Pace()
        self._jobs: deque[SnapshotJob] = deque()
        self._failed: list[tuple[SnapshotJob, CdcError]] = []
        self._taken: set[int] = set()
        self._changed = threading.Condition()

    def add(self, job: SnapshotJob) -> None:
        """Have a collection brought after those that wait."""
        with self._changed:
            self._jobs.append(job)

    def first(self) -> SnapshotJob | None:
        """Return the one that is under way from now on."""
        with self._changed:
            if self._jobs:
                self.pace.work()
                return self._jobs[0]
            return None

    def done(self) -> None:
        """Know that nothing of the first is under way any more."""
        with self._changed:
            self.pace.rest()
            self._jobs.popleft()
            self._changed.notify_all()

    def take(self, job: SnapshotJob) -> bool:
        """Know that all of one is there, unless it is to be sent again; tell that."""
        with self._changed:
            if job.is_over:
                return False
            self._taken.add(job.entry.collection_id)
            return True

    def fail(self, job: SnapshotJob, error: CdcError) -> None:
        """Bring no more of one for now: the others of the task go on."""
        with self._changed:
            self._failed.append((job, error))

    def take_failed(self) -> list[tuple[CollectionEntry, CdcError]]:
        """Return, once, what cannot go on and why."""
        with self._changed:
            failed, self._failed = self._failed, []
            return [(job.entry, error) for job, error in failed if not job.is_over]

    def cancel(self, collection_id: int) -> bool:
        """Bring no more of a collection; tell whether not all of it is there yet."""
        with self._changed:
            for job in (*self._jobs, *(job for job, _ in self._failed)):
                if job.entry.collection_id == collection_id:
                    job.is_over = True
            return collection_id not in self._taken

    def leave(self, collection_id: int, check: Callable[[], None]) -> None:
        """Bring no more of a collection; return once nothing of it is under way.

        ``check``, called now and then, raises an error if that need not be waited for.
        """
        self.cancel(collection_id)
        with self._changed:
            while self._jobs and self._jobs[0].entry.collection_id == collection_id:
                check()
                self._changed.wait(_LOOK_SECONDS)

    def shown(self) -> dict[int, SnapshotProgress]:
        """Return how far each collection has come, by id."""
        with self._changed:
            jobs = [job for job in self._jobs if not job.is_over]
        return {
            job.entry.collection_id: each for job, each in progress(jobs, self.pace)
        }
