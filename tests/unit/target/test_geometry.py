"""Geometries of the log become what an insert must have."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.changes import Insert, Rows
from cdc_actors.errors import CollectionError
from cdc_actors.source.decode import decode
from cdc_actors.target.columns import named_columns
from cdc_actors.target.geometry import to_wkt
from tests.support import recorded_life

if TYPE_CHECKING:
    from collections.abc import Iterator

INSERTED = {
    "POINT (1 2)",
    "LINESTRING (0 0, 1.5 1, 2 -2)",
    "POLYGON ((0 0, 4 0, 4 4, 0 4, 0 0), (1 1, 2 1, 2 2, 1 2, 1 1))",
    "MULTIPOINT ((0 0), (1 1))",
    "GEOMETRYCOLLECTION (POINT (3 4))",
}
"""What the recorded client inserted."""


def recorded() -> Iterator[tuple[Insert, schema_pb2.FieldData]]:
    """Yield the inserts of the recorded life that have geometries, with that column."""
    for record in recorded_life.records("2.5.27"):
        change = decode(record.payload)
        columns = change.columns if isinstance(change, Insert) else ()
        for column in map(schema_pb2.FieldData.FromString, columns):
            if column.type == schema_pb2.Geometry:
                yield change, column


def texts_of(rows: Rows, name: str) -> list[str]:
    """Return what the target is sent for some rows."""
    sent = schema_pb2.FieldData.FromString(named_columns(rows)[name])
    assert sent.scalars.WhichOneof("data") == "geometry_wkt_data"
    return list(sent.scalars.geometry_wkt_data.data)


def test_geometries_of_a_real_log_arrive_as_they_were_inserted() -> None:
    """Every one is what the client wrote; rows without one have none, chosen or not."""
    found = set()
    for insert, column in recorded():
        texts = texts_of(Rows(insert), column.field_name)
        valid = list(column.valid_data) or [True] * insert.rows
        assert len(texts) == sum(valid)
        last = texts_of(Rows(insert, range(insert.rows - 1, insert.rows)), "g")
        assert last == (texts[-1:] if valid[-1] else [])
        found.update(texts)
    assert found == INSERTED


def point(*values: float, order: str = "<", more: int = 0) -> bytes:
    """Return a point as bytes; ``more`` is what Z and M add to its number."""
    head = struct.pack(f"{order}?I", order == "<", 1 + more)
    return head + struct.pack(f"{order}{len(values)}d", *values)


def several(kind: int, *parts: bytes) -> bytes:
    """Return a geometry of parts as bytes."""
    return struct.pack("<?II", True, kind, len(parts)) + b"".join(parts)


def line(*values: float) -> bytes:
    """Return the points of a line, without a head."""
    return struct.pack(f"<I{len(values)}d", len(values) // 2, *values)


NAN = float("nan")
SQUARE = struct.pack("<?II", True, 3, 1) + line(0, 0, 1, 0, 1, 1, 0, 0)


@pytest.mark.parametrize(
    ("wkb", "wkt"),
    [
        (point(1, 2, order=">"), "POINT (1 2)"),
        (point(1, 2, 3, more=1000), "POINT Z (1 2 3)"),
        (point(1, 2, 3, more=2000), "POINT M (1 2 3)"),
        (point(1, 2, 3, 4, more=3000), "POINT ZM (1 2 3 4)"),
        (point(NAN, NAN), "POINT EMPTY"),
        (several(7), "GEOMETRYCOLLECTION EMPTY"),
        (several(2), "LINESTRING EMPTY"),
        (several(4, point(1, 2), point(NAN, NAN)), "MULTIPOINT ((1 2), EMPTY)"),
        (
            several(5, struct.pack("<?I", True, 2) + line(0, 0, 1, 1)),
            "MULTILINESTRING ((0 0, 1 1))",
        ),
        (several(6, SQUARE), "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))"),
        (
            several(7, several(7, point(1, 2, 3, more=1000)), SQUARE),
            (
                "GEOMETRYCOLLECTION (GEOMETRYCOLLECTION (POINT Z (1 2 3)), "
                "POLYGON ((0 0, 1 0, 1 1, 0 0)))"
            ),
        ),
        (point(0.1, -1 / 3), "POINT (0.1 -0.3333333333333333)"),
        (point(1e23, 5e-7), "POINT (100000000000000000000000 0.0000005)"),
        (point(-0.0, 1.5), "POINT (-0 1.5)"),
    ],
)
def test_every_kind_of_geometry(wkb: bytes, wkt: str) -> None:
    """Either byte order, three and four dimensions, nothing, parts; numbers are exact."""
    assert to_wkt(wkb) == wkt


@pytest.mark.parametrize("wkb", [b"", b"\x01", point(1, 2)[:-1], several(99)])
def test_what_is_no_geometry(wkb: bytes) -> None:
    """The collection is the one that cannot go on, with what it has there."""
    with pytest.raises(CollectionError, match=f"none \\({wkb.hex()}\\)"):
        to_wkt(wkb)
