"""Primary keys: their order, and conditions on them in Milvus's expression language.

Checked on Milvus 2.3.5 and Milvus Lite 3.2: with backslash, quote, line feed and carriage
return escaped, every other character may stand as it is, NUL and all planes of Unicode
included. The literal -9223372036854775808 does not parse on 2.3.5; its neighbour does.
"""

from __future__ import annotations

Key = int | str

_SMALLEST = -(2**63)
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"})


def any_key(field: str, *, text: bool) -> str:
    """Return a condition that every key meets.

    Without a condition Milvus Lite counts the whole collection, whatever the partition.
    """
    return f'{field} >= ""' if text else f"({field} < 0 or {field} >= 0)"


def above(field: str, key: Key | None) -> str:
    """Return the condition for keys greater than ``key``; None stands before all."""
    if key is None:
        return ""
    if key == _SMALLEST:
        return f"{field} >= {_SMALLEST + 1}"
    return f"{field} > {_literal(key)}"


def up_to(field: str, key: Key) -> str:
    """Return the condition for keys not greater than ``key``."""
    if key == _SMALLEST:
        return f"{field} < {_SMALLEST + 1}"
    return f"{field} <= {_literal(key)}"


def exactly(field: str, key: Key) -> str:
    """Return the condition for one key."""
    if key == _SMALLEST:
        return up_to(field, key)
    return f"{field} == {_literal(key)}"


def between(field: str, low: Key | None, high: Key) -> str:
    """Return the condition for keys greater than ``low``, up to ``high`` inclusive."""
    upper = up_to(field, high)
    return upper if low is None else f"{above(field, low)} and {upper}"


def _literal(key: Key) -> str:
    return f'"{key.translate(_ESCAPES)}"' if isinstance(key, str) else str(key)
