"""Which segments of the source's files are at the target, while a snapshot is taken.

A snapshot that was interrupted goes on with the others. The channel of a row is the
collection's id and the segment's, with a slash between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from cdc_actors.store.channel_rows import ChannelRows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class SegmentsDone(ChannelRows):
    """The segments of all tasks that are done; see ``ChannelRows``."""

    table = "{segments_done}"
    columns: ClassVar = {"collection": "BIGINT", "segment": "BIGINT"}

    def add(self, task_id: str, collection_id: int, segments: Iterable[int]) -> None:
        """Know that segments are done."""
        self._save(
            task_id,
            [(f"{collection_id}/{each}", collection_id, each) for each in segments],
        )

    def forget(self, task_id: str, collection_id: int) -> None:
        """Know that no segment of a collection is done."""
        statement = (
            f"DELETE FROM {self.table} "  # noqa: S608
            "WHERE task_id = {p} AND collection = {p}"
        )
        self._database.write_rows(statement, [(task_id, collection_id)], task_id)

    def load(self, task_id: str) -> Mapping[int, frozenset[int]]:
        """Return a task's segments that are done, by the id of their collection."""
        found: dict[int, set[int]] = {}
        for row in self._load(task_id):
            found.setdefault(row["collection"], set()).add(row["segment"])
        return {each: frozenset(segments) for each, segments in found.items()}
