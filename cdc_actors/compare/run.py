"""The comparison of two Milvus."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from cdc_actors.changes import DEFAULT_DATABASE
from cdc_actors.compare.collection import CollectionComparison, Cursor, Pair
from cdc_actors.compare.server import Endpoint, Server
from cdc_actors.compare.sweep import MAX_PAGE_ROWS
from cdc_actors.comparison_report import CollectionReport, Kind, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from cdc_actors.changes import FullName
    from cdc_actors.compare.collection import Conduct
    from cdc_actors.compare.sweep import Side

    Selection = Callable[[str, str], bool]
    Progress = Callable[[str, int], None]


def compare(
    source_uri: str,
    source_token: str,
    target_uri: str,
    target_token: str,
    *,
    databases_selected: Selection = lambda _database, _name: True,
    load: bool = False,
    progress: Progress = lambda _name, _rows: None,
) -> Report:
    """Compare every collection that ``databases_selected(database, name)`` takes.

    Nothing is written to either side. What others write during the comparison shows as a
    difference. A collection that is not loaded cannot be read: it is reported as unread, or
    with ``load`` loaded for the while (at the source, a service that replicates it then
    does the same at the target; at the target for good, if it is loaded at the source).
    Memory is bounded by a few pages of rows, whatever the collections hold. ``progress`` is
    called with ``database.collection`` and the rows compared so far.

    Raises:
        TransientError: A side is away or does not answer in time.
        OperatorError: A side refuses the login, or to say what it has.
    """
    source = Endpoint("source", source_uri, source_token)
    target = Endpoint("target", target_uri, target_token)
    report = Report()
    with Comparison(source, target, _Standstill(load, progress)) as comparison:
        for each in sorted(comparison.names()):
            if databases_selected(*each):
                cursor = begin(each)
                report.collections.append(comparison.run(Pair(each, each), cursor))
    return report


def begin(name: FullName) -> Cursor:
    """Return the cursor before anything of a collection has been compared."""
    return Cursor(report=CollectionReport(database=name[0], name=name[1]))


class _Standstill:
    """Compares while nobody writes."""

    looks = 1
    most_rows = MAX_PAGE_ROWS

    def __init__(self, load: bool, progress: Progress) -> None:  # noqa: FBT001
        self.load = load
        self._progress = progress

    def reach(self) -> bool:
        return True

    def repair_of(self, _pair: Pair, _source: Side) -> None:
        return None

    def skipped(self, _pair: Pair) -> frozenset[str]:
        return frozenset()

    def advanced(self, cursor: Cursor) -> None:
        report = cursor.report
        self._progress(f"{report.database}.{report.name}", cursor.rows)


class Comparison:
    """Two Milvus that are compared collection by collection. One thread uses it."""

    def __init__(self, source: Endpoint, target: Endpoint, conduct: Conduct) -> None:
        """Connect to nothing yet."""
        self._ends = (_End(source), _End(target))
        self._conduct = conduct

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for end in self._ends:
            end.close()

    def names(self) -> set[FullName]:
        """Return the collections that are at either side."""
        return self.source_names() | set(self._ends[1].names())

    def source_names(self) -> set[FullName]:
        """Return the collections that the source has."""
        return set(self._ends[0].names())

    def source_now(self) -> int:
        """Return the source's time, a hybrid timestamp."""
        return self._ends[0].server(DEFAULT_DATABASE).now()

    def run(self, pair: Pair, cursor: Cursor) -> CollectionReport:
        """Compare one collection from the cursor on, and report on it.

        Raises:
            TransientError: A side is away or does not answer in time.
            OperatorError: A side refuses the login.
        """
        missing = self._missing(pair)
        report = cursor.report
        if not missing:
            source, target = (
                end.server(name[0]) for end, name in zip(self._ends, pair, strict=True)
            )
            return CollectionComparison(pair, source, target, self._conduct).run(cursor)
        report.findings.clear()
        if len(missing) == 1:
            side = "source" if missing == ["target"] else "target"
            report.find(Kind.COLLECTION, f"is only at the {side}")
        else:
            report.notes.append("is at neither side any more")
        return report

    def _missing(self, pair: Pair) -> list[str]:
        """Return the sides that lack the collection, looked at more than once."""
        missing: list[str] = []
        for look in range(self._conduct.looks):
            missing = [
                end.side
                for end, name in zip(self._ends, pair, strict=True)
                if not end.has(name, anew=look > 0)
            ]
            is_last = look + 1 == self._conduct.looks
            if not missing or is_last or not self._conduct.reach():
                break
        return missing


class _End:
    """One side: its databases with a connection to each, and its collections' names."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.side = endpoint.side
        self._endpoint = endpoint
        self._stack = ExitStack()
        self._servers: dict[str, Server] = {}
        self._names: dict[str, list[str]] | None = None

    def names(self) -> Iterator[FullName]:
        for database, names in self._listed().items():
            yield from ((database, name) for name in names)

    def has(self, name: FullName, *, anew: bool) -> bool:
        if anew:
            self._names = None
        return name[1] in self._listed().get(name[0], ())

    def server(self, database: str) -> Server:
        if database not in self._servers:
            server = Server(self._endpoint, database)
            self._servers[database] = self._stack.enter_context(server)
        return self._servers[database]

    def close(self) -> None:
        self._stack.close()

    def _listed(self) -> dict[str, list[str]]:
        if self._names is None:
            databases = self.server(DEFAULT_DATABASE).databases()
            self._names = {each: self.server(each).collections() for each in databases}
        return self._names
