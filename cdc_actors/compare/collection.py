"""The comparison of one collection: its settings, then its rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pymilvus import DataType

from cdc_actors.changes import FullName, Key  # noqa: TC001 - a cursor is decoded
from cdc_actors.compare.keys import LARGEST, any_key, exactly
from cdc_actors.compare.settings import compare_settings
from cdc_actors.compare.settle import Settler, Suspect
from cdc_actors.compare.sweep import Side, Sweep
from cdc_actors.comparison_report import CollectionReport, Kind
from cdc_actors.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cdc_actors.compare.schema import Table
    from cdc_actors.compare.server import Server
    from cdc_actors.compare.settle import Repair

MAX_SUSPECTS = 5_000
"""How many rows may wait to be settled together."""


class Pair(NamedTuple):
    """The names of one collection: at the source, and at the target."""

    source: FullName
    target: FullName


@dataclass(slots=True, kw_only=True)
class Cursor:
    """How far one collection has been compared; who has it may go on from there.

    ``report`` is as far. In ``partition`` all keys up to ``low`` have been looked at,
    except the ``suspects``, of all partitions; those sorted before it have been, too.
    ``rows`` counts the source's rows looked at, ``expected`` those it had at the start,
    None if that is not known.
    """

    report: CollectionReport
    partition: str = ""
    low: Key | None = None
    suspects: list[Suspect] = field(default_factory=list)
    rows: int = 0
    expected: int | None = None


class Conduct(Protocol):
    """How a comparison is conducted.

    ``looks`` is how often a difference must be seen before it is believed: more than once
    where changes are on their way. ``load`` says that what is not loaded is, for a while.
    ``most_rows`` is how many rows a range may have.
    """

    looks: int
    most_rows: int
    load: bool

    def reach(self) -> bool:
        """Return once the target has all that the source has at the call.

        False if that cannot be waited for.
        """

    def repair_of(self, pair: Pair, source: Side) -> Repair | None:
        """Return what repairs rows of a collection; None if they are not to be."""

    def skipped(self, pair: Pair) -> frozenset[str]:
        """Return the source's fields that the target of a collection is to be without."""

    def advanced(self, cursor: Cursor) -> None:
        """Hear that a range has been compared; wait, or raise to end the comparison."""


class CollectionComparison:
    """Compares one collection that both sides have. One thread uses it."""

    def __init__(
        self, pair: Pair, source: Server, target: Server, conduct: Conduct
    ) -> None:
        self._pair = pair
        self._source = (source, pair.source[1])
        self._target = (target, pair.target[1])
        self._conduct = conduct

    def run(self, cursor: Cursor) -> CollectionReport:
        """Compare from the cursor on; what cannot be read is reported as unread.

        Raises:
            TransientError: A side is away or does not answer in time.
        """
        report = cursor.report
        try:
            if tables := self._settings(report):
                self._rows(tables, cursor)
        except OperatorError as error:
            report.source_rows = report.target_rows = None
            report.find(Kind.UNREAD, str(error))
        return report

    def _settings(self, report: CollectionReport) -> tuple[Table, Table] | None:
        """Compare what is not rows, again where it differs: it may be on its way."""
        for look in range(self._conduct.looks):
            report.findings.clear()
            report.notes.clear()
            skipped = self._conduct.skipped(self._pair)
            tables = compare_settings(self._source, self._target, report, skipped)
            is_last = look + 1 == self._conduct.looks
            if not report.findings or is_last or not self._conduct.reach():
                break
        return tables

    def _rows(self, tables: tuple[Table, Table], cursor: Cursor) -> None:
        (source, source_name), (target, target_name) = self._source, self._target
        load = self._conduct.load
        # Who replicates what is loaded at the source is about to load it at the target.
        with (
            source.readable(source_name, load=load) as keep,
            target.readable(target_name, load=load, keep=keep),
        ):
            sides = [
                Side(server, table, _partitions(server, table), server.connected_at)
                for server, table in zip((source, target), tables, strict=True)
            ]
            self._sweep(sides[0], sides[1], cursor)

    def _sweep(self, source: Side, target: Side, cursor: Cursor) -> None:
        report, conduct = cursor.report, self._conduct
        repair = conduct.repair_of(self._pair, source)
        settler = Settler(source, target, report, conduct.reach, conduct.looks, repair)
        # Not waited for yet: at a Milvus the first answer takes until its next time tick.
        expected = None if report.source_rows is not None else _begin_expected(source)
        report.source_rows = report.source_rows or 0
        report.target_rows = report.target_rows or 0
        sweep = Sweep(source, target, conduct.most_rows)
        for partition in sorted({*source.partitions, *target.partitions}):
            for _ in _new_ranges(sweep, partition, cursor):
                if expected is not None:
                    cursor.expected, expected = expected(), None
                if len(cursor.suspects) >= MAX_SUSPECTS:
                    _settle(settler, cursor)
                conduct.advanced(cursor)
        _settle(settler, cursor)
        conduct.advanced(cursor)
        for side in (source, target):
            _report_unread(side, report)


def _new_ranges(sweep: Sweep, partition: str, cursor: Cursor) -> Iterator[None]:
    """Move the cursor over a partition, as far as it has not been there."""
    if partition < cursor.partition:
        return
    if partition > cursor.partition:
        cursor.partition, cursor.low = partition, None
    report = cursor.report
    for each in sweep.ranges(partition, cursor.low):
        cursor.low = each.high
        cursor.suspects += [Suspect(partition, key) for key in each.suspects]
        cursor.rows += each.source_rows
        report.source_rows = (report.source_rows or 0) + each.source_rows
        report.target_rows = (report.target_rows or 0) + each.target_rows
        yield


def _settle(settler: Settler, cursor: Cursor) -> None:
    settler.settle(cursor.suspects)


def _partitions(server: Server, table: Table) -> list[str]:
    """Milvus refuses to read by partition where a partition key rules."""
    return [""] if table.has_partition_key else server.partitions(table.name)


def _is_text(table: Table) -> bool:
    return bool(table.types[table.key][0] == DataType.VARCHAR)


def _begin_expected(side: Side) -> Callable[[], int] | None:
    """Ask how many rows there are; None for Milvus Lite, which counts slowly."""
    if side.server.is_lite:
        return None
    condition = any_key(side.table.key, text=_is_text(side.table))
    return side.server.begin_count(side.table, "", condition, side.at)


def _report_unread(side: Side, report: CollectionReport) -> None:
    """Say that there are rows of the one key that Milvus 2.3 counts and never returns."""
    if side.server.is_lite or _is_text(side.table):
        return
    condition = exactly(side.table.key, LARGEST)
    if rows := side.server.begin_count(side.table, "", condition, side.at)():
        text = f"{rows} rows of the key {LARGEST} counted but not returned"
        report.find(Kind.UNREAD, f"{text} at the {side.server.side}")
