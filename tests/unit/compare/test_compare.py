"""What a comparison makes of rows, keys and settings, without a server."""

from __future__ import annotations

import math
import struct
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymilvus import DataType
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.compare import CollectionReport, Kind, Report, RowFinding
from cdc_actors.compare.content import differences
from cdc_actors.compare.keys import above, between, exactly
from cdc_actors.compare.page import Page
from cdc_actors.compare.schema import (
    compare_aliases,
    compare_indexes,
    compare_partitions,
    compare_schemas,
    table,
    without_fields,
)
from cdc_actors.compare.settings import compare_settings
from cdc_actors.comparison_report import EXAMPLES


def field(name: str, kind: DataType, **traits: Any) -> dict[str, Any]:
    """Return a field as a server describes it."""
    return {"name": name, "type": kind, "params": {}, **traits}


ID = field("id", DataType.INT64, is_primary=True)
SCHEMA: dict[str, Any] = {
    "fields": [
        ID,
        field("f", DataType.FLOAT),
        field("j", DataType.JSON),
        field("v", DataType.FLOAT_VECTOR, params={"dim": 2}),
        field("a", DataType.ARRAY, element_type=DataType.DOUBLE),
    ]
}
ROW = {"id": 1, "f": 0.0, "j": {"a": 1, "b": [2]}, "v": [1.0, 2.0], "a": [0.5]}


def found(**changes: Any) -> list[str]:
    """Return the differences between a row and the same with ``changes``."""
    return list(differences(table("t", SCHEMA), ROW, ROW | changes))


def page(rows: dict[int, float]) -> Page:
    """Return rows with an INT64 key, and one DOUBLE beside it."""
    keys = schema_pb2.FieldData(field_name="id", type=DataType.INT64)
    keys.scalars.long_data.data.extend(sorted(rows))
    values = schema_pb2.FieldData(field_name="f", type=DataType.DOUBLE)
    values.scalars.double_data.data.extend(rows[key] for key in sorted(rows))
    return Page("id", [keys, values], 0)


_ROWS = st.dictionaries(st.integers(-5, 5), st.sampled_from([0.0, -0.0, 1.0]))


@given(left=_ROWS, right=_ROWS, high=st.integers(-5, 5))
def test_every_row_that_differs_is_suspected(
    left: dict[int, float], right: dict[int, float], high: int
) -> None:
    """Of two pages those keys are suspects that one lacks, or has with other bits."""
    found = set(page(left).suspects(page(right), high))
    assert found == {
        key
        for key in left.keys() | right.keys()
        if key <= high and repr(left.get(key)) != repr(right.get(key))
    }


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"f": -0.0}, "f: 0.0 -> -0.0"),
        ({"f": math.nan}, "f: 0.0 -> nan"),
        ({"j": {"a": 1.0, "b": [2]}}, "j: {'a': 1, 'b': [2]} -> {'a': 1.0, 'b': [2]}"),
        ({"v": [1.0, math.nextafter(2.0, 3.0) + 2**-22]}, "v[1]: 2.0 -> 2.00000023"),
        ({"a": []}, "a: 1 elements -> 0"),
        ({"a": [-0.5]}, "a[0]: 0.5 -> -0.5"),
        ({"f": None}, "f: 0.0 -> None"),
        ({"extra": "x"}, "extra: None -> 'x'"),
    ],
)
def test_a_changed_field_is_named(changes: dict[str, Any], text: str) -> None:
    """A change of any kind of field is found, and told with both values."""
    assert [line.startswith(text) for line in found(**changes)] == [True]


def test_json_is_compared_as_what_it_says() -> None:
    """The order of names in a JSON value does not count."""
    assert found(j={"b": [2], "a": 1}) == []


def test_nan_equals_nan() -> None:
    """A NaN is a NaN: Milvus gives it other bits when it compacts."""
    (other,) = struct.unpack("<d", bytes.fromhex("010000000000f87f"))
    rows = {**ROW, "f": math.nan}, {**ROW, "f": other}
    assert list(differences(table("t", SCHEMA), *rows)) == []


