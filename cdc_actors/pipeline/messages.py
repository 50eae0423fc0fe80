"""What the actors of one running task tell each other.

Commands are in the imperative, events in the past. Those to the task that write something
down are asked, and answered once it is durable; all others are told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from cdc_actors.changes import Checkpoint, FullName, Request
    from cdc_actors.errors import CdcError
    from cdc_actors.pipeline.work import AppliedRows
    from cdc_actors.tasks import CollectionEntry, Operation, SourceIdentity


@dataclass(frozen=True, slots=True)
class TakeStep:
    """To a reader, from itself: take the next step."""


@dataclass(frozen=True, slots=True)
class CollectionDropped:
    """To a reader: the collection's drop is done at the target."""

    collection_id: int


@dataclass(frozen=True, slots=True)
class CollectionRenamed:
    """To a reader: the collection has another name, here and at the target."""

    collection_id: int
    database: str
    name: str


@dataclass(frozen=True, slots=True)
class PlaceTaken:
    """To a reader: the collection is what was its shadow."""

    collection_id: int


@dataclass(frozen=True, slots=True)
class ShadowPostponed:
    """To a reader: the collection's shadow is not ready yet."""

    collection_id: int


@dataclass(frozen=True, slots=True)
class NameKept:
    """To a reader: the target neither renames nor drops the collection, set aside."""

    collection_id: int


@dataclass(frozen=True, slots=True)
class NameGivenUp:
    """To a reader: a collection does not get the name that a rename was to give it.

    ``name`` is the target's.
    """

    collection_id: int
    name: FullName


@dataclass(frozen=True, slots=True)
class AliasMoved:
    """To a reader: an alias of the target stands for the collection, or for none."""

    alias: FullName
    collection_id: int | None


@dataclass(frozen=True, slots=True)
class CollectionSuspended:
    """To a reader: the collection is set aside; nothing of it is to be sent any more."""

    collection_id: int


@dataclass(frozen=True, slots=True)
class FlushWanted:
    """To a reader: the log of the rows says that a client had the collection flushed."""

    request: Request
    collection_id: int


@dataclass(frozen=True, slots=True)
class FlushPostponed:
    """To a reader: the target's limits refuse a flush of the collection for now."""

    request: Request
    collection_id: int


@dataclass(frozen=True, slots=True)
class RecordOperationStarted:
    """To a task: write down that an operation begins; answered when that is durable."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class RecordOperationApplied:
    """To a task: write down that an operation is done; answered when that is durable."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class RecordCollectionSetAside:
    """To a task: write down that a collection cannot go on, why, and where it stands.

    ``stood`` are the checkpoints by channel, of its own and that of clients' requests.
    A run that has ended is not listened to: the next one may have it go on.
    """

    run_number: int
    entry: CollectionEntry
    error: CdcError
    stood: Mapping[str, Checkpoint]


@dataclass(frozen=True, slots=True)
class RecordSnapshotStarted:
    """To a task: write down that a collection comes from files; answered when durable.

    They hold so many rows, and have so many bytes. ``cheaper`` says why they are read
    although the log could bring it, if that is so.
    """

    run_number: int
    entry: CollectionEntry
    rows: int
    size: int
    cheaper: str = ""


@dataclass(frozen=True, slots=True)
class RecordSegmentsDone:
    """To a task: a collection's rows of some segments are at the target; answered."""

    run_number: int
    collection_id: int
    segments: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RecordSegmentsForgotten:
    """To a task: no segment of a collection is at the target any more; answered."""

    run_number: int
    collection_id: int


@dataclass(frozen=True, slots=True)
class FilesReported:
    """To a task: what a run knows of the source's files."""

    run_number: int


@dataclass(frozen=True, slots=True)
class SnapshotTaken(FilesReported):
    """All rows of a collection's files are at the target.

    So many were sent in this run, in so many seconds.
    """

    collection_id: int
    rows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ImportsWritten(FilesReported):
    """They have all rows of bulk imports that some live collections (ids) lack."""

    collections: frozenset[int]


