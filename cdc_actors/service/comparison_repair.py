"""Rows of the source sent to the target where the two differ.

Why that is safe beside the running task stands in ``compare.settle``.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from cdc_actors.changes import Batch, Insert, Rows
from cdc_actors.target.lite import UnflushedDeletes
from cdc_actors.target.rows import RowWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.changes import FullName, Key
    from cdc_actors.compare import Side
    from cdc_actors.target.connection import Connection
    from cdc_actors.tasks import CollectionEntry


class RowRepair:
    """Repairs rows of one collection: see ``compare.settle.Repair``. One thread uses it."""

    def __init__(
        self,
        source: Side,
        entry: CollectionEntry,
        target_name: FullName,
        open_target: Callable[[], Connection],
        store: Callable[[], None],
        *,
        deletes_extra: bool,
    ) -> None:
        """``store`` is called before anything is sent."""
        self.deletes_extra = deletes_extra
        self._source = source
        self._entry = entry
        self._target_name = target_name
        self._open = open_target
        self._store = store

    def send(self, partition: str, keys: list[Key], extra: list[Key]) -> None:
        """Delete the keys at the target and insert the source's rows."""
        self._store()
        columns, rows = self._source.columns_of(partition, keys)
        insert = Insert(
            collection=self._entry.collection_id,
            shard="",
            partition=partition,
            timestamp=0,
            rows=rows,
            columns=columns,
            size=sum(map(len, columns)),
        )
        inserts = (Rows(insert),) if rows else ()
        with closing(self._open()) as target:
            schema = self._entry.schema, self._entry.skipped
            writer = RowWriter(target, *self._target_name, *schema)
            writer.write(Batch({partition: (*keys, *extra)}, inserts))
            writer.drain()
            if target.is_lite:
                # The task's own writer does not know what was deleted.
                UnflushedDeletes().flush(target, *self._target_name)
