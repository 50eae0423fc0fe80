"""How rows and keys are divided among requests. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.changes import Rows
from cdc_actors.target.columns import has_shape, shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cdc_actors.changes import Key
    from cdc_actors.target.request_size import RequestSize

MAX_INSERT_BYTES = 12 * 1024 * 1024
"""How large one insert may grow by joining, and from where on one of the log is split;
Milvus takes 64 MiB at most (2.3)."""

MAX_DELETE_KEYS = 4096
MAX_DELETE_BYTES = 1024 * 1024
"""How many keys, of how much text, one delete names: Milvus parses an expression."""

_NUMBER_BYTES = 21
_QUOTES_BYTES = 3


def halves(rows: Sequence[Rows]) -> list[list[Rows]]:
    """Return the first and the second half of some rows, in order; none of a single row.

    Several inserts are divided among the halves, and one alone by its rows. Nothing is
    copied.
    """
    if len(rows) > 1:
        middle = len(rows) // 2
        return [list(rows[:middle]), list(rows[middle:])]
    keep = kept(rows[0]) if rows else range(0)
    if len(keep) <= 1:
        return []
    middle = len(keep) // 2
    return [[Rows(rows[0].insert, part)] for part in (keep[:middle], keep[middle:])]


def kept(rows: Rows) -> tuple[int, ...] | range:
    """Return the indexes of the chosen rows."""
    return range(rows.insert.rows) if rows.keep is None else rows.keep


def key_chunks(keys: Sequence[Key], size: RequestSize) -> Iterator[list[Key]]:
    """Divide keys among deletes, keeping their order."""
    chunk: list[Key] = []
    total = 0
    for key in keys:
        total += (own := _key_size(key))
        if len(chunk) == MAX_DELETE_KEYS or (chunk and total > size.limit):
            yield chunk
            chunk, total = [], own
        chunk.append(key)
    if chunk:
        yield chunk


def _key_size(key: Key) -> int:
    """Return about how many bytes a key takes in an expression."""
    return len(key) + _QUOTES_BYTES if isinstance(key, str) else _NUMBER_BYTES


_Alike = tuple[str, tuple[bytes, ...]]
"""What rows of one request have in common: the partition, and the columns."""


def row_groups(rows: Sequence[Rows], size: RequestSize) -> Iterator[list[Rows]]:
    """Divide rows among inserts, each of one partition, keeping the order of its rows.

    Those from before a field was added or dropped (Milvus 2.6) have other columns, and go
    apart.
    """
    groups: dict[_Alike, list[Rows]] = {}
    totals: dict[_Alike, int] = {}
    alike: _Alike = "", ()
    for each in _parts(rows, size):
        insert = each.insert
        if insert.partition != alike[0] or not has_shape(insert, alike[1]):
            alike = insert.partition, shape(insert)
        own = insert.size if each.keep is None else size_of([each])
        total = totals.get(alike, 0)
        if total and total + own > size.limit:
            yield groups.pop(alike)
            total = 0
        groups.setdefault(alike, []).append(each)
        totals[alike] = total + own
    yield from groups.values()


def _parts(rows: Iterable[Rows], size: RequestSize) -> Iterator[Rows]:
    """Split what is larger than one request, as far as there are rows to split."""
    for each in rows:
        if each.insert.size <= size.limit or (own := size_of([each])) <= size.limit:
            yield each
            continue
        keep = kept(each)
        step = -(-len(keep) // -(-own // size.limit))
        for start in range(0, len(keep), step):
            yield Rows(each.insert, keep[start : start + step])


def size_of(rows: Sequence[Rows]) -> int:
    """Return about how many bytes rows are, those of one insert taken to be of one size."""
    return sum(
        [
            each.insert.size
            if each.keep is None
            else each.insert.size * len(each.keep) // max(1, each.insert.rows)
            for each in rows
        ]
    )
