"""Positions in Kafka: the offset of a record in partition 0 of the topic.

Source of the rule: Milvus 2.3.5, ``pkg/mq/msgstream/mqwrapper/kafka/kafka_id.go``. The text
of a position also names the id of its topic, ``<offset>@<topic id>``: a topic that was
deleted and made again is another one, even where it has grown longer than the position.
Milvus's own positions do not name the topic's id, nor do those that a task stored before
this was so, nor those of a broker older than Kafka 2.8, which has none: there only the
offset is compared.
"""

from __future__ import annotations

from cdc_actors.changes import Position, Record
from cdc_actors.source.wal.positions import decode, encode

_AT = "@"


class OffsetRecord(Record, frozen=True, gc=False):
    """A record, its offset, and the id of its topic, empty if unknown."""

    offset: int
    topic_id: str

    @property
    def position(self) -> Position:
        """Where it stands."""
        return position_of(self.channel, self.offset, self.topic_id)


def position_of(channel: str, offset: int, topic_id: str = "") -> Position:
    """Return the position of the record at an offset, in the topic of that id if known."""
    text = f"{offset}{_AT}{topic_id}" if topic_id else str(offset)
    return Position(channel, encode(offset), text)


def offset_of(position: Position) -> int:
    """Return the offset of the record at ``position``.

    Raises:
        OperatorError: The position comes from another kind of message queue.
    """
    return decode(position, "Kafka")


def topic_id_of(position: Position) -> str:
    """Return the id of the topic that a position is one of, empty if unknown."""
    return position.text.partition(_AT)[2]


def next_offset(start: Position, *, inclusive: bool) -> int:
    """Return the offset of the first record to read from ``start`` on."""
    return offset_of(start) + (not inclusive)
