"""Positions that are Pulsar's message ids, serialized as its clients do.

Source of the rule: Milvus 2.3.5, ``pkg/mq/msgstream/mqwrapper/pulsar/pulsar_id.go``. Go
and C++ leave different defaults out of the same id: ids are compared by their numbers.
"""

from __future__ import annotations

from pulsar import MessageId

from cdc_actors.changes import Position, Record
from cdc_actors.source.wal.positions import foreign

Place = tuple[int, int, int]
"""Ledger, entry, index in the batch: ids of one topic in the order of its messages."""


class IdentifiedRecord(Record, frozen=True, gc=False):
    """A record and its message id."""

    message_id: MessageId

    @property
    def position(self) -> Position:
        """Where it stands."""
        return position_of(self.channel, self.message_id)


def position_of(channel: str, message_id: MessageId) -> Position:
    """Return the position of a message; its text is ``ledger:entry``."""
    text = f"{message_id.ledger_id()}:{message_id.entry_id()}"
    return Position(channel, message_id.serialize(), text)


def id_of(position: Position) -> MessageId:
    """Return the message id at ``position``.

    Raises:
        OperatorError: The position comes from another kind of message queue.
    """
    try:
        return MessageId.deserialize(position.id)
    except ValueError as error:
        raise foreign(position, "Pulsar") from error


def place_of(message_id: MessageId) -> Place:
    """Return where a message stands. Without a batch the index is 0, as in Go."""
    batch = max(0, message_id.batch_index())
    return message_id.ledger_id(), message_id.entry_id(), batch


def first_entry(message_id: MessageId) -> tuple[int, int]:
    """Return ledger and entry where a message begins: its own, or its first chunk's."""
    # The client shows that only here: (ledger,entry,..) of the first; of the last.
    ledger, entry, *_ = str(message_id).lstrip("(").split(",")
    return int(ledger), int(entry)


def entry_id(ledger: int, entry: int) -> MessageId:
    """Return the id of a message that is an entry of its own."""
    return MessageId(-1, ledger, entry, -1)._msg_id  # noqa: SLF001 - the type others give
