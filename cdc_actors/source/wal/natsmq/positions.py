"""Positions in natsmq: the number of a record in its stream, the first being 1.

Source of the rule: Milvus 2.3.5, ``pkg/mq/msgstream/mqwrapper/nmq/nmq_id.go``. The text
of a position also names when its stream was made, ``<number>@<time>``: one that was made
again, or another Milvus's, is another one, even where it has grown longer than the
position. Milvus's own positions do not say that, nor do those that a task stored before
this was so: there only the number is compared.
"""

from __future__ import annotations

from cdc_actors.changes import Position, Record
from cdc_actors.source.wal.positions import decode, encode

_AT = "@"


class NumberedRecord(Record, frozen=True, gc=False):
    """A record, its number, and when its stream was made, empty if unknown."""

    number: int
    stream: str = ""

    @property
    def position(self) -> Position:
        """Where it stands."""
        return position_of(self.channel, self.number, self.stream)


def position_of(channel: str, sequence: int, stream: str = "") -> Position:
    """Return the position of record number ``sequence``, in that stream if known."""
    text = f"{sequence}{_AT}{stream}" if stream else str(sequence)
    return Position(channel, encode(sequence), text)


def stream_of(position: Position) -> str:
    """Return when the stream of a position was made, empty if unknown."""
    return position.text.partition(_AT)[2]


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