@dataclass(frozen=True, slots=True)
class SnapshotProgress:
    """How many rows of a collection's files this run has sent, of how many in them.

    ``size`` is how many of the files' bytes are done, by whatever run, of ``total_size``.
    ``seconds_left`` is how long the rest will take, those before it included; None while
    that is unknown. ``kept_until`` is up to when the log has what comes after them, in
    seconds since 1970 by the source's clock; None if the queue does not say.
    """

    rows: int
    total: int
    size: int = 0
    total_size: int = 0
    seconds_left: float | None = None
    kept_until: float | None = None

    @property
    def log_kept_until(self) -> datetime | None:
        """Return the same in UTC."""
        until = self.kept_until
        return None if until is None else datetime.fromtimestamp(until, UTC)


@dataclass(frozen=True, slots=True)
class RecordSource:
    """To a task: write down which Milvus it replicates; answered when that is durable."""

    run_number: int
    identity: SourceIdentity


@dataclass(frozen=True, slots=True)
class RecordStarts:
    """To a task: channels are read from these checkpoints on; answered when durable."""

    run_number: int
    starts: Mapping[str, Checkpoint]
    why: str


@dataclass(frozen=True, slots=True)
class RecordCheckpoints:
    """To a task: the target has all up to these checkpoints; answered when durable.

    Otherwise that is written down now and then.
    """

    run_number: int
    checkpoints: Mapping[str, Checkpoint]


@dataclass(frozen=True, slots=True)
class AdvanceSendHorizons:
    """To a task: each channel's changes up to its horizon may now reach the target.

    Horizons are hybrid timestamps, by channel. Answered when they are durable.
    """

    run_number: int
    horizons: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Retried:
    """How a collection stands that is tried again while the others go on.

    ``attempt`` counts the failures since ``since``; times are in UTC.
    """

    reason: str
    attempt: int
    since: datetime
    next_try: datetime


@dataclass(frozen=True, slots=True)
class RunProgressed:
    """To a task: how far the run has come. ``confirmed`` is a hybrid timestamp, or None.

    ``applied_by`` are the applied rows by collection id.
    ``waits`` says by collection id why what the source did to some is not done yet,
    ``retried`` which are tried again beside the others, ``snapshots`` which come from
    files, and how far they are, ``imports`` why rows of bulk imports into some are not
    brought yet. ``tick_lead`` is by how many
    seconds at most a tick was ahead of ``time.monotonic`` when it was read, of those read
    since the last report; None if none was. ``head`` is the newest tick that was read,
    a hybrid timestamp; 0 if none was. ``channels`` are those of collections, and
    ``passed``, for any thread, returns up to which ticks they have come at rest since.
    """

    run_number: int
    checkpoints: Mapping[str, Checkpoint]
    confirmed: int | None
    applied: AppliedRows
    behind: bool
    waits: Mapping[int, str]
    retried: Mapping[int, Retried] = field(default_factory=dict)
    snapshots: Mapping[int, SnapshotProgress] = field(default_factory=dict)
    imports: Mapping[int, str] = field(default_factory=dict)
    tick_lead: float | None = None
    head: int = 0
    applied_by: Mapping[int, AppliedRows] = field(default_factory=dict)
    channels: Collection[str] = ()
    passed: Callable[[], Mapping[str, int]] = dict

    def ticks(self) -> dict[str, int]:
        """Return up to which tick each channel is applied by now."""
        ticks = {channel: at.tick for channel, at in self.checkpoints.items()}
        for channel, tick in self.passed().items():
            ticks[channel] = max(tick, ticks.get(channel, 0))
        return ticks

    def confirmed_by_now(self) -> int | None:
        """Return what ``confirmed`` has become."""
        ticks = self.ticks()
        found = [ticks.get(channel, 0) for channel in self.channels]
        return min(found) if found and all(found) else self.confirmed


@dataclass(frozen=True, slots=True)
class RunFailed:
    """To a task: a reader or an applier of the run cannot go on."""

    run_number: int
    error: CdcError
