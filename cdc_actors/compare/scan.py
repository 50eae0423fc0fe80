"""One side's rows in the order of their keys, and the rows that Milvus hides.

Pages follow each other by key, so that memory does not grow with the collection. Of a key
that was inserted twice Milvus returns one row, but counts both. Where more is counted
than returned, the keys to blame are found by counting ever smaller ranges.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pymilvus import DataType

from cdc_actors.compare.keys import above, any_key, between, exactly

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from cdc_actors.changes import Key
    from cdc_actors.compare.schema import Table
    from cdc_actors.compare.server import Server

Row = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Census:
    """How many rows a partition has.

    Attributes:
        counted: Rows by the server's count.
        doubled: Keys that occur more than once, and how often.
        unread: Rows counted that no query returned: those of the key 2**63-1, which
            Milvus 2.3 never returns. Not 0 either if rows changed between query and count.
    """

    counted: int
    doubled: dict[Key, int] = field(default_factory=dict)
    unread: int = 0


class Scan:
    """Reads one side of a collection.

    Args:
        server: The side.
        table: How to read it.
        partitions: What it has; others are empty. The empty name stands for all.
    """

    def __init__(
        self, server: Server, table: Table, partitions: Collection[str]
    ) -> None:
        self._server = server
        self._table = table
        self.partitions = partitions

    def rows(self, partition: str) -> Iterator[Row]:
        """Yield the rows of a partition by ascending key, one of each key."""
        for _, page in self._pages(partition, ["*"]):
            yield from page

    def census(self, partition: str, returned: int) -> Census:
        """Count a partition; find what is behind it if not ``returned`` rows are there."""
        census = Census(counted=self._count(partition))
        if census.counted == returned:
            return census
        for low, page in self._pages(partition, [self._table.key]):
            keys = [row[self._table.key] for row in page]
            census.doubled.update(self._doubled(partition, low, keys))
        hidden = sum(times - 1 for times in census.doubled.values())
        census.unread = census.counted - returned - hidden
        return census

    def times(self, partition: str, key: Key) -> int:
        """Return how often a key occurs in a partition."""
        return self._count(partition, exactly(self._table.key, key))

    def _pages(
        self, partition: str, columns: list[str]
    ) -> Iterator[tuple[Key | None, list[Row]]]:
        """Yield each page with the key before its first.

        Only an empty page is the end: a doubled key takes two places of a page's limit
        and fills one.
        """
        if partition not in self.partitions:
            return
        low = None
        while page := self._server.page(
            self._table, partition, above(self._table.key, low), columns
        ):
            yield low, page
            low = page[-1][self._table.key]

    def _doubled(
        self, partition: str, low: Key | None, keys: list[Key]
    ) -> Iterator[tuple[Key, int]]:
        times = self._count(partition, between(self._table.key, low, keys[-1]))
        if times == len(keys):
            return
        if len(keys) == 1:
            yield keys[0], times
            return
        middle = len(keys) // 2
        yield from self._doubled(partition, low, keys[:middle])
        yield from self._doubled(partition, keys[middle - 1], keys[middle:])

    def _count(self, partition: str, condition: str = "") -> int:
        if partition not in self.partitions:
            return 0
        key = self._table.key
        text = self._table.types[key][0] == DataType.VARCHAR
        condition = condition or any_key(key, text=text)
        return self._server.count(self._table, partition, condition)