def test_conditions_avoid_the_literal_that_milvus_cannot_parse() -> None:
    """The smallest INT64 is written by way of its neighbour."""
    smallest = -(2**63)
    assert above("id", smallest) == "id >= -9223372036854775807"
    assert between("id", None, smallest) == "id < -9223372036854775807"
    assert exactly("id", smallest) == "id < -9223372036854775807"


def test_conditions_escape_what_ends_a_literal() -> None:
    """Quotes, backslashes and line ends are escaped, the rest stands as it is."""
    condition = between("id", "a\\", 'b"\n\U0001f600')
    assert condition == 'id > "a\\\\" and id <= "b\\"\\n\U0001f600"'


def test_pages_are_small_where_rows_are_large() -> None:
    """A first page has fewer rows the more a row usually takes; never none."""
    wide = field("v", DataType.FLOAT_VECTOR, params={"dim": 32_768})
    assert table("t", SCHEMA).page_rows == 10_000
    assert table("t", {"fields": [ID, wide]}).page_rows == 31
    assert table("t", {"fields": [ID, *[wide] * 64]}).page_rows == 1


def schema_report(target: dict[str, Any], *, lite: bool = False) -> CollectionReport:
    """Return the report on ``SCHEMA`` against ``target``."""
    report = CollectionReport(database="default", name="t")
    compare_schemas(SCHEMA, target, report, lite=lite)
    return report


def test_schemas_differ_by_field_and_setting() -> None:
    """A field that one side lacks, another type and another setting are told."""
    other = [ID, field("f", DataType.DOUBLE), *SCHEMA["fields"][2:4]]
    report = schema_report({"fields": other, "enable_dynamic_field": True})
    assert {finding.text for finding in report.findings} == {
        "enable_dynamic_field: None -> True",
        "only the source has a field 'a'",
        "type of 'f': 'FLOAT' -> 'DOUBLE'",
    }
    assert not report.equal


def test_milvus_lite_may_lack_what_it_does_not_keep() -> None:
    """Descriptions count between two Milvus only."""
    target = {**SCHEMA, "description": "x"}
    assert schema_report(target, lite=True).equal
    assert not schema_report(target).equal


def test_another_number_of_shards_is_noted() -> None:
    """It is no difference: a target may take fewer. Milvus Lite has none."""
    target = {**SCHEMA, "num_shards": 1}
    report = schema_report(target)
    assert report.equal
    assert report.notes == ["None shards at the source, 1 at the target"]
    assert schema_report(target, lite=True).notes == []


def test_auto_id_at_the_source_only_is_noted() -> None:
    """A target that is given the source's keys is no difference, but said."""
    source = {"fields": [{**ID, "auto_id": True}]}
    report = CollectionReport(database="default", name="t")
    compare_schemas(source, {"fields": [ID]}, report, lite=False)
    assert report.equal
    assert report.notes == ["'id' is auto-id at the source only: keys are kept"]
    back = CollectionReport(database="default", name="t")
    compare_schemas({"fields": [ID]}, source, back, lite=False)
    assert not back.equal


def test_partitions_are_compared_by_name() -> None:
    """A partition that one side lacks is told; a partition key's on Lite are not."""
    report = CollectionReport(database="default", name="t")
    compare_partitions(["_default", "a"], ["_default", "b"], report)
    texts = [finding.text for finding in report.findings]
    assert texts == ["'a' is missing at the target", "'b' is only at the target"]
    keyed = CollectionReport(database="default", name="t")
    compare_partitions(["_default_0"], ["_default", "_pk_0"], keyed)
    assert keyed.equal
    assert len(keyed.notes) == 1


def test_properties_are_those_of_the_source() -> None:
    """Another value is told, and one that is missing; a target's own do not count."""
    own = {"replicate.id": "east", "collection.replica.number": "2"}
    source = {**SCHEMA, "properties": {"a": "1", "b": "2", "c": "3", **own}}
    target = {**SCHEMA, "properties": {"a": "1", "b": "4", "own": "5"}}
    report = CollectionReport(database="default", name="t")
    compare_schemas(source, target, report, lite=True)
    texts = [finding.text for finding in report.findings]
    assert texts == ["property 'b': '2' -> '4'", "property 'c': '3' -> None"]
    assert not report.equal


