"""The rows of two collections by ranges of keys: which are surely the same.

Ranges follow each other by key, so that memory does not grow with the collection, and who
stops may go on behind the last one. Each ends where both sides have been read.

Of a key that was inserted twice Milvus returns one row, but counts both: where more is
counted than returned, the keys to blame are found by counting ever fewer of them. Rows are
counted after they were returned; what was deleted in between may hide as many copies. So
where anything is on its way, the rows that are not are counted by themselves, in groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cdc_actors.compare.keys import above, among, between, groups
from cdc_actors.compare.server import AnswerTooLargeError, Columns

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from cdc_actors.changes import Key
    from cdc_actors.compare.page import Page
    from cdc_actors.compare.schema import Table
    from cdc_actors.compare.server import Server

PAGE_BYTES = 4 << 20
"""About how large an answer is; as rows are of any size, the last one tells the next."""

MAX_PAGE_ROWS = 10_000
"""Milvus returns 16,384 at most."""

GROUP_ROWS = 500
"""How many rows are looked at, or counted by their keys, in one request."""


@dataclass(slots=True)
class Side:
    """One side of a collection.

    ``partitions`` is what it has; others are empty. The empty name stands for all. ``at``
    is a time of the server up to which it answers with everything.
    """

    server: Server
    table: Table
    partitions: Collection[str]
    at: int

    def begin_page(
        self, partition: str, low: Key | None, rows: int
    ) -> Callable[[], Page] | None:
        """Ask for the first rows with keys greater than ``low``; None if there are none."""
        if partition not in self.partitions:
            return None
        condition = above(self.table.key, low)
        return self.server.begin_page(self.table, partition, condition, rows, self.at)

    def begin_count(self, partition: str, condition: str) -> Callable[[], int]:
        """Ask how many rows meet a condition, copies of a key included."""
        if partition not in self.partitions:
            return lambda: 0
        return self.server.begin_count(self.table, partition, condition, self.at)

    def copies(self, partition: str, groups: Iterable[Sequence[Key]]) -> Iterator[Key]:
        """Yield which of some keys occur more than once. Milvus Lite has no such."""
        if self.server.is_lite:
            return
        asked = [
            (keys, self.begin_count(partition, among(self.table.key, keys, lite=False)))
            for keys in groups
        ]
        for keys, count in asked:
            middle = len(keys) // 2
            if count() > len(keys):
                halves = (keys[:middle], keys[middle:])
                yield from self.copies(partition, halves) if middle else keys

    def rows_of(
        self, partition: str, keys: Collection[Key]
    ) -> dict[Key, dict[str, Any]]:
        """Return the rows of some keys."""
        if partition not in self.partitions:
            return {}
        condition = among(self.table.key, keys, lite=self.server.is_lite)
        page = self.server.rows_of(self.table, partition, condition, self.at)
        return dict(zip(page.keys, page.rows(), strict=True))

    def columns_of(self, partition: str, keys: Collection[Key]) -> Columns:
        """Return the rows of some keys as they would be inserted."""
        if partition not in self.partitions or not keys:
            return Columns((), 0)
        condition = among(self.table.key, keys, lite=self.server.is_lite)
        return self.server.columns_of(self.table, partition, condition, self.at)

    def times_of(self, partition: str, keys: Sequence[Key]) -> dict[Key, int]:
        """Return how often each of these keys occurs; all of them do at least once.

        Milvus Lite has one row of a key, and counts slowly.
        """
        if self.server.is_lite or not keys:
            return dict.fromkeys(keys, 1)
        condition = among(self.table.key, keys, lite=False)
        rows = self.begin_count(partition, condition)()
        if len(keys) == 1 or rows == len(keys):
            return dict.fromkeys(keys, max(1, rows // len(keys)))
        middle = len(keys) // 2
        parts = (keys[:middle], keys[middle:])
        return self.times_of(partition, parts[0]) | self.times_of(partition, parts[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The rows of a partition with keys behind the range before, up to ``high``.

    ``suspects`` are the keys that may differ; every other is the same at both sides.
    Rows are counted with all copies of a key.
    """

    high: Key
    suspects: list[Key]
    source_rows: int
    target_rows: int


