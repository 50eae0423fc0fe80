"""The numbers of shards and of buckets of a partition key: the target's own affair."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import structlog

from cdc_actors.errors import OperationRefusedError, UnclearAnswerError

if TYPE_CHECKING:
    from cdc_actors.target.connection import Connection

_LIMITS = {
    "shards_num": re.compile(
        r"shard.* (?:limited to |(?:configuration|system limit) \()(\d+)"
    ),
    "num_partitions": re.compile(r"partition number.* configuration \((\d+)"),
}
"""How a target says its limits: ``proxy.maxShardNum``, ``rootCoord.dmlChannelNum``,
``rootCoord.maxPartitionNum``."""

_EVENTS = {"shards_num": "shards_limited", "num_partitions": "buckets_limited"}

_log = structlog.get_logger()


def create_limited(target: Connection, request: Any) -> None:
    """Send a CreateCollectionRequest with as many shards and buckets as the target takes.

    Raises:
        CdcError: As ``Connection.call``.
    """
    wanted = {member: getattr(request, member) for member in _LIMITS}
    while True:
        try:
            target.call("CreateCollection", request, request.db_name)
        except (OperationRefusedError, UnclearAnswerError) as refusal:
            if not _reduce(request, str(refusal)):
                raise
        else:
            break
    for member, source in wanted.items():
        if getattr(request, member) != source:
            _log.warning(
                _EVENTS[member],
                collection=f"{request.db_name}.{request.collection_name}",
                source=source,
                target=getattr(request, member),
            )


def _reduce(request: Any, refusal: str) -> bool:
    """Ask for what a refusal says is the most; tell whether that is less, and some."""
    for member, limit in _LIMITS.items():
        found = limit.search(refusal)
        if found and 0 < int(found[1]) < getattr(request, member):
            setattr(request, member, int(found[1]))
            return True
    return False
