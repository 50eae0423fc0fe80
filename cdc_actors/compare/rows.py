"""The rows of two collections side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdc_actors.compare.content import differences
from cdc_actors.compare.report import Kind, RowFinding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cdc_actors.compare.report import CollectionReport
    from cdc_actors.compare.scan import Census, Row, Scan
    from cdc_actors.compare.schema import Table

PROGRESS_ROWS = 10_000


def side_by_side(
    source: Iterator[Row], target: Iterator[Row], key: str
) -> Iterator[tuple[Row | None, Row | None]]:
    """Pair the rows of one key; both come by ascending key, and no key twice."""
    left, right = next(source, None), next(target, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left[key] < right[key]):
            yield left, None
            left = next(source, None)
        elif left is None or right[key] < left[key]:
            yield None, right
            right = next(target, None)
        else:
            yield left, right
            left, right = next(source, None), next(target, None)


class RowComparison:
    """Compares the rows of one collection and fills ``report``.

    ``progress`` is called with the rows compared so far, every ``PROGRESS_ROWS`` rows and
    after each partition.
    """

    def __init__(
        self,
        source: Scan,
        target: Scan,
        table: Table,
        report: CollectionReport,
        progress: Callable[[int], None],
    ) -> None:
        self._source, self._target = source, target
        self._table = table
        self._report = report
        self._progress = progress
        self._compared = 0

    def run(self) -> None:
        """Compare every partition that a side has; what one lacks is empty there."""
        self._report.source_rows = self._report.target_rows = 0
        for partition in sorted({*self._source.partitions, *self._target.partitions}):
            self._partition(partition)
            self._progress(self._compared)

    def _partition(self, partition: str) -> None:
        left = right = 0
        source, target = self._source.rows(partition), self._target.rows(partition)
        for pair in side_by_side(source, target, self._table.key):
            left += pair[0] is not None
            right += pair[1] is not None
            self._compare(partition, *pair)
        self._take_census(partition, left, right)

    def _compare(self, partition: str, source: Row | None, target: Row | None) -> None:
        if target is None:
            self._report.missing.add(self._found(partition, source))
        elif source is None:
            self._report.extra.add(self._found(partition, target))
        elif changes := "; ".join(differences(self._table, source, target)):
            self._report.different.add(self._found(partition, source, changes))
        self._compared += 1
        if self._compared % PROGRESS_ROWS == 0:
            self._progress(self._compared)

    def _found(self, partition: str, row: Any, text: str = "") -> RowFinding:
        return RowFinding(partition=partition, key=row[self._table.key], text=text)

    def _take_census(self, partition: str, left: int, right: int) -> None:
        source = self._source.census(partition, left)
        target = self._target.census(partition, right)
        self._report.source_rows = (self._report.source_rows or 0) + source.counted
        self._report.target_rows = (self._report.target_rows or 0) + target.counted
        for side, census in (("source", source), ("target", target)):
            if census.unread:
                where = f" in {partition!r}" if partition else ""
                text = f"{census.unread} rows{where} counted but not returned"
                self._report.find(Kind.UNREAD, f"{text} at the {side}")
        self._report_doubled(partition, source, target)

    def _report_doubled(self, partition: str, source: Census, target: Census) -> None:
        for key in sorted(source.doubled.keys() | target.doubled.keys()):
            left = source.doubled.get(key) or self._source.times(partition, key)
            right = target.doubled.get(key) or self._target.times(partition, key)
            self._report.uneven += left != right
            text = f"{left} times at the source, {right} at the target"
            found = RowFinding(partition=partition, key=key, text=text)
            self._report.doubled.add(found)