class Sweep:
    """Reads both sides of a collection, range by range. One thread uses it."""

    def __init__(self, source: Side, target: Side, most_rows: int) -> None:
        """``most_rows`` is how many rows a range may have."""
        self._most_rows = most_rows
        self._sides = (source, target)
        self._rows = self._asked = min(most_rows, source.table.page_rows)

    def ranges(self, partition: str, low: Key | None) -> Iterator[Range]:
        """Yield the ranges of a partition whose keys are greater than ``low``.

        The next pages are asked for while the last ones are compared.
        """
        ended = [False, False]
        answers = self._begin_pages(partition, low, ended)
        while True:
            pages = self._pages(answers, partition, low, ended)
            ends = [page.keys[-1] for page in pages if page is not None and page.keys]
            if not ends:
                return
            high = min(ends)
            ended = [
                end or self._is_last(side, page, high)
                for end, side, page in zip(ended, self._sides, pages, strict=True)
            ]
            answers = self._begin_pages(partition, high, ended)
            yield self._range(partition, low, high, pages)
            low = high

    def _begin_pages(
        self, partition: str, low: Key | None, ended: list[bool]
    ) -> list[Callable[[], Page] | None]:
        """Ask both sides for their next rows; None stands for none."""
        self._asked = self._rows
        return [
            None if end else side.begin_page(partition, low, self._asked)
            for side, end in zip(self._sides, ended, strict=True)
        ]

    def _pages(
        self,
        answers: list[Callable[[], Page] | None],
        partition: str,
        low: Key | None,
        ended: list[bool],
    ) -> list[Page | None]:
        """Wait for the pages; ask for fewer rows where an answer is too large."""
        while True:
            try:
                pages = [None if answer is None else answer() for answer in answers]
            except AnswerTooLargeError:
                if self._asked == 1:
                    raise
                self._rows = self._asked // 2
                answers = self._begin_pages(partition, low, ended)
            else:
                self._fit(pages)
                return pages

    def _is_last(self, side: Side, page: Page | None, high: Key) -> bool:
        """Tell whether a side has no rows behind ``high``.

        Only an empty answer of a Milvus says so: a copy takes a place of the limit. At
        Milvus Lite each answer takes as long as reading everything, so that one with fewer
        rows than were asked for does.
        """
        if page is None or not page.keys:
            return True
        is_short = side.server.is_lite and len(page.keys) < self._asked
        return is_short and page.rows_up_to(high) == len(page.keys)

    def _fit(self, pages: list[Page | None]) -> None:
        """Ask next for as many rows as make a page of the size that is meant."""
        read = [page for page in pages if page is not None and page.keys]
        if read:
            row = max(page.size // len(page.keys) for page in read)
            wanted = PAGE_BYTES // max(1, row)
            self._rows = max(1, min(wanted, 2 * self._rows, self._most_rows))

    def _range(
        self, partition: str, low: Key | None, high: Key, pages: list[Page | None]
    ) -> Range:
        keys = [_up_to(page, high) for page in pages]
        sides = list(zip(self._sides, keys, strict=True))
        condition = between(self._sides[0].table.key, low, high)
        counts = [
            None if side.server.is_lite else side.begin_count(partition, condition)
            for side, _ in sides
        ]
        suspects = set(_suspects(pages, high))
        rows = [
            len(own) if count is None else count()
            for count, own in zip(counts, keys, strict=True)
        ]
        copies: set[Key] = set()
        for (side, own), counted in zip(sides, rows, strict=True):
            if suspects or counted != len(own):
                calm = [key for key in own if key not in suspects]
                copies.update(side.copies(partition, groups(calm, GROUP_ROWS)))
        return Range(
            high=high,
            suspects=sorted(suspects | copies),
            source_rows=rows[0],
            target_rows=rows[1],
        )


def _up_to(page: Page | None, high: Key) -> list[Key]:
    return [] if page is None else page.keys[: page.rows_up_to(high)]


def _suspects(pages: list[Page | None], high: Key) -> Iterator[Key]:
    source, target = pages
    if source is None or target is None:
        for page in pages:
            yield from _up_to(page, high)
    else:
        yield from source.suspects(target, high)
