"""Which of many beginnings the log still holds, asking it for few."""

from __future__ import annotations

from bisect import bisect_left
from functools import cmp_to_key
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.changes import Position
    from cdc_actors.source.wal.base import WalReader


def lost_starts(wal: WalReader, starts: Iterable[Position]) -> set[Position]:
    """Return those of some positions from which the log cannot be read any more.

    A log loses its oldest records first: what is held is held to the newest position.
    One that no longer holds that either, or is another log by the same name, has none.
    """
    by_channel: dict[str, set[Position]] = {}
    for start in starts:
        by_channel.setdefault(start.channel, set()).add(start)
    lost: set[Position] = set()

    def compare(one: Position, other: Position) -> int:
        return wal.reached(one, other) - wal.reached(other, one)

    for found in by_channel.values():
        in_order = sorted(found, key=cmp_to_key(compare))
        lost.update(in_order[: _first_held(wal, in_order)])
    return lost


def _first_held(wal: WalReader, in_order: list[Position]) -> int:
    """The oldest is asked for last: RocksMQ says that it holds the very beginning."""
    last = len(in_order) - 1
    if not wal.holds(in_order[last]):
        return len(in_order)
    return bisect_left(in_order, True, 0, last, key=wal.holds)
