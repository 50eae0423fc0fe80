"""Where a message of a streaming node stands.

Its id is that of the queue which the node keeps its log in, in the text that the node uses:
a number to the base 36 (RocksMQ, Kafka) or the queue's own bytes in base64 (Pulsar,
Woodpecker, whose first entry has none). Reading that begins at an id drops a transaction
that began before it. So a place has the id from which on everything later comes, too, which
each message says (``_lc``), and the message's time, by which the node orders them.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from cdc_actors.changes import Position, Record
from cdc_actors.errors import PositionLostError
from cdc_actors.source.wal.streaming import streaming_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

TIME, CONFIRMED, UNSTORED = "_tt", "_lc", "_np"
"""Names of properties. A message that is not stored, a tick of an idle channel, has the id
of the last one that is."""

QUEUES = {"rocksmq": 1, "pulsar": 2, "kafka": 3, "woodpecker": 4}
"""What Milvus calls the queues that it may keep its log in, and their numbers."""

_ALWAYS = 4
"""How many fields of a place are always kept."""

_CREATION = b"creation "

_NUMBERED = (QUEUES["rocksmq"], QUEUES["kafka"])
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Place(NamedTuple):
    """A message: its queue, where to begin to read, its id and its time (0: unknown).

    What DumpMessages delivered has also up to which time everything was ``seen`` there. A
    place without an id is the oldest message; ``creates`` is the collection whose creation
    has to be behind it.
    """

    queue: int
    confirmed: str
    id: str
    time: int
    seen: int = 0
    creates: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        """What orders ids of one queue."""
        return rank(self.queue, self.id)


class NodeRecord(Record, frozen=True, gc=False):
    """A message of a streaming node, parsed when it is asked for.

    ``head`` is the message without its body. Reading goes on behind ``last``: the head of
    the last message that is stored, or where reading began.
    """

    head: bytes
    last: bytes | Place

    @property
    def properties(self) -> Mapping[str, str]:
        """What it says beside its body."""
        message = streaming_pb2.ImmutableMessage.FromString(self.head)
        return message.properties

    @property
    def position(self) -> Position:
        """Where it stands, or the last message before it that is stored."""
        return position_of(self.channel, place_behind(self.last))


def place_in(message: streaming_pb2.ImmutableMessage) -> Place:
    """Return where a message stands."""
    where, time = message.id, int(message.properties.get(TIME, "0"), 36)
    confirmed = message.properties.get(CONFIRMED, where.id)
    return Place(where.wal_name, confirmed, where.id, time)


def place_behind(last: bytes | Place) -> Place:
    """Return the place of a message by its head, or the place itself."""
    if isinstance(last, Place):
        return last
    return place_in(streaming_pb2.ImmutableMessage.FromString(last))


def position_of(channel: str, place: Place) -> Position:
    """Return a place as it is kept."""
    kept = place if place.seen or place.creates else place[:_ALWAYS]
    text = place.id or (f"time {place.seen}" if place.seen else "its first entry")
    return Position(channel, msgspec.json.encode(kept), text)


def place_of(position: Position) -> Place:
    """Return the place that a position is.

    Raises:
        PositionLostError: It comes from a message queue that was read before.
    """
    try:
        return msgspec.json.decode(position.id, type=Place)
    except msgspec.DecodeError as error:
        raise PositionLostError(
            f"{position.channel}: the position {position.text} is of the log that the "
            "source had before it became a Milvus of 2.6 or later: `resync` with * brings "
            "its collections anew, as far as the log has them from their beginnings on"
        ) from error


def place_of_id(queue: int, message_id: bytes) -> Place:
    """Return the place of an id as Milvus's catalog keeps it: the queue's own bytes."""
    if queue in _NUMBERED:
        text = base36(int.from_bytes(message_id, "little", signed=True))
    else:
        text = base64.b64encode(message_id).decode()
    return Place(queue, text, text, 0)


def creation_id(collection_id: int, created: int) -> bytes:
    """Return what stands for the id of a creation where the catalog does not tell it."""
    return _CREATION + msgspec.json.encode((collection_id, created))


def creation_in(message_id: bytes) -> tuple[int, int] | None:
    """Return the collection and the time of ``creation_id``, None of another id."""
    if not message_id.startswith(_CREATION):
        return None
    kept = message_id.removeprefix(_CREATION)
    return msgspec.json.decode(kept, type=tuple[int, int])


def rank(queue: int, message_id: str) -> tuple[int, int]:
    """Return what orders the ids of a queue."""
    if queue in _NUMBERED:
        return int(message_id, 36), 0
    entry = streaming_pb2.EntryID.FromString(base64.b64decode(message_id))
    return entry.segment, entry.entry


def base36(number: int) -> str:
    """Return a number as Milvus writes ids and times."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
