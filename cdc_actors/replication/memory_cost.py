"""How much memory a change takes while it is in hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.changes import Delete, Insert, Rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.changes import Change, RowChange

COPIES = 3
"""How often a row's bytes are there at most: its columns, the request made of them, and
gRPC's own copy of that. Counted from the beginning, as nobody knows when it is sent."""

OVERHEAD = 1024
"""Bytes that the objects around one change take."""

KEY_BYTES = 128
"""Bytes that one deleted key takes beside its text, here and in folding."""


def memory_cost(change: Change | RowChange) -> int:
    """Return the bytes that a change takes from decoding to the target's answer."""
    match change:
        case Insert():
            return OVERHEAD + COPIES * change.size
        case Rows(insert=insert):
            return OVERHEAD + COPIES * insert.size
        case Delete(keys=keys):
            is_text = len(keys) > 0 and isinstance(keys[0], str)
            text = sum([len(str(key)) for key in keys]) if is_text else 0
            return OVERHEAD + COPIES * text + KEY_BYTES * len(keys)
    return OVERHEAD


def total_cost(changes: Iterable[Change | RowChange]) -> int:
    """Return the bytes that changes take together."""
    return sum([memory_cost(change) for change in changes])
