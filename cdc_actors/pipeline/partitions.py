"""Partitions of one collection, created and dropped at the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.changes import DropPartition
from cdc_actors.pipeline.messages import RecordOperationApplied
from cdc_actors.pipeline.work import CreatePartitionWork
from cdc_actors.target import collections

if TYPE_CHECKING:
    from cdc_actors.changes import FullName
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.replication.barriers import BarrierOperation
    from cdc_actors.target.connection import Connection
    from cdc_actors.target.rows import RowWriter
    from cdc_actors.tasks import CollectionEntry


class Partitions:
    """Creates and drops them. The thread of the collection's applier uses it."""

    def __init__(self, context: RunContext, target: Connection) -> None:
        self._context = context
        self._target = target
        self._drops: dict[str, int] = {}

    def apply(
        self,
        work: BarrierOperation | CreatePartitionWork,
        entry: CollectionEntry,
        name: FullName,
        writer: RowWriter,
    ) -> None:
        """Do it to the collection that the target calls ``name``."""
        if isinstance(work, CreatePartitionWork):
            if self._is_wanted(work) and writer.ensure_partition(work.name):
                self._record("CreatePartition", work.name, work.timestamp, entry)
        elif isinstance(drop := work.operation, DropPartition):
            collections.drop_partition(self._target, *name, drop.partition)
            writer.forget_partition(drop.partition)
            self._drops[drop.partition] = drop.timestamp
            self._record("DropPartition", drop.partition, drop.timestamp, entry)

    def _is_wanted(self, work: CreatePartitionWork) -> bool:
        """Rows may have needed it before; what came with its tick may have dropped it."""
        return work.timestamp > self._drops.get(work.name, 0)

    def _record(
        self, kind: str, partition: str, timestamp: int, entry: CollectionEntry
    ) -> None:
        operation = entry.operation(kind, timestamp, {"partition": partition})
        self._context.record(RecordOperationApplied(operation))
