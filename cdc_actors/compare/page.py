"""Rows of one side, column by column, as the server's answer has them.

Columns of two sides are compared as bytes: one row alone is looked at only where bytes
differ. What differs by its bytes may say the same (JSON, NaN), so it is only suspected;
what does not differ is the same to the bit.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import msgspec
from pymilvus import DataType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cdc_actors.changes import Key

Row = dict[str, Any]

_canonical = msgspec.json.Encoder(order="deterministic").encode


class Page:
    """Rows by ascending key, one of each key. ``size`` is their bytes."""

    def __init__(self, key: str, fields: Iterable[Any], size: int) -> None:
        """``fields`` are ``schema.FieldData`` messages, ``key`` is the name of one."""
        self._fields = {field.field_name: field for field in fields}
        for field in self._fields.values():
            # Each server has numbers of its own.
            field.ClearField("field_id")
        self.size = size
        found = self._fields.get(key)
        self.keys: list[Any] = list(_scalars(found)) if found is not None else []

    def rows_up_to(self, high: Key) -> int:
        """Return how many rows have keys not greater than ``high``."""
        return bisect_right(self.keys, high)

    def rows(self) -> Iterator[Row]:
        """Yield each row as a client sees it: by field name, dynamic fields among them."""
        columns = {name: list(self._values(f)) for name, f in self._fields.items()}
        for index in range(len(self.keys)):
            row: Row = {}
            for name, field in self._fields.items():
                value = columns[name][index]
                row = (
                    {**(value or {}), **row}
                    if field.is_dynamic
                    else {**row, name: value}
                )
            yield row

    def suspects(self, other: Page, high: Key) -> Iterator[Key]:
        """Yield the keys, not greater than ``high``, whose rows differ by their bytes."""
        if self.keys == other.keys:
            rows = range(self.rows_up_to(high))
            pairs = dict(zip(rows, rows, strict=True))
        else:
            mine = {key: i for i, key in enumerate(self.keys) if key <= high}
            theirs = {key: i for i, key in enumerate(other.keys) if key <= high}
            yield from mine.keys() ^ theirs.keys()
            pairs = {mine[key]: theirs[key] for key in mine.keys() & theirs.keys()}
        for index in self._different(other, pairs):
            yield self.keys[index]

    def _different(self, other: Page, pairs: dict[int, int]) -> set[int]:
        """Return which of these rows, by their indexes here and there, differ."""
        found: set[int] = set()
        for name in self._fields.keys() | other._fields.keys():
            left, right = self._fields.get(name), other._fields.get(name)
            if left is None or right is None:
                return set(pairs)
            if self.keys == other.keys and _bytes(left) == _bytes(right):
                continue
            mine, theirs = self._cells(left), other._cells(right)
            found |= {i for i, j in pairs.items() if mine[i] != theirs[j]}
        return found

    def _cells(self, field: Any) -> Sequence[object]:
        """Return what stands for each value; where two are equal, so are the values."""
        if field.HasField("vectors"):
            cells: Sequence[object] = list(_vectors(field.vectors, len(self.keys)))
        else:
            form = _FORMS.get(field.scalars.WhichOneof("data"))
            values = _scalars(field)
            cells = values if form is None else [form(value) for value in values]
        if field.valid_data:
            cells = list(zip(field.valid_data, _spread(cells, field), strict=True))
        return cells

    def _values(self, field: Any) -> Iterator[Any]:
        if field.HasField("vectors"):
            values: Iterable[Any] = _vectors(field.vectors, len(self.keys))
            if field.vectors.WhichOneof("data") == "float_vector":
                values = (list(memoryview(each).cast("f")) for each in values)
        else:
            read = _READ.get(field.type, lambda value: value)
            values = (read(value) for value in _scalars(field))
        if not field.valid_data:
            yield from values
            return
        spread = _spread(list(values), field)
        for valid, value in zip(field.valid_data, spread, strict=True):
            yield value if valid else None


def _bytes(field: Any) -> bytes:
    return bytes(field.SerializeToString(deterministic=True))


def _scalars(field: Any) -> Sequence[Any]:
    kind = field.scalars.WhichOneof("data")
    return getattr(field.scalars, kind).data if kind else ()


def _vectors(vectors: Any, rows: int) -> Iterator[bytes]:
    """Yield each vector's bytes."""
    kind = vectors.WhichOneof("data")
    if kind == "sparse_float_vector":
        yield from vectors.sparse_float_vector.contents
        return
    if kind == "float_vector":
        data = array("f", vectors.float_vector.data).tobytes()
    else:
        data = getattr(vectors, kind) if kind else b""
    width = len(data) // rows if rows else 0
    yield from (data[row * width : row * width + width] for row in range(rows))


def _spread(values: Sequence[Any], field: Any) -> Sequence[Any]:
    """Return a value for each row, where nulls may have been left out."""
    if len(values) == len(field.valid_data):
        return values
    left = iter(values)
    return [next(left) if valid else None for valid in field.valid_data]


def _float(value: float) -> bytes:
    return array("d", (value,)).tobytes()


def _json(text: bytes) -> bytes:
    """Return JSON in one form; as it stands where it is none, as with NaN."""
    try:
        return _canonical(msgspec.json.decode(text))
    except (msgspec.DecodeError, msgspec.EncodeError, UnicodeError):
        return text


def _message(value: Any) -> bytes:
    return bytes(value.SerializeToString(deterministic=True))


_FORMS: dict[str, Callable[[Any], object]] = {
    "float_data": _float,
    "double_data": _float,
    "json_data": _json,
    "array_data": _message,
}

_READ: dict[int, Callable[[Any], Any]] = {
    DataType.JSON: lambda text: json.loads(text) if text else None,
    DataType.ARRAY: lambda value: (
        list(getattr(value, value.WhichOneof("data")).data)
        if value.WhichOneof("data")
        else []
    ),
}
