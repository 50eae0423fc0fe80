"""From a stretch of one collection's changes to what the target must do.

A target asked for deletes first and inserts second ends as one that applied every change
in order, provided that each row which a later delete of the stretch removes is left out.
Two inserts of a key without a delete between them stay two, as at the source.

Applied ``may_exist`` (after a restart, when parts may be there already), the keys of the
inserts are deleted first too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.changes import Batch, Delete, Insert, Key, RowChange, Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    KeysOf = Callable[[Sequence[Insert]], Sequence[Sequence[Key]]]
    """Reads the primary keys of several inserts: those of many at once cost little more
    than those of one."""

_NEVER = -1


def fold(
    changes: Iterable[RowChange], keys_of: KeysOf, *, may_exist: bool = False
) -> Batch:
    """Fold changes, given in the order they happened, into one batch. Pure.

    ``keys_of`` reads inserts' primary keys; it is called only where a delete of the
    stretch, or ``may_exist``, asks for them.
    """
    deleted: dict[str, dict[Key, int]] = {}
    rows: list[tuple[int, Rows]] = []
    for at, change in enumerate(changes):
        if isinstance(change, Delete):
            deleted.setdefault(change.partition, {}).update(
                dict.fromkeys(change.keys, at)
            )
        else:
            rows.append((at, change if isinstance(change, Rows) else Rows(change)))
    kept = _survivors(rows, keys_of, deleted)
    if may_exist:
        return _rewritten(kept, keys_of, deleted)
    return _batch(deleted, kept)


def rewrite(rows: Sequence[Rows], keys_of: KeysOf) -> Batch:
    """Return what brings rows that may be there, or some of them. Pure."""
    return _rewritten(rows, keys_of, {})


def _survivors(
    rows: Sequence[tuple[int, Rows]],
    keys_of: KeysOf,
    deleted: Mapping[str, Mapping[Key, int]],
) -> list[Rows]:
    """Return the rows that no later change deletes.

    ``deleted`` has the place of the last delete of each key, by partition.
    """
    everywhere = deleted.get("", {})
    asked = [each for each in rows if everywhere or each[1].insert.partition in deleted]
    keys = iter(keys_of([each.insert for _, each in asked]) if asked else ())
    kept: list[Rows] = []
    for at, each in rows:
        here = deleted.get(each.insert.partition, {})
        if not everywhere and not here:
            kept.append(each)
        elif left := _left(at, each, next(keys), everywhere, here):
            kept.append(left)
    return kept


def _left(
    at: int,
    rows: Rows,
    keys: Sequence[Key],
    everywhere: Mapping[Key, int],
    here: Mapping[Key, int],
) -> Rows | None:
    chosen = range(len(keys)) if rows.keep is None else rows.keep
    keep = [
        row
        for row in chosen
        if here.get(keys[row], _NEVER) < at and everywhere.get(keys[row], _NEVER) < at
    ]
    if len(keep) == len(chosen):
        return rows
    return Rows(rows.insert, tuple(keep)) if keep else None


def _rewritten(
    kept: Sequence[Rows], keys_of: KeysOf, deleted: dict[str, dict[Key, int]]
) -> Batch:
    """Delete the keys of what is inserted, too."""
    for rows, keys in zip(kept, keys_of([each.insert for each in kept]), strict=True):
        chosen = keys if rows.keep is None else [keys[row] for row in rows.keep]
        deleted.setdefault(rows.insert.partition, {}).update(dict.fromkeys(chosen, 0))
    return _batch(deleted, kept)


def _batch(deleted: Mapping[str, Iterable[Key]], kept: Sequence[Rows]) -> Batch:
    return Batch({p: tuple(keys) for p, keys in deleted.items()}, tuple(kept))
