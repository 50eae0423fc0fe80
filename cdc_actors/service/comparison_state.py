"""A comparison as it is kept: what was asked for, how far it is, what it came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import msgspec

from cdc_actors.changes import FullName  # noqa: TC001 - decoded
from cdc_actors.compare import CollectionReport, Cursor, Kind, Report
from cdc_actors.service.views import ComparisonStatus, ComparisonView
from cdc_actors.tasks import ComparisonResult, Who

if TYPE_CHECKING:
    from collections.abc import Iterable

DIFFERENCES = (
    *("missing", "extra", "different", "uneven", "settings"),
    *("unsettled", "unread"),
)
COUNTS = ("rows", "repaired", *DIFFERENCES)
"""What is counted: see ``counts_of``."""

SHOWN = 10
"""How many collections that differ an event names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRequest:
    """What to compare: ``collections`` of the source (none means all), and how fast.

    ``repair`` sends what differs; ``delete_extra``, with it, deletes what only the target
    has.
    """

    collections: tuple[FullName, ...] = ()
    rows_per_second: int | None = None
    repair: bool = False
    delete_extra: bool = False


@dataclass(slots=True, kw_only=True)
class ComparisonState:
    """One comparison. Its own thread changes it, any may read it.

    ``status`` is ``running`` until there is an outcome; ``is_recorded`` tells that the
    event log has that. ``error`` is why it failed, or what it waits for. ``total`` is how
    many collections there are to compare, ``reports`` are of those that are done.
    """

    task_id: str
    request: ComparisonRequest
    who: Who
    began: datetime
    ended: datetime | None = None
    status: ComparisonStatus = "running"
    is_recorded: bool = False
    error: str | None = None
    total: int = 0
    reports: list[CollectionReport] = field(default_factory=list)
    cursor: Cursor | None = None

    @classmethod
    def decode(cls, stored: bytes) -> Self:
        """Return what ``encode`` has stored; raises ``msgspec.MsgspecError``."""
        return msgspec.json.decode(stored, type=cls)

    def encode(self) -> bytes:
        """Return what is stored."""
        return msgspec.json.encode(self)

    def end(self, status: ComparisonStatus, error: str | None = None) -> None:
        """Take an outcome."""
        self.ended, self.status, self.error = datetime.now(UTC), status, error

    @property
    def _present(self) -> list[CollectionReport]:
        """The reports, with that of the collection which is being compared."""
        cursor = self.cursor
        return [*self.reports, *([cursor.report] if cursor else [])]

    def view(self) -> ComparisonView:
        """Return it as clients see it: it has ended once the event log says so."""
        is_over = self.is_recorded
        cursor = self.cursor
        report = cursor.report if cursor else None
        return ComparisonView(
            task_id=self.task_id,
            status=self.status if is_over else "running",
            began=self.began,
            ended=self.ended if is_over else None,
            error=self.error,
            repair=self.request.repair,
            delete_extra=self.request.delete_extra,
            collections=self.total,
            collections_done=len(self.reports),
            collection=f"{report.database}.{report.name}" if report else None,
            collection_rows=cursor.rows if cursor else 0,
            collection_rows_expected=cursor.expected if cursor else None,
            counts=counts_of(self._present),
            reports=tuple(self.reports),
        )

    def result(self) -> ComparisonResult:
        """Return what the event log is told."""
        reports = self._present
        differing = [f"{e.database}.{e.name}" for e in reports if not e.equal]
        return ComparisonResult(
            outcome=self.status,
            began=self.began.isoformat(),
            selection=[".".join(name) for name in self.request.collections],
            repair=self.request.repair,
            delete_extra=self.request.delete_extra,
            counts=counts_of(reports) | {"collections": len(self.reports)},
            differing=differing[:SHOWN],
            error=self.error,
        )

    @property
    def verdict(self) -> ComparisonStatus:
        """What the reports come to."""
        return Report(collections=self.reports).verdict.value


def counts_of(reports: Iterable[CollectionReport]) -> dict[str, int]:
    """Return the rows of the source, how many were repaired, how many differ and how.

    ``settings`` counts the differences between collections beside their rows, ``unread``
    what could not be read.
    """
    counts = dict.fromkeys(COUNTS, 0)
    for report in reports:
        counts["rows"] += report.source_rows or 0
        counts["repaired"] += report.repaired
        counts["missing"] += report.missing.count
        counts["extra"] += report.extra.count
        counts["different"] += report.different.count
        counts["uneven"] += report.uneven
        counts["unsettled"] += report.unsettled.count
        unread = len(report.findings_of(Kind.UNREAD))
        counts["unread"] += unread
        counts["settings"] += len(report.findings) - unread
    return counts