def test_aliases_are_compared() -> None:
    """An alias that one side lacks makes a difference."""
    report = CollectionReport(database="default", name="t")
    compare_aliases(["a", "b"], ["b", "a"], report)
    assert report.equal
    compare_aliases(["a", "b"], ["b", "c"], report)
    texts = [finding.text for finding in report.findings]
    assert texts == ["'a' is missing at the target", "'c' is only at the target"]
    assert not report.equal


def test_indexes_do_not_make_collections_unequal() -> None:
    """Differences of indexes are told, and left for the caller to judge."""
    left = {"v": {"index_type": "HNSW", "M": "8"}, "w": {}}
    right = {"v": {"index_type": "FLAT"}}
    report = CollectionReport(database="default", name="t")
    compare_indexes(left, right, report, lite=True)
    assert [finding.text for finding in report.findings] == [
        "'w' is missing at the target",
        "'v': index_type 'HNSW' -> 'FLAT'",
    ]
    assert report.equal


def test_a_report_names_the_first_rows_and_counts_all() -> None:
    """Of many rows that differ, the first are named and the number is given."""
    one = CollectionReport(database="default", name="t", source_rows=25, target_rows=5)
    for key in range(EXAMPLES + 10):
        one.missing.add(RowFinding(partition="p", key=key))
    one.find(Kind.LOAD, "is loaded at the source only")
    lines = str(Report(collections=[one])).splitlines()
    assert lines[:4] == [
        "default.t: DIFFERENT, rows: 25 -> 5",
        "  load: is loaded at the source only",
        "  missing at the target: 20",
        "    p / 0",
    ]
    assert lines[-2:] == ["    ... and 10 more", "1 of 1 collections differ."]


def test_a_report_of_equal_collections_says_so() -> None:
    """An equal report ends with the number of collections and rows."""
    one = CollectionReport(database="default", name="t", source_rows=9, target_rows=9)
    report = Report(collections=[one])
    assert report.equal
    assert list(report.lines()) == [
        "default.t: equal, 9 rows",
        "Equal: 1 collection, 9 rows.",
    ]


def test_a_report_of_nothing_does_not_say_equal() -> None:
    """A selection by which there is nothing may be a misspelt one."""
    (line,) = Report(collections=[]).lines()
    assert line == "Nothing to compare: neither side has a collection that is selected."


def test_a_field_that_is_skipped_is_not_compared() -> None:
    """Neither in the schema, nor in rows, where it is no dynamic field either."""
    skipped = frozenset({"f"})
    there = without_fields(SCHEMA, skipped)
    report = CollectionReport(database="default", name="t")
    compare_schemas(without_fields(SCHEMA, skipped), there, report, lite=False)
    assert report.findings == []
    tables = table("t", without_fields(SCHEMA, skipped), skipped), table("t", there)
    assert tables[0].types == tables[1].types
    theirs = {name: value for name, value in ROW.items() if name != "f"}
    assert list(differences(tables[0], ROW, theirs)) == []


def test_what_is_said_of_a_field_that_is_skipped() -> None:
    """It is noted, and neither it nor its indexes, inside of it, too, are a difference."""
    found = {each: {"field_name": each} for each in ("f", "f[n]")}
    sides = []
    for fields, indexes in ((SCHEMA["fields"], found), (None, {})):
        kept = fields or without_fields(SCHEMA, frozenset({"f"}))["fields"]
        shown = {"fields": kept}
        server: Any = SimpleNamespace(
            is_lite=False,
            describe=lambda _name, shown=shown: shown,
            partitions=lambda _name: ["_default"],
            aliases=lambda _name: [],
            indexes=lambda _name, found=indexes: found,
            loaded=lambda _name: True,
        )
        sides.append((server, "t"))
    report = CollectionReport(database="default", name="t")
    assert compare_settings(sides[0], sides[1], report, frozenset({"f"}))
    assert (report.findings, len(report.notes)) == ([], 1)
    assert report.notes == ["'f' is left out: the target cannot hold it"]
    assert compare_settings(sides[0], sides[1], report) is None
