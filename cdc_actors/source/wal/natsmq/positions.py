"""Positions that are numbers: eight bytes, little-endian, as natsmq's message ids are.

Source of the rule: Milvus 2.3.5, ``pkg/mq/msgstream/mqwrapper/nmq/nmq_id.go``.
"""

from __future__ import annotations

from cdc_actors.changes import Position, Record
from cdc_actors.errors import OperatorError

_BYTES = 8


class NumberedRecord(Record, frozen=True, gc=False):
    """A record and its number, the first being 1."""

    number: int

    @property
    def position(self) -> Position:
        """Where it stands."""
        return position_of(self.channel, self.number)


def position_of(channel: str, sequence: int) -> Position:
    """Return the position of record number ``sequence``, the first being 1."""
    return Position(channel, sequence.to_bytes(_BYTES, "little"), str(sequence))


def sequence_of(position: Position) -> int:
    """Return the number of the record at ``position``.

    Raises:
        OperatorError: The position comes from another kind of message queue.
    """
    if len(position.id) != _BYTES:
        raise OperatorError(
            f"{position.channel}: the position {position.text} is not one of natsmq: "
            "the task was made for a source with another message queue; create it anew"
        )
    return int.from_bytes(position.id, "little")


def next_sequence(start: Position, *, inclusive: bool) -> int:
    """Return the number of the first record to read from ``start`` on.

    Milvus writes 0 for the position of a channel that is still empty.
    """
    return max(1, sequence_of(start) + (not inclusive))
