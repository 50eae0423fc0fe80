"""Which one of some rows a target refuses, while it takes the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.errors import (
    OperationRefusedError,
    RowRefusedError,
    UnclearAnswerError,
)
from cdc_actors.replication.fold import rewrite
from cdc_actors.target.splitting import halves, kept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdc_actors.changes import Rows
    from cdc_actors.target.rows import RowWriter

    Refusal = UnclearAnswerError | OperationRefusedError

_SHOWN = 100
"""Characters of a key that an error names."""


def write_apart(writer: RowWriter, rows: Sequence[Rows]) -> None:
    """Write rows, of which the target may have some; in parts if they are refused.

    The half that is refused is halved again, down to one row, and the other halves are
    written: that takes two requests, about, for each time that their number can be halved.

    Raises:
        RowRefusedError: One row is refused, twice, and others are taken. Its cause is the
            refusal.
        UnclearAnswerError: It may be any of them, or none: nothing tells them apart.
        OperationRefusedError: The same.
        TransientError: The target is away.
    """
    refusal = _refusal_of(writer, rows)
    if refusal is None:
        return
    others, suspect = _narrow(writer, rows)
    refusal = _refusal_of(writer, suspect)
    refusals = [_refusal_of(writer, each) for each in others]
    if refusal and None in refusals:
        refusal = _refusal_of(writer, suspect)
        if refusal:
            raise RowRefusedError(
                f"the target takes other rows, but not {_named(writer, suspect)}: "
                f"{refusal}; delete or change it at the source"
            ) from refusal
    if refusal and not others:
        raise type(refusal)(f"{_named(writer, suspect)}: {refusal}", refusal.code)
    for each in (refusal, *refusals):
        if each is not None:
            raise each


def _narrow(
    writer: RowWriter, rows: Sequence[Rows]
) -> tuple[list[Sequence[Rows]], Sequence[Rows]]:
    """Return a single row that is refused with each half it is in, and those without it.

    What is taken on the way is the empty half.
    """
    others: list[Sequence[Rows]] = []
    while parts := halves(rows):
        first, second = parts
        if _refusal_of(writer, first) is None:
            others.append(())
            rows = second
        else:
            others.append(second)
            rows = first
    return others, rows


def _refusal_of(writer: RowWriter, rows: Sequence[Rows]) -> Refusal | None:
    """Write rows; return why they are refused, if they are."""
    try:
        writer.write(rewrite(rows, writer.keys_of))
        writer.drain()
    except (UnclearAnswerError, OperationRefusedError) as refusal:
        writer.abandon()
        return refusal
    return None


def _named(writer: RowWriter, rows: Sequence[Rows]) -> str:
    """Return the name of a single row."""
    [row] = kept(rows[0])
    key = writer.keys_of([rows[0].insert])[0][row]
    return f"the row with the key {key!r:.{_SHOWN}}"
