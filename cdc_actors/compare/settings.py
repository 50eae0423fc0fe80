"""What of a collection is compared beside its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.compare import schema
from cdc_actors.compare.report import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cdc_actors.compare.report import CollectionReport
    from cdc_actors.compare.server import Server


def compare_settings(
    source: tuple[Server, str], target: tuple[Server, str], report: CollectionReport
) -> tuple[schema.Table, schema.Table] | None:
    """Report where two collections, each a server and its name there, differ.

    Returns how to read their rows; None if those cannot be compared.

    Raises:
        CdcError: A side is away, or refuses to say what it has.
    """
    (left, source_name), (right, target_name) = source, target
    lite = left.is_lite or right.is_lite
    descriptions = left.describe(source_name), right.describe(target_name)
    schema.compare_schemas(*descriptions, report, lite=lite)
    _compare_parts(source, target, report, lite=lite)
    tables = _tables(descriptions, source_name, target_name)
    if tables[0].key != tables[1].key or tables[0].types != tables[1].types:
        report.find(Kind.UNREAD, "rows of different fields cannot be compared")
        return None
    return tables


def _compare_parts(
    source: tuple[Server, str],
    target: tuple[Server, str],
    report: CollectionReport,
    *,
    lite: bool,
) -> None:
    """Compare what may change in a collection's life, beside its rows."""
    (left, source_name), (right, target_name) = source, target
    schema.compare_partitions(
        left.partitions(source_name), right.partitions(target_name), report
    )
    schema.compare_aliases(
        left.aliases(source_name), right.aliases(target_name), report
    )
    schema.compare_indexes(
        left.indexes(source_name), right.indexes(target_name), report, lite=lite
    )
    loaded = left.loaded(source_name), right.loaded(target_name)
    if loaded[0] != loaded[1]:
        side = "source" if loaded[0] else "target"
        report.find(Kind.LOAD, f"is loaded at the {side} only")


def _tables(
    descriptions: tuple[Mapping[str, Any], Mapping[str, Any]], source: str, target: str
) -> tuple[schema.Table, schema.Table]:
    return schema.table(source, descriptions[0]), schema.table(target, descriptions[1])
