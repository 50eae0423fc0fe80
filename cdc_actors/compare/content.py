"""When two values of a field are the same, and how to say that they are not."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from array import array
from typing import TYPE_CHECKING, Any

from pymilvus import DataType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cdc_actors.compare.schema import Table

_SHOWN = 60


def differences(
    table: Table, source: Mapping[str, Any], target: Mapping[str, Any]
) -> Iterator[str]:
    """Yield how a target's row differs from the source's, field by field.

    Floats are compared to the bit (so 0.0 is not -0.0), but any NaN is equal to any: when
    Milvus (2.3.5) compacts, it writes Go's NaN, which has other bits. JSON is compared as
    what it says: the order of names and white space do not count. Dynamic fields are what
    a row has beside the schema's.
    """
    for name, kind in table.types.items():
        if _exact(kind, source.get(name)) != _exact(kind, target.get(name)):
            yield _changed(name, source.get(name), target.get(name))
    left, right = _dynamic(table, source), _dynamic(table, target)
    for name in sorted(left.keys() | right.keys()):
        if _json(left.get(name)) != _json(right.get(name)):
            yield _changed(name, left.get(name), right.get(name))


def digest(table: Table, row: Mapping[str, Any] | None) -> bytes:
    """Return a hash of a row: two are the same where ``differences`` is empty."""
    if row is None:
        return b""
    fixed = [_exact(kind, row.get(name)) for name, kind in table.types.items()]
    dynamic = [
        (n, _json(v)) for n, v in sorted(_dynamic(table, row).items()) if v is not None
    ]
    return hashlib.sha256(repr((fixed, dynamic)).encode("utf-8", "replace")).digest()


def _dynamic(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    known = table.types.keys() | table.skipped
    return {name: value for name, value in row.items() if name not in known}


def _exact(kind: tuple[DataType, ...], value: Any) -> object:
    if value is None:
        return None
    form = _FORMS.get(kind[-1] if kind[0] == DataType.ARRAY else kind[0])
    if form is None:
        return value
    return [form(each) for each in value] if kind[0] == DataType.ARRAY else form(value)


def _json(value: Any) -> object:
    return json.dumps(value, sort_keys=True)


def _double(value: float) -> bytes:
    return struct.pack("<d", math.nan if math.isnan(value) else value)


def _floats(value: list[float]) -> bytes:
    return array("f", value).tobytes()


_FORMS: dict[DataType, Callable[[Any], object]] = {
    DataType.FLOAT: _double,
    DataType.DOUBLE: _double,
    DataType.JSON: _json,
    DataType.FLOAT_VECTOR: _floats,
}


def _changed(name: str, source: Any, target: Any) -> str:
    if isinstance(source, list) and isinstance(target, list):
        return f"{name}{_element(source, target)}"
    return f"{name}: {_short(source)} -> {_short(target)}"


def _element(source: list[Any], target: list[Any]) -> str:
    if len(source) != len(target):
        return f": {len(source)} elements -> {len(target)}"
    for position, (left, right) in enumerate(zip(source, target, strict=True)):
        if repr(left) != repr(right):
            return f"[{position}]: {_short(left)} -> {_short(right)}"
    return ": other bits"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
