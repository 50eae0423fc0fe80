"""Geometries: the log has them in binary (WKB), an insert must have them as text (WKT).

Both are of OGC's "Simple Feature Access" (06-103r4, sections 7 and 8.2), as the library
has it that Milvus (2.5.18 on) reads them with, ``go-geom``: a Z and an M add 1000 and 2000
to the number of a kind, and a point of nothing but NaN is an empty one.
"""

from __future__ import annotations

import math
import struct
from decimal import Decimal
from typing import TYPE_CHECKING

from cdc_actors.errors import CollectionError

if TYPE_CHECKING:
    from collections.abc import Callable

_DIMENSIONS = {0: "", 1: "Z", 2: "M", 3: "ZM"}


def to_wkt(wkb: bytes) -> str:
    """Return a geometry as text from which the very same bytes can be made.

    Raises:
        CollectionError: The bytes are no geometry.
    """
    try:
        return _Wkb(wkb).geometry()
    except (struct.error, KeyError) as error:
        raise CollectionError(
            f"the source has a geometry that is none ({wkb.hex()})"
        ) from error


class _Wkb:
    """Reads a geometry, from its first byte to its last."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._order = "<"
        self._parts: dict[int, tuple[str, Callable[[int], str]]] = {
            1: ("POINT", self._single),
            2: ("LINESTRING", self._points),
            3: ("POLYGON", lambda size: self._several(lambda: self._points(size))),
            4: ("MULTIPOINT", lambda _: self._several(self._body)),
            5: ("MULTILINESTRING", lambda _: self._several(self._body)),
            6: ("MULTIPOLYGON", lambda _: self._several(self._body)),
            7: ("GEOMETRYCOLLECTION", lambda _: self._several(self.geometry)),
        }

    def geometry(self) -> str:
        """Return the next geometry with its name."""
        dimensions, kind = self._head()
        name, body = self._parts[kind]
        letters = _DIMENSIONS[dimensions]
        return " ".join(filter(None, [name, letters, body(2 + len(letters))]))

    def _body(self) -> str:
        """Return the next geometry, which is a part of another, without its name."""
        dimensions, kind = self._head()
        return self._parts[kind][1](2 + len(_DIMENSIONS[dimensions]))

    def _head(self) -> tuple[int, int]:
        """Byte order and kind stand before every part."""
        (little,) = self._take("?", 1)
        self._order = "<" if little else ">"
        return divmod(self._count(), 1000)

    def _single(self, size: int) -> str:
        values = self._take(f"{size}d", 8 * size)
        return "EMPTY" if all(map(math.isnan, values)) else f"({_point(values)})"

    def _points(self, size: int) -> str:
        return self._several(lambda: _point(self._take(f"{size}d", 8 * size)))

    def _several(self, one: Callable[[], str]) -> str:
        found = [one() for _ in range(self._count())]
        return f"({', '.join(found)})" if found else "EMPTY"

    def _count(self) -> int:
        (number,) = self._take("I", 4)
        return int(number)

    def _take(self, kind: str, size: int) -> tuple[float, ...]:
        start, self._at = self._at, self._at + size
        return struct.unpack(f"{self._order}{kind}", self._data[start : self._at])


def _point(values: tuple[float, ...]) -> str:
    """Write numbers in full, without an exponent."""
    return " ".join(f"{Decimal(repr(each)):f}".removesuffix(".0") for each in values)
