"""The positions of a ``create``, from which collections that a backup brought go on."""

from __future__ import annotations

import base64
import re
from itertools import chain
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from msgspec import UNSET
from pymilvus.grpc_gen import msg_pb2

from cdc_actors.changes import channel_of, collection_of
from cdc_actors.errors import InvalidRequestError
from cdc_actors.tasks.names import ANY
from cdc_actors.tasks.spec import StartPosition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cdc_http.requests import ChannelInfo, CollectionInfo, CreateRequest

_SHARD = re.compile(r".+_[0-9]{1,19}v[0-9]{1,19}\Z")
"""A virtual channel: ``<physical channel>_<collection>v<number>``."""

_LATEST = (1 << 63) - 1
"""What stores keep at most."""


_NUMBER_BYTES, _SIGN = 8, 0x80
"""An id that is a number is little-endian and signed. Pulsar's and Woodpecker's are
messages of protobuf, whose last byte never has that bit."""


def positions_of(request: CreateRequest) -> dict[str, StartPosition]:
    """Return the positions of a request by shard.

    Raises:
        InvalidRequestError: One is not what Milvus and milvus-backup write, of another
            channel, or of what no position can be of; the message names it.
    """
    by_database = request.db_collections
    if any(info.positions for info in by_database.get(ANY, ())):
        raise InvalidRequestError(
            "the db name is `*`, the positions should be empty: name the database"
        )
    infos = chain(request.collection_infos, *by_database.values())
    found = dict(chain.from_iterable(map(_of_collection, infos)))
    if found and request.snapshot == "always":
        raise InvalidRequestError(
            "positions say that the target has the rows, and snapshot: always that the "
            "source's files bring them: leave one out"
        )
    return found


def empty_positions(request: CreateRequest) -> Iterator[str]:
    """Yield the names of collections whose positions are given, and none is among them."""
    for info in chain(request.collection_infos, *request.db_collections.values()):
        if info.positions is not UNSET and not info.positions and info.name != ANY:
            yield info.name


def check_position(asked: ChannelInfo, configured: str) -> None:
    """Raise InvalidRequestError if ``asked`` has a position that is none of the channel."""
    if asked.position:
        _parsed("rpc_channel_info.position", asked.position, {"", configured})


def _of_collection(info: CollectionInfo) -> Sequence[tuple[str, StartPosition]]:
    if not info.positions:
        return ()
    _check_shards(info.positions)
    return [(each, _position(each, text)) for each, text in info.positions.items()]


def _check_shards(positions: Mapping[str, str]) -> None:
    # The words are milvus-cdc's: its clients may match on them.
    collections: set[int] = set()
    for shard in positions:
        if not _SHARD.match(shard):
            raise InvalidRequestError(
                f"the position channel name is not virtual channel, {shard}"
            )
        collections.add(collection_of(shard))
    if len(collections) > 1:
        raise InvalidRequestError(
            "the channel position info should be in the same collection"
        )


def _position(shard: str, text: str) -> StartPosition:
    channel = channel_of(shard)
    parsed = _parsed(f"the position of {shard}", text, {"", shard, channel})
    if not parsed.timestamp:
        raise InvalidRequestError(f"the position of {shard} has no timestamp")
    if parsed.timestamp > _LATEST:
        raise InvalidRequestError(
            f"the position of {shard} has {parsed.timestamp}, which is no timestamp"
        )
    if len(parsed.msgID) == _NUMBER_BYTES and parsed.msgID[-1] & _SIGN:
        raise InvalidRequestError(
            f"the position of {shard} has a msgID below zero, which no message has"
        )
    return StartPosition(message_id=parsed.msgID, timestamp=parsed.timestamp)


def _parsed(what: str, text: str, channels: set[str]) -> msg_pb2.MsgPosition:
    try:
        parsed = msg_pb2.MsgPosition.FromString(base64.b64decode(text, validate=True))
    except (ValueError, DecodeError) as error:
        raise InvalidRequestError(
            f"{what} is not the base64 of a MsgPosition, as milvus-backup writes it"
        ) from error
    if parsed.channel_name not in channels:
        raise InvalidRequestError(f"{what} is one of {parsed.channel_name}")
    if not parsed.msgID:
        raise InvalidRequestError(f"{what} has no msgID")
    return parsed
