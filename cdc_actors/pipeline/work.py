"""What a reader gives an applier to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdc_actors.changes import DropCollection, Insert, Rows
from cdc_actors.replication.barriers import BarrierOperation, RowChunk
from cdc_actors.tasks.details import RenameDetail

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cdc_actors.changes import Definition, Key, Request, RowChange
    from cdc_actors.replication.progress import PendingCheckpoint
    from cdc_actors.tasks import CollectionEntry
    from cdc_actors.tasks.details import Detail


_NUMBER_BYTES = 8


@dataclass(frozen=True, slots=True)
class AppliedRows:
    """How many rows were inserted and deleted, and the bytes of columns and of keys."""

    inserted: int = 0
    deleted: int = 0
    inserted_bytes: int = 0
    deleted_bytes: int = 0

    @classmethod
    def of(cls, changes: Iterable[RowChange]) -> AppliedRows:
        """Return what comes of changes once all of them are applied."""
        inserted = deleted = inserted_bytes = deleted_bytes = 0
        for change in changes:
            if isinstance(change, Insert):
                inserted += change.rows
                inserted_bytes += change.size
            elif isinstance(change, Rows):
                inserted += change.count
                inserted_bytes += (
                    change.insert.size * change.count // change.insert.rows
                )
            else:
                deleted += len(change.keys)
                deleted_bytes += sum(map(_size, change.keys))
        return cls(inserted, deleted, inserted_bytes, deleted_bytes)

    def __add__(self, other: AppliedRows) -> AppliedRows:
        return AppliedRows(
            self.inserted + other.inserted,
            self.deleted + other.deleted,
            self.inserted_bytes + other.inserted_bytes,
            self.deleted_bytes + other.deleted_bytes,
        )

    @property
    def count(self) -> int:
        """How many rows, of both kinds."""
        return self.inserted + self.deleted


NO_ROWS = AppliedRows()


def both(
    a: Mapping[int, AppliedRows], b: Mapping[int, AppliedRows]
) -> Mapping[int, AppliedRows]:
    """Return the sums of two counts by collection id."""
    if not a or not b:
        return a or b
    return {each: a.get(each, NO_ROWS) + b.get(each, NO_ROWS) for each in {**a, **b}}


def _size(key: Key) -> int:
    return _NUMBER_BYTES if isinstance(key, int) else len(key.encode())


@dataclass(frozen=True, slots=True)
class CreateCollectionWork:
    """Bring the applier's collection into being at the target.

    ``former`` is another one, which had its name there until it left the task.
    """

    definition: Definition
    checkpoints: tuple[PendingCheckpoint, ...] = ()
    former: CollectionEntry | None = None


@dataclass(frozen=True, slots=True)
class ForwardRequest:
    """Ask the target what a client asked of the source.

    ``field`` is that of the index which the request names, if it does and it is known.
    """

    request: Request
    checkpoints: tuple[PendingCheckpoint, ...]
    field: str = ""


@dataclass(frozen=True, slots=True)
class CreatePartitionWork:
    """Bring a partition into being at the target; the catalog alone tells of it."""

    name: str
    timestamp: int
    checkpoints: tuple[PendingCheckpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class CatalogOperation:
    """Do at the target what the catalog shows; ``kind`` is as in ``Operation``."""

    kind: str
    timestamp: int
    detail: Detail
    checkpoints: tuple[PendingCheckpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckMark:
    """See that the collection at the target is still this task's."""

    checkpoints: tuple[PendingCheckpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class TakePlace:
    """Have the shadow take the collection's place at the target, if it is ready.

    Or, if that is done and it ``ends``, drop what the shadow has replaced.
    """

    ends: bool = False
    checkpoints: tuple[PendingCheckpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class StopCollection:
    """Set the applier's collection aside: something came to it that cannot be repeated.

    If that is that it lost fields, not where the target never had any of those ``lost``.
    """

    reason: str
    checkpoints: tuple[PendingCheckpoint, ...] = ()
    lost: frozenset[str] = frozenset()


OutOfBandWork = ForwardRequest | CreatePartitionWork | CatalogOperation | StopCollection
"""What is not in the log of the rows: requests have a channel of their own, the rest is in
the catalog."""

OperationWork = (
    BarrierOperation | CreateCollectionWork | OutOfBandWork | CheckMark | TakePlace
)
Work = RowChunk | OperationWork


def gives_up_name(work: Work) -> bool:
    """Tell whether a collection has not the name at the target afterwards that it has."""
    match work:
        case BarrierOperation(operation=DropCollection()):
            return True
        case CatalogOperation(detail=RenameDetail()):
            return True
        case _:
            return False
