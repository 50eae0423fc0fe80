"""What the positions of several queues have in common.

Milvus keeps a message id that is a number in eight bytes, little-endian and signed; what
is below the first one stands for a channel that was still empty (2.3.5: the ``*_id.go`` in
``pkg/mq/msgstream/mqwrapper``). Pulsar's ids are of another form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cdc_actors.errors import OperatorError, PositionLostError

if TYPE_CHECKING:
    from cdc_actors.changes import Position

_ID_BYTES = 8


class Kept(NamedTuple):
    """What a channel holds: its first record, and the number after its last."""

    first: int
    end: int


class LogKind(NamedTuple):
    """A queue in words: its name, what holds a channel in it, what removes records."""

    queue: str
    holder: str
    retention: str


def encode(number: int) -> bytes:
    """Return a number as Milvus keeps it in a message id."""
    return number.to_bytes(_ID_BYTES, "little", signed=True)


def decode(position: Position, queue: str) -> int:
    """Return the number in the id of a position.

    Raises:
        OperatorError: The position comes from another kind of message queue.
    """
    if len(position.id) != _ID_BYTES:
        raise foreign(position, queue)
    return int.from_bytes(position.id, "little", signed=True)


def foreign(position: Position, queue: str) -> OperatorError:
    """Return the error for a position that is not one of the queue that is read."""
    return OperatorError(
        f"{position.channel}: the position {position.text} is not one of {queue}: the "
        "task was made for a source with another message queue; create it again"
    )


def lost(
    channel: str, wanted: int, kept: Kept | None, kind: LogKind
) -> PositionLostError | None:
    """Return the error if reading cannot begin at record ``wanted``, None if it can.

    Args:
        channel: The channel, for the error's text.
        wanted: The number of the first record to read.
        kept: What the log holds, None if there is no such channel.
        kind: The queue, for the error's text.
    """
    if kept is None:
        text = f"its {kind.holder} does not exist, so record {wanted} is gone"
    elif wanted < kept.first:
        text = (
            f"record {wanted} is no longer in the log, the oldest one kept is "
            f"{kept.first}: {kind.retention} was faster"
        )
    elif wanted > kept.end:
        text = (
            f"the log ends before record {kept.end}, so record {wanted} is gone: its "
            f"{kind.holder} was recreated"
        )
    else:
        return None
    return PositionLostError(f"{channel}: {text}")
