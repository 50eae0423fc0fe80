"""What the supervisor tells its clients of a task."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - whoever encodes evaluates the annotations
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cdc_actors.changes import Checkpoint, FullName
    from cdc_actors.compare import CollectionReport
    from cdc_actors.pipeline.messages import SnapshotProgress
    from cdc_actors.tasks.spec import TaskSpec

HealthStatus = Literal[
    "ok",
    "starting",
    "catching_up",
    "degraded",
    "stalled",
    "retrying",
    "failed",
    "paused",
    "unknown",
]
"""``unknown`` is only in the past: the log does not say how well a task ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problems:
    """What of a task is not well while the rest goes on, counted by kind.

    ``set_aside``, ``retrying`` (beside the others) and ``resync_needed`` count
    collections, ``operations_refused`` refused operations that still matter. ``since`` is
    when the first came, as far as that is known, ``reasons`` the first few in words.
    """

    set_aside: int = 0
    retrying: int = 0
    resync_needed: int = 0
    operations_refused: int = 0
    since: datetime | None = None
    reasons: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many there are."""
        collections = self.set_aside + self.retrying + self.resync_needed
        return collections + self.operations_refused

    @property
    def summary(self) -> str:
        """The first, and how many more there are; empty if there are none."""
        more = f"; and {self.count - 1} more" if self.count > 1 else ""
        return f"{self.reasons[0]}{more}" if self.reasons else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether a task moves, and if not, why and what comes next.

    The status is that of the worst part, ``since`` when it came to be so as far as that is
    known, of a task that runs the start of the service at the earliest. ``problems`` are
    those of parts while the rest goes on, whatever the status. ``attempt`` counts failures
    since the last recovery;
    ``next_try`` is when the task is started again by itself, None where it is not.
    ``warnings`` are sentences on what does not make the task less well.
    """

    status: HealthStatus
    since: datetime
    error: str | None = None
    failure_class: str | None = None
    attempt: int = 0
    next_try: datetime | None = None
    problems: Problems = Problems()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionView:
    """One collection of a task: where it stands, and why if it was set aside, or waits.

    ``target`` is its database and its name at the target. ``resync_needed`` says why rows
    are missing there that the log will never bring, None if there are none. ``snapshot``
    is how far the rows are that come from the source's files, None if none do just now.
    ``skipped_fields`` are those that the target has not, as it cannot hold them.
    """

    database: str
    name: str
    target: FullName
    collection_id: int
    state: str
    reason: str | None = None
    resync_needed: str | None = None
    snapshot: SnapshotProgress | None = None
    skipped_fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An operation of the source that was not done, and why; ``at`` is in UTC."""

    kind: str
    database: str
    name: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseView:
    """A database that a task names or has collections of, and what the target calls it.

    ``whole`` says that it is created and dropped at the target, too.
    """

    name: str
    target: str
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """A task as the API shows it.

    ``lag_seconds`` is how long ago, by the source's clock, the source was as the target is
    confirmed to be; None while it is unknown, never 0 for unknown. So is ``rows_applied``.
    ``as_of`` is the number of the event after which the task looked like this, None for
    the present. Of the operations that were ``refused``, ``refusals`` are the newest.
    ``node`` tells which of several services has it, empty where there is one, or none does.
    """

    task_id: str
    spec: TaskSpec
    state: str
    reason: str | None
    created_at: datetime
    health: Health
    lag_seconds: float | None
    rows_applied: int | None
    databases: tuple[DatabaseView, ...]
    collections: tuple[CollectionView, ...]
    refused: int = 0
    refusals: tuple[Refusal, ...] = ()
    as_of: int | None = None
    node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSummary:
    """What ``TaskView`` has of a task, but for what there is of each collection.

    ``task_id`` is as clients know it, ``uri`` the target's address. ``last_event`` is the
    number of the task's newest event, ``collections`` counts them by state. The rest is as
    in ``TaskView``.
    """

    task_id: str
    uri: str
    state: str
    reason: str | None
    created_at: datetime
    last_event: int
    health: Health
    lag_seconds: float | None
    rows_applied: int | None
    collections: dict[str, int]
    operations_refused: int
    node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All tasks, the oldest first, and what of the source is missing, by name."""

    missing: dict[str, str]
    tasks: list[TaskSummary]


@dataclass(frozen=True, slots=True, kw_only=True)
class LagSamples:
    """The lags of all tasks, sampled every ``every_seconds`` since ``since``.

    ``last`` is the number of the newest sample, which grows by one each time; ``times``
    are those of the samples, ``lag_seconds`` has as many values for each task, by its id as
    clients know it. A value is None where the lag was unknown, or there was no such task.
    """

    since: datetime
    every_seconds: float
    last: int
    times: list[datetime]
    lag_seconds: dict[str, list[float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionView:
    """Up to where a task has brought a channel.

    ``of_requests`` tells that it is the channel of clients' requests, not of rows.
    """

    task_id: str
    checkpoint: Checkpoint
    of_requests: bool


ComparisonStatus = Literal[
    "running", "equal", "different", "undecided", "cancelled", "failed"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonView:
    """The newest comparison of a task: how far it is, and what it came to.

    ``error`` is why it failed or, while it runs, what it waits for. ``collection`` is the
    source's name of the one that is being compared, with ``collection_rows`` of about
    ``collection_rows_expected`` looked at. ``counts`` are those of ``counts_of``,
    ``reports`` those of the collections that are done.
    """

    task_id: str
    status: ComparisonStatus
    began: datetime
    ended: datetime | None
    error: str | None
    repair: bool
    delete_extra: bool
    collections: int
    collections_done: int
    collection: str | None
    collection_rows: int
    collection_rows_expected: int | None
    counts: dict[str, int]
    reports: tuple[CollectionReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether the service can do its work, and what is missing by name.

    ``tasks`` counts them by the status of their health; None if they are not known.
    """

    ready: bool
    missing: dict[str, str]
    tasks: dict[HealthStatus, int] | None = None
