"""How rows and keys are divided among requests. Pure."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from cdc_actors.changes import Rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cdc_actors.changes import Key

MAX_REQUEST_BYTES = 12 * 1024 * 1024
"""How large one insert may grow by joining, and from where on one of the log is split;
Milvus takes 64 MiB at most (2.3)."""

MAX_DELETE_KEYS = 4096
MAX_DELETE_CHARACTERS = 1024 * 1024
"""How many keys, of how much text, one delete names: Milvus parses an expression."""


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


def key_chunks(keys: Sequence[Key]) -> Iterator[list[Key]]:
    """Divide keys among deletes of a bounded size, keeping their order."""
    chunk: list[Key] = []
    size = 0
    for key in keys:
        size += len(key) if isinstance(key, str) else 0
        if len(chunk) == MAX_DELETE_KEYS or (chunk and size > MAX_DELETE_CHARACTERS):
            yield chunk
            chunk, size = [], len(key) if isinstance(key, str) else 0
        chunk.append(key)
    if chunk:
        yield chunk


def row_groups(rows: Sequence[Rows]) -> Iterator[tuple[str, list[Rows]]]:
    """Group rows by partition into requests of a bounded size, keeping their order."""
    open_groups: dict[str, tuple[list[Rows], int]] = {}
    for each in chain.from_iterable(map(_parts, rows)):
        partition, size = each.insert.partition, _size(each)
        group, total = open_groups.pop(partition, ([], 0))
        if group and total + size > MAX_REQUEST_BYTES:
            yield partition, group
            group, total = [], 0
        open_groups[partition] = ([*group, each], total + size)
    for partition, (group, _) in open_groups.items():
        yield partition, group


def _parts(rows: Rows) -> Iterator[Rows]:
    """Split what is larger than one request, as far as there are rows to split."""
    parts = -(-_size(rows) // MAX_REQUEST_BYTES)
    keep = kept(rows)
    if parts <= 1 or len(keep) <= 1:
        yield rows
        return
    step = -(-len(keep) // parts)
    for start in range(0, len(keep), step):
        yield Rows(rows.insert, keep[start : start + step])


def _size(rows: Rows) -> int:
    """Return the bytes of the rows, taken to be of one size."""
    if rows.keep is None:
        return rows.insert.size
    return rows.insert.size * len(rows.keep) // max(1, rows.insert.rows)
