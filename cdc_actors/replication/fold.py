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
    from collections.abc import Callable, Iterable, Sequence


def fold(
    changes: Iterable[RowChange],
    keys_of: Callable[[Insert], Sequence[Key]],
    *,
    may_exist: bool = False,
) -> Batch:
    """Fold changes, given in the order they happened, into one batch. Pure.

    ``keys_of`` reads an insert's primary keys; it is called only where a delete of the
    stretch, or ``may_exist``, asks for them.
    """
    deleted: dict[str, dict[Key, None]] = {}
    kept: list[Rows] = []
    for change in reversed(list(changes)):
        if isinstance(change, Delete):
            deleted.setdefault(change.partition, {}).update(dict.fromkeys(change.keys))
            continue
        rows = change if isinstance(change, Rows) else Rows(change)
        if left := _survivors(rows, keys_of, deleted):
            kept.append(left)
    if may_exist:
        _delete_kept(kept, keys_of, deleted)
    return Batch({p: tuple(keys) for p, keys in deleted.items()}, tuple(reversed(kept)))


def rewrite(rows: Sequence[Rows], keys_of: Callable[[Insert], Sequence[Key]]) -> Batch:
    """Return what brings rows that may be there, or some of them. Pure."""
    deleted: dict[str, dict[Key, None]] = {}
    _delete_kept(rows, keys_of, deleted)
    return Batch({p: tuple(keys) for p, keys in deleted.items()}, tuple(rows))


def _survivors(
    rows: Rows,
    keys_of: Callable[[Insert], Sequence[Key]],
    deleted: dict[str, dict[Key, None]],
) -> Rows | None:
    insert = rows.insert
    everywhere, here = deleted.get("", {}), deleted.get(insert.partition, {})
    if not everywhere and not here:
        return rows
    keys = keys_of(insert)
    chosen = range(len(keys)) if rows.keep is None else rows.keep
    keep = tuple(i for i in chosen if keys[i] not in everywhere and keys[i] not in here)
    if len(keep) == len(chosen):
        return rows
    return Rows(insert, keep) if keep else None


def _delete_kept(
    kept: Iterable[Rows],
    keys_of: Callable[[Insert], Sequence[Key]],
    deleted: dict[str, dict[Key, None]],
) -> None:
    for rows in kept:
        keys = keys_of(rows.insert)
        chosen = keys if rows.keep is None else [keys[i] for i in rows.keep]
        deleted.setdefault(rows.insert.partition, {}).update(dict.fromkeys(chosen))
