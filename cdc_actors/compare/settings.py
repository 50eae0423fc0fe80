"""What of a collection is compared beside its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.compare import schema
from cdc_actors.comparison_report import Kind
from cdc_actors.field_data import whole_field

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cdc_actors.compare.server import Server
    from cdc_actors.comparison_report import CollectionReport


def compare_settings(
    source: tuple[Server, str],
    target: tuple[Server, str],
    report: CollectionReport,
    skipped: frozenset[str] = frozenset(),
) -> tuple[schema.Table, schema.Table] | None:
    """Report where two collections, each a server and its name there, differ.

    The fields that are ``skipped`` are noted, and not compared.

    Returns how to read their rows; None if those cannot be compared.

    Raises:
        CdcError: A side is away, or refuses to say what it has.
    """
    (left, source_name), (right, target_name) = source, target
    lite = left.is_lite or right.is_lite
    whole, there = left.describe(source_name), right.describe(target_name)
    descriptions = schema.without_fields(whole, skipped), there
    for name in sorted(skipped):
        report.notes.append(f"{name!r} is left out: the target cannot hold it")
    schema.compare_schemas(*descriptions, report, lite=lite)
    _compare_parts(source, target, report, skipped, lite=lite)
    tables = _tables(descriptions, source_name, target_name, skipped)
    if tables[0].key != tables[1].key or tables[0].types != tables[1].types:
        report.find(Kind.UNREAD, "rows of different fields cannot be compared")
        return None
    return tables


def _compare_parts(
    source: tuple[Server, str],
    target: tuple[Server, str],
    report: CollectionReport,
    skipped: frozenset[str],
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
    found = left.indexes(source_name).items()
    indexes = {
        name: each
        for name, each in found
        if whole_field(each.get("field_name", "")) not in skipped
    }
    schema.compare_indexes(indexes, right.indexes(target_name), report, lite=lite)
    loaded = left.loaded(source_name), right.loaded(target_name)
    if loaded[0] != loaded[1]:
        side = "source" if loaded[0] else "target"
        report.find(Kind.LOAD, f"is loaded at the {side} only")


def _tables(
    descriptions: tuple[Mapping[str, Any], Mapping[str, Any]],
    source: str,
    target: str,
    skipped: frozenset[str],
) -> tuple[schema.Table, schema.Table]:
    left = schema.table(source, descriptions[0], skipped)
    return left, schema.table(target, descriptions[1], skipped)
