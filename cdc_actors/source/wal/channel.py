"""One channel as one reader has it: read alone, or in the tail that others read, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdc_actors.changes import are_rows
from cdc_actors.source.wal.tail import Point

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.changes import Record
    from cdc_actors.source.wal.head import Head
    from cdc_actors.source.wal.tail import SharedRecord, Tail


@dataclass(slots=True)
class Channel:
    """A channel that is read from ``start`` on, after its ``last`` record if there is one.

    Without a ``tail`` it is read by the reader of one's own. ``tick`` is the newest that
    has passed at rest, and is to be handed on before what comes next; ``passed`` is when
    the newest was that ever has.
    """

    name: str
    start: Point
    last: Record | None = None
    tail: Tail | None = None
    head: Head | None = None
    tick: SharedRecord | None = None
    passed: int = 0

    @property
    def point(self) -> Point:
        """Where reading goes on."""
        return Point(self.last.position, False) if self.last else self.start

    def is_at_end(self, who: object) -> bool:
        """Tell whether nothing more is in the tail, for now."""
        return self.tail is not None and not self.tail.has_news(who)

    def rest(self, who: object, ignores: Callable[[int], bool]) -> None:
        """Have ticks pass in the tail, and rows of collections that are ignored."""
        if self.tail is not None:
            self.tail.rest(who, lambda record: are_rows(record.readable, ignores))

    def newest_passed(self, who: object) -> int:
        """Return when the newest tick was that has passed, 0 if none ever has."""
        tick = self.tail.passing(who) if self.tail is not None else None
        change = tick.change if tick is not None else None
        return max(self.passed, change.timestamp if change is not None else 0)

    def rise(self, who: object) -> None:
        """Go on behind what has passed."""
        if self.tail is not None:
            self.passed = self.newest_passed(who)
            self.start, tick = self.tail.rise(who)
            self.last = None
            self.tick = tick or self.tick
