"""What a collection is, beside its rows: the fields, settings, partitions, indexes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymilvus import DataType

from cdc_actors.changes import replicated_properties
from cdc_actors.comparison_report import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cdc_actors.comparison_report import CollectionReport

_PAGE_ROWS = 10_000
_PAGE_BYTES = 4 << 20
_TEXT_BYTES = 256
_LITE_SETTINGS = ("enable_dynamic_field",)
_SETTINGS = (*_LITE_SETTINGS, "consistency_level_name", "description")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What reading the rows of a collection takes.

    ``types`` has each field's data type, for an array the element's behind it.
    ``page_rows`` is how many to ask for while nobody knows how large they are.
    Fields that are ``skipped`` are not compared.
    """

    name: str
    key: str
    types: Mapping[str, tuple[DataType, ...]]
    has_partition_key: bool
    page_rows: int
    skipped: frozenset[str] = frozenset()


def without_fields(
    description: Mapping[str, Any], skipped: frozenset[str]
) -> Mapping[str, Any]:
    """Return what a server says of a collection, without some of its fields."""
    kept = [field for field in description["fields"] if field["name"] not in skipped]
    return {**description, "fields": kept}


def table(
    name: str, description: Mapping[str, Any], skipped: frozenset[str] = frozenset()
) -> Table:
    """Return how to read a collection, from what its server says of it."""
    fields = description["fields"]
    row_bytes = sum(map(_usual_bytes, fields)) or 1
    return Table(
        name=name,
        key=next(field["name"] for field in fields if field.get("is_primary")),
        types={field["name"]: _type(field) for field in fields},
        has_partition_key=any(field.get("is_partition_key") for field in fields),
        page_rows=max(1, min(_PAGE_ROWS, _PAGE_BYTES // row_bytes)),
        skipped=skipped,
    )


def compare_schemas(
    source: Mapping[str, Any],
    target: Mapping[str, Any],
    report: CollectionReport,
    *,
    lite: bool,
) -> None:
    """Report where the schemas differ, as far as both servers show them.

    Field ids are never the same. Milvus Lite keeps neither descriptions, shards, the
    consistency level nor an array's ``max_length``. A target collection without auto-id
    is how the source's keys are kept, and noted; so is another number of shards, which is
    the target's own affair. A newer target may have properties of its own, and properties
    may be about the source itself.
    """
    wanted = replicated_properties(source.get("properties", {}))
    found = target.get("properties", {})
    for name in sorted(wanted):
        _compare(f"property {name!r}", wanted[name], found.get(name), report)
    for setting in _LITE_SETTINGS if lite else _SETTINGS:
        _compare(setting, source.get(setting), target.get(setting), report)
    shards, theirs = source.get("num_shards"), target.get("num_shards")
    if shards != theirs and not lite:
        report.notes.append(f"{shards} shards at the source, {theirs} at the target")
    left = {field["name"]: field for field in source["fields"]}
    right = {field["name"]: field for field in target["fields"]}
    for name in sorted(left.keys() | right.keys()):
        if name not in left or name not in right:
            side = "source" if name in left else "target"
            report.find(Kind.SCHEMA, f"only the {side} has a field {name!r}")
        else:
            _compare_fields(left[name], right[name], report, lite=lite)


def compare_partitions(
    source: list[str], target: list[str], report: CollectionReport
) -> None:
    """Report where the named partitions differ.

    Those that a partition key fills are named by the server: Milvus says ``_default_N``,
    Milvus Lite ``_pk_N``, always 16 of them. They say nothing between the two.
    """
    if _by_lite(source) != _by_lite(target):
        report.notes.append(
            "Milvus Lite names a partition key's partitions its own way"
        )
        return
    for name in sorted(set(source) - set(target)):
        report.find(Kind.PARTITION, f"{name!r} is missing at the target")
    for name in sorted(set(target) - set(source)):
        report.find(Kind.PARTITION, f"{name!r} is only at the target")


def compare_aliases(
    source: list[str], target: list[str], report: CollectionReport
) -> None:
    """Report where the aliases differ."""
    for name in sorted(set(source) - set(target)):
        report.find(Kind.ALIAS, f"{name!r} is missing at the target")
    for name in sorted(set(target) - set(source)):
        report.find(Kind.ALIAS, f"{name!r} is only at the target")


def compare_indexes(
    source: Mapping[str, Mapping[str, Any]],
    target: Mapping[str, Mapping[str, Any]],
    report: CollectionReport,
    *,
    lite: bool,
) -> None:
    """Report where the indexes differ: field, type, metric and parameters.

    Milvus Lite shows no parameters.
    """
    for name in sorted(source.keys() - target.keys()):
        report.find(Kind.INDEX, f"{name!r} is missing at the target")
    for name in sorted(target.keys() - source.keys()):
        report.find(Kind.INDEX, f"{name!r} is only at the target")
    for name in sorted(source.keys() & target.keys()):
        left, right = source[name], target[name]
        asked = left.keys() & right.keys() if lite else left.keys() | right.keys()
        for param in sorted(asked):
            if left.get(param) != right.get(param):
                change = f"{left.get(param)!r} -> {right.get(param)!r}"
                report.find(Kind.INDEX, f"{name!r}: {param} {change}")


def _by_lite(partitions: list[str]) -> bool:
    return any(name.startswith("_pk_") for name in partitions)


def _compare(
    what: str, source: object, target: object, report: CollectionReport
) -> None:
    if source != target:
        report.find(Kind.SCHEMA, f"{what}: {source!r} -> {target!r}")


def _compare_fields(
    source: Mapping[str, Any],
    target: Mapping[str, Any],
    report: CollectionReport,
    *,
    lite: bool,
) -> None:
    name = source["name"]
    _compare(f"type of {name!r}", _names(source), _names(target), report)
    for trait in ("is_primary", "is_partition_key", "nullable", "default_value"):
        _compare(f"{trait} of {name!r}", source.get(trait), target.get(trait), report)
    if not lite:
        left, right = source.get("description"), target.get("description")
        _compare(f"description of {name!r}", left, right, report)
    for param, left, right in _params(source, target, lite=lite):
        _compare(f"{param} of {name!r}", left, right, report)
    if source.get("auto_id") and not target.get("auto_id"):
        report.notes.append(f"{name!r} is auto-id at the source only: keys are kept")
    else:
        left, right = source.get("auto_id", False), target.get("auto_id", False)
        _compare(f"auto_id of {name!r}", left, right, report)


def _params(
    source: Mapping[str, Any], target: Mapping[str, Any], *, lite: bool
) -> Iterator[tuple[str, object, object]]:
    left, right = source["params"], target["params"]
    asked = left.keys() & right.keys() if lite else left.keys() | right.keys()
    for param in sorted(asked):
        yield param, left.get(param), right.get(param)


def _type(field: Mapping[str, Any]) -> tuple[DataType, ...]:
    element = field.get("element_type")
    return (field["type"], element) if element else (field["type"],)


def _names(field: Mapping[str, Any]) -> str:
    return " of ".join(part.name for part in _type(field))


def _usual_bytes(field: Mapping[str, Any]) -> int:
    """Return about how many bytes a value takes; texts are mostly short."""
    params = field["params"]
    if "dim" in params:
        return int(params["dim"]) * 4
    longest = int(params.get("max_length", 8))
    if field["type"] == DataType.JSON:
        longest = _TEXT_BYTES
    return min(longest, _TEXT_BYTES) * int(params.get("max_capacity", 1))
