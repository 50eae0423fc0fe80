"""What a reader gives an applier to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdc_actors.replication.barriers import BarrierOperation, RowChunk

if TYPE_CHECKING:
    from cdc_actors.changes import Definition, Request
    from cdc_actors.replication.progress import PendingCheckpoint
    from cdc_actors.tasks.details import Detail


@dataclass(frozen=True, slots=True)
class CreateCollectionWork:
    """Bring the applier's collection into being at the target."""

    definition: Definition
    checkpoints: tuple[PendingCheckpoint, ...]


@dataclass(frozen=True, slots=True)
class ForwardRequest:
    """Ask the target what a client asked of the source."""

    request: Request
    checkpoints: tuple[PendingCheckpoint, ...]


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


OutOfBandWork = ForwardRequest | CreatePartitionWork | CatalogOperation
"""What is not in the log of the rows: requests have a channel of their own, the rest is in
the catalog."""

OperationWork = BarrierOperation | CreateCollectionWork | OutOfBandWork | CheckMark
Work = RowChunk | OperationWork
