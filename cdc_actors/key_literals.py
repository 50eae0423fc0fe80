"""Primary keys as literals of Milvus's expression language, written in one way only.

Checked on Milvus 2.3.5 and Milvus Lite 3.2 with each character that Unicode has: with
backslash, quote, line feed and carriage return escaped, every other one may stand as it
is. The literal -9223372036854775808 does not parse on 2.3.5, which folds a difference
where it is a member of a list; Lite only reads the literal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.changes import Key

SMALLEST = -(2**63)
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"})


def literal(key: Key) -> str:
    """Return a key, other than the smallest INT64, as both kinds of Milvus read it."""
    return f'"{key.translate(_ESCAPES)}"' if isinstance(key, str) else str(key)


def members(keys: Iterable[Key], *, lite: bool) -> str:
    """Return a list of keys for ``in``, the smallest INT64 as the target reads it."""
    smallest = str(SMALLEST) if lite else f"{SMALLEST + 1}-1"
    texts = (smallest if key == SMALLEST else literal(key) for key in keys)
    return f"[{','.join(texts)}]"
