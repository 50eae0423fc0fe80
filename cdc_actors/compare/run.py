"""The comparison of two Milvus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.compare import schema
from cdc_actors.compare.report import CollectionReport, Kind, Report
from cdc_actors.compare.rows import RowComparison
from cdc_actors.compare.scan import Scan
from cdc_actors.compare.server import Endpoint, Server
from cdc_actors.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    difference. A collection that is not loaded cannot be read: it
    is reported as unread, or with ``load`` loaded for the while (at the source, a service
    that replicates it then does the same at the target). Memory is bounded by a few pages
    of rows, whatever the collections hold. ``progress`` is called with
    ``database.collection`` and the rows compared so far.

    Raises:
        TransientError: A side is away or does not answer in time.
        OperatorError: A side refuses the login, or to say what it has.
    """
    source = Endpoint("source", source_uri, source_token)
    target = Endpoint("target", target_uri, target_token)
    left, right = set(source.databases()), set(target.databases())
    report = Report()
    for database in sorted(left | right):
        if database in left & right:
            with Server(source, database) as a, Server(target, database) as b:
                pair = _Pair(database, a, b, load=load, progress=progress)
                report.collections.extend(pair.compare(databases_selected))
        else:
            only = source if database in left else target
            report.collections.extend(_alone(only, database, databases_selected))
    return report


def _alone(
    endpoint: Endpoint, database: str, selected: Selection
) -> Iterator[CollectionReport]:
    """Report the collections of a database that one side lacks."""
    with Server(endpoint, database) as server:
        names = server.collections()
    for name in sorted(names):
        if selected(database, name):
            yield _only(endpoint.side, database, name)


def _only(side: str, database: str, name: str) -> CollectionReport:
    report = CollectionReport(database=database, name=name)
    report.find(Kind.COLLECTION, f"is only at the {side}")
    return report


class _Pair:
    """One database at both sides."""

    def __init__(
        self,
        database: str,
        source: Server,
        target: Server,
        *,
        load: bool,
        progress: Progress,
    ) -> None:
        self._database = database
        self._source, self._target = source, target
        self._load = load
        self._progress = progress
        self._lite = source.is_lite or target.is_lite

    def compare(self, selected: Selection) -> Iterator[CollectionReport]:
        left = set(self._source.collections())
        right = set(self._target.collections())
        for name in sorted(left | right):
            if not selected(self._database, name):
                continue
            if name in left & right:
                yield self._collection(name)
            else:
                side = "source" if name in left else "target"
                yield _only(side, self._database, name)

    def _collection(self, name: str) -> CollectionReport:
        report = CollectionReport(database=self._database, name=name)
        left, right = self._source.describe(name), self._target.describe(name)
        schema.compare_schemas(left, right, report, lite=self._lite)
        self._settings(name, report)
        source, target = schema.table(name, left), schema.table(name, right)
        if source.key != target.key or source.types != target.types:
            report.find(Kind.UNREAD, "rows of different fields cannot be compared")
        else:
            self._rows(source, report)
        return report

    def _settings(self, name: str, report: CollectionReport) -> None:
        """Compare what may change in a collection's life, beside its rows."""
        schema.compare_partitions(
            self._source.partitions(name), self._target.partitions(name), report
        )
        schema.compare_aliases(
            self._source.aliases(name), self._target.aliases(name), report
        )
        schema.compare_indexes(
            self._source.indexes(name),
            self._target.indexes(name),
            report,
            lite=self._lite,
        )
        left, right = self._source.loaded(name), self._target.loaded(name)
        if left != right:
            side = "source" if left else "target"
            report.find(Kind.LOAD, f"is loaded at the {side} only")

    def _rows(self, table: schema.Table, report: CollectionReport) -> None:
        name = f"{self._database}.{table.name}"
        rows = RowComparison(
            self._scan(self._source, table),
            self._scan(self._target, table),
            table,
            report,
            lambda count: self._progress(name, count),
        )
        try:
            with (
                self._source.readable(table.name, load=self._load),
                self._target.readable(table.name, load=self._load),
            ):
                rows.run()
        except OperatorError as error:
            report.source_rows = report.target_rows = None
            report.find(Kind.UNREAD, str(error))

    def _scan(self, server: Server, table: schema.Table) -> Scan:
        """Milvus refuses to read by partition where a partition key rules."""
        if table.has_partition_key:
            return Scan(server, table, [""])
        return Scan(server, table, server.partitions(table.name))
