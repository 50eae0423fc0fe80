"""Collections over every data type of Milvus 2.3, and random rows for them."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymilvus import CollectionSchema, DataType, FieldSchema

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

DIM = 16
TEXT_BYTES = 400
CAPACITY = 8
GROUPS = 12
"""How many values the field ``grp`` has, which every collection has."""

KEY = "id"
VECTOR = "vector"

_SPECIAL = (
    *"'\"\\\n\r\t\0%_{}[]$`",
    "\\'",
    '\\"',
    "\\n",
    "e\u0301",
    "\u0308",
    "\U0001f600",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0010ffff",
    "\uffff",
    "\ue000",
    "\u2028",
    "\u200b",
    "\u202e",
    "\u4e2d\u6587",
    "\u0645\u0631",
    " and ",
    " id in [",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A field beside the key and the vector."""

    name: str
    kind: DataType
    element: DataType | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a collection is made like."""

    key: DataType
    auto_id: bool = False
    vector: DataType = DataType.FLOAT_VECTOR
    columns: tuple[Column, ...] = ()
    partition_key: str = ""
    dynamic: bool = False

    def schema(self) -> CollectionSchema:
        """Return the schema to create the collection with."""
        fields = [self._key(), *map(self._field, self.columns), self._vector()]
        return CollectionSchema(fields, enable_dynamic_field=self.dynamic)

    def row(self, rng: Random, key: int | str | None) -> dict[str, Any]:
        """Return a random row; without its key where Milvus gives it."""
        row = {column.name: value(rng, column) for column in self.columns}
        row[VECTOR] = _VECTORS[self.vector](rng)
        if not self.auto_id:
            row[KEY] = key
        if self.dynamic:
            row |= _object(rng, depth=1)
        return row

    def _key(self) -> FieldSchema:
        longest = {"max_length": TEXT_BYTES} if self.key == DataType.VARCHAR else {}
        return FieldSchema(
            KEY, self.key, is_primary=True, auto_id=self.auto_id, **longest
        )

    def _field(self, column: Column) -> FieldSchema:
        params: dict[str, Any] = {}
        if DataType.VARCHAR in (column.kind, column.element):
            params["max_length"] = TEXT_BYTES
        if column.element:
            params |= {"max_capacity": CAPACITY, "element_type": column.element}
        if column.name == self.partition_key:
            params["is_partition_key"] = True
        return FieldSchema(column.name, column.kind, **params)

    def _vector(self) -> FieldSchema:
        return FieldSchema(VECTOR, self.vector, dim=DIM)


def value(rng: Random, column: Column) -> Any:
    """Return a random value of a column."""
    if column.name == "grp":
        return rng.randrange(GROUPS)
    if column.element is not None:
        make = _SCALARS[column.element]
        return [make(rng) for _ in range(rng.randint(0, CAPACITY))]
    return _SCALARS[column.kind](rng)


def text(rng: Random) -> str:
    """Return a text of at most ``TEXT_BYTES`` bytes, of anything Unicode has."""
    parts = [_part(rng) for _ in range(rng.choice((0, 1, 2, 3, 8, 15)))]
    return "".join(parts)


def _part(rng: Random) -> str:
    if rng.random() < 0.5:
        return rng.choice(_SPECIAL)
    point = rng.choice((rng.randrange(0x20, 0x7F), rng.randrange(0x10FFFF)))
    return "x" if 0xD800 <= point < 0xE000 else chr(point)


def _int(bits: int) -> Callable[[Random], int]:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def make(rng: Random) -> int:
        return rng.choice((low, high, 0, -1, rng.randint(low, high)))

    return make


def _float(layout: str, size: int) -> Callable[[Random], float]:
    def make(rng: Random) -> float:
        special = (0.0, -0.0, math.nan, math.inf, -math.inf)
        if rng.random() < 0.2:
            return rng.choice(special)
        return float(struct.unpack(layout, rng.randbytes(size))[0])

    return make


def _float_vector(rng: Random) -> list[float]:
    """Return finite float32 values: denormal, huge and ordinary ones."""
    values = struct.unpack(f"<{DIM}f", rng.randbytes(4 * DIM))
    return [v if math.isfinite(v) else rng.uniform(-1, 1) for v in values]


def _object(rng: Random, depth: int = 3) -> dict[str, Any]:
    """Return a JSON object: Milvus 2.3 takes no other JSON value at the top."""
    return {
        f"{rng.choice('abcd')}{text(rng)}": _json(rng, depth - 1)
        for _ in range(rng.randint(0, 3))
    }


def _json(rng: Random, depth: int) -> Any:
    simple = (None, True, 0, 1.0, -(2**63), 2**64 - 1, 1e300, 0.1, rng.random(), "")
    if depth <= 0 or rng.random() < 0.6:
        return rng.choice((*simple, text(rng)))
    if rng.random() < 0.5:
        return [_json(rng, depth - 1) for _ in range(rng.randint(0, 3))]
    return _object(rng, depth)


_SCALARS: dict[DataType, Callable[[Random], Any]] = {
    DataType.BOOL: lambda rng: rng.random() < 0.5,
    DataType.INT8: _int(8),
    DataType.INT16: _int(16),
    DataType.INT32: _int(32),
    DataType.INT64: _int(64),
    DataType.FLOAT: _float("<f", 4),
    DataType.DOUBLE: _float("<d", 8),
    DataType.VARCHAR: text,
    DataType.JSON: _object,
}
_VECTORS: dict[DataType, Callable[[Random], Any]] = {
    DataType.FLOAT_VECTOR: _float_vector,
    DataType.BINARY_VECTOR: lambda rng: rng.randbytes(DIM // 8),
}

_GROUP = Column(name="grp", kind=DataType.INT16)
_EVERY_SCALAR = tuple(
    Column(name=f"c_{kind.name.lower()}", kind=kind) for kind in _SCALARS
)
_EVERY_ARRAY = tuple(
    Column(name=f"a_{kind.name.lower()}", kind=DataType.ARRAY, element=kind)
    for kind in _SCALARS
    if kind != DataType.JSON
)
_TENANT = Column(name="tenant", kind=DataType.VARCHAR)
_NUMBER = Column(name="number", kind=DataType.INT64)

FLOAT_SPECS = (
    Spec(key=DataType.INT64, columns=(_GROUP, *_EVERY_SCALAR), dynamic=True),
    Spec(key=DataType.VARCHAR, columns=(*_EVERY_ARRAY, _GROUP)),
    Spec(key=DataType.INT64, auto_id=True, columns=(_GROUP, _TENANT), dynamic=True),
    Spec(key=DataType.VARCHAR, auto_id=True, columns=(_GROUP, *_EVERY_SCALAR)),
    Spec(
        key=DataType.VARCHAR, columns=(_GROUP, _TENANT, _NUMBER), partition_key="tenant"
    ),
    Spec(
        key=DataType.INT64,
        columns=(_NUMBER, _GROUP, *_EVERY_ARRAY),
        partition_key="number",
        dynamic=True,
    ),
)
BINARY_SPECS = (
    Spec(
        key=DataType.VARCHAR,
        vector=DataType.BINARY_VECTOR,
        columns=(_GROUP, *_EVERY_SCALAR),
        dynamic=True,
    ),
    Spec(
        key=DataType.INT64,
        auto_id=True,
        vector=DataType.BINARY_VECTOR,
        columns=(_GROUP, _NUMBER),
    ),
)
