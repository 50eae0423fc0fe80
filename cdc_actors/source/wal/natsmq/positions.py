"""Positions in natsmq: the number of a record in its stream, the first being 1.

Source of the rule: Milvus 2.3.5, ``pkg/mq/msgstream/mqwrapper/nmq/nmq_id.go``.
"""

from __future__ import annotations

from cdc_actors.changes import Position, Record
from cdc_actors.source.wal.positions import decode, encode


class NumberedRecord(Record, frozen=True, gc=False):
    """A record and its number."""

    number: int

    @property
    def position(self) -> Position:
        """Where it stands."""
        return position_of(self.channel, self.number)


def position_of(channel: str, sequence: int) -> Position:
    """Return the position of record number ``sequence``."""
    return Position(channel, encode(sequence), str(sequence))


def sequence_of(position: Position) -> int:
    """Return the number of the record at ``position``.

    Raises:
        OperatorError: The position comes from another kind of message queue.
    """
    return decode(position, "natsmq")


def next_sequence(start: Position, *, inclusive: bool) -> int:
    """Return the number of the first record to read from ``start`` on.

    Milvus writes 0 for the position of a channel that is still empty.
    """
    return max(1, sequence_of(start) + (not inclusive))
