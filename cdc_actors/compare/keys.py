"""Conditions on primary keys in Milvus's expression language.

Beside the smallest INT64, which Milvus 2.3.5 cannot read, stands its neighbour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.key_literals import SMALLEST, literal, members

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cdc_actors.changes import Key


GROUP_BYTES = 128 << 10
"""How much text the keys of one condition may have."""

LARGEST = 2**63 - 1
"""Rows of this key Milvus 2.3 counts, and never returns."""


def any_key(field: str, *, text: bool) -> str:
    """Return a condition that every key meets.

    Without a condition Milvus Lite counts the whole collection, whatever the partition.
    """
    return f'{field} >= ""' if text else f"({field} < 0 or {field} >= 0)"


def above(field: str, key: Key | None) -> str:
    """Return the condition for keys greater than ``key``; None stands before all."""
    if key is None:
        return ""
    if key == SMALLEST:
        return f"{field} >= {SMALLEST + 1}"
    return f"{field} > {literal(key)}"


def up_to(field: str, key: Key) -> str:
    """Return the condition for keys not greater than ``key``."""
    if key == SMALLEST:
        return f"{field} < {SMALLEST + 1}"
    return f"{field} <= {literal(key)}"


def exactly(field: str, key: Key) -> str:
    """Return the condition for one key."""
    if key == SMALLEST:
        return up_to(field, key)
    return f"{field} == {literal(key)}"


def between(field: str, low: Key | None, high: Key) -> str:
    """Return the condition for keys greater than ``low``, up to ``high`` inclusive."""
    upper = up_to(field, high)
    return upper if low is None else f"{above(field, low)} and {upper}"


def among(field: str, keys: Iterable[Key], *, lite: bool) -> str:
    """Return the condition for these keys."""
    return f"{field} in {members(keys, lite=lite)}"


def groups(keys: Iterable[Key], most: int) -> Iterator[list[Key]]:
    """Yield keys as many together, ``most`` at most, as one condition may name."""
    group: list[Key] = []
    size = 0
    for key in keys:
        own = len(key) if isinstance(key, str) else 0
        if group and (len(group) == most or size + own > GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(key)
        size += own
    if group:
        yield group
