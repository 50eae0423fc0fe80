"""From which places the log can still be read, and how these are told of."""

from __future__ import annotations

from bisect import bisect_left
from functools import cmp_to_key
from typing import TYPE_CHECKING

from cdc_actors.changes import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.changes import Position
    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.source.wal.base import WalReader


def places(positions: Iterable[Position]) -> str:
    """Return what a message calls some positions."""
    return ", ".join(f"{each.channel} at {each.text}" for each in positions)


def not_held(wal: WalReader, checkpoints: Iterable[Checkpoint]) -> list[Checkpoint]:
    """Return those checkpoints from which the log can be read no longer, asking for each.

    Raises:
        CdcError: The queue does not answer, or refuses.
    """
    return [
        each
        for each in checkpoints
        if not wal.holds(each.position, inclusive=each.inclusive)
    ]


def first_places(meta: CollectionMeta, wal: WalReader) -> dict[str, Checkpoint]:
    """Return where the log begins to tell of a collection, by channel.

    What was truncated since is passed over.
    """
    starts = [wal.position(*each) for each in meta.start_positions.items()]
    truncated = dict(zip(meta.channels, meta.truncated, strict=False))
    return {
        start.channel: Checkpoint(start, True, truncated.get(start.channel, 0))
        for start in starts
    }


def lost_starts(wal: WalReader, starts: Iterable[Position]) -> set[Position]:
    """Return those of many positions from which the log cannot be read any more.

    It is asked for few of them. A log loses its oldest records first: what is held is held
    to the newest position. One that no longer holds that either, or is another log by the
    same name, has none.
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
